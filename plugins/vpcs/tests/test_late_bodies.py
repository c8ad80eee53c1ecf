"""Requests as the desktop client of 2015 sends them: on several connections, and on some of them
the head first and the body 40 ms later (a small piece waits there for the ACK of the one before).
"""

from __future__ import annotations

import asyncio
import re

import pytest
from vpcs_lab import PORT

PAUSE = 0.04
BODY = b"{}"


class Connection:
    """One of the client's connections."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    def send_head(self, method: str, path: str) -> None:
        """Send all of a request but its body."""
        size = f"Content-Length: {len(BODY)}"
        self._writer.write(
            f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n{size}\r\n\r\n".encode()
        )

    def send_body(self) -> None:
        """Send the body, and so the end of a request."""
        self._writer.write(BODY)

    async def status(self) -> int:
        """The status of the answer, all of which is read."""
        head = await self._reader.readuntil(b"\r\n\r\n")
        size = re.search(rb"Content-Length: (\d+)", head)
        await self._reader.readexactly(int(size[1]) if size else 0)
        return int(head.split()[1])

    def close(self) -> None:
        """Hang up."""
        self._writer.close()


@pytest.fixture
async def connections(lab):
    """Three connections that have been in use for a while."""
    made = []
    for _ in range(3):
        port = lab.server.running.port
        connection = Connection(*await asyncio.open_connection("127.0.0.1", port))
        connection.send_head("GET", "/v1/version")
        connection.send_body()
        assert await connection.status() == 200
        made.append(connection)
    yield made
    for connection in made:
        connection.close()


async def send_both(connections, first, second) -> list[int]:
    """Send a request in two pieces, and another one between them; the statuses of the answers."""
    late, prompt, _ = connections
    late.send_head(*first)
    prompt.send_head(*second)
    prompt.send_body()
    # This is how the client sends it, not a wait of the test.
    await asyncio.sleep(PAUSE)
    late.send_body()
    return [await late.status(), await prompt.status()]


@pytest.mark.usefixtures("vpcs_program")
async def test_a_wire_is_unplugged_and_then_its_pc_deleted(lab, connections):
    pc, other = await lab.pair()
    await pc.do("start")
    first, second = ("DELETE", f"{pc.path}/{PORT}"), ("DELETE", pc.path)
    assert await send_both(connections, first, second) == [204, 204]
    assert (await lab.client.get(pc.path)).status == 404
    # The wire's other end is there, and can be taken out in the same way.
    first, second = ("DELETE", f"{other.path}/{PORT}"), ("DELETE", other.path)
    assert await send_both(connections, first, second) == [204, 204]
    assert lab.server.processes() == {}
    assert len(lab.server.ports.udp) == 0


@pytest.mark.usefixtures("vpcs_program")
@pytest.mark.parametrize("bodies", [(0, 1, 2), (2, 1, 0)], ids=["in order", "the last one first"])
async def test_a_wired_pc_is_deleted_as_the_client_deletes_it(lab, connections, bodies):
    pc, other = await lab.pair()
    for each in (pc, other):
        await each.do("start")
    paths = (f"{pc.path}/{PORT}", f"{other.path}/{PORT}", pc.path)
    for connection, path in zip(connections, paths, strict=True):
        connection.send_head("DELETE", path)
    # This is how the client sends it, not a wait of the test.
    await asyncio.sleep(PAUSE)
    for number in bodies:
        connections[number].send_body()
    assert [await connection.status() for connection in connections] == [204] * 3
    assert (await lab.client.get(pc.path)).status == 404
    assert await other.status() == "started"
    await other.do("stop")
    # Both ends are out: what is left cannot be started, and holds no port.
    assert (await lab.client.post(f"{other.path}/start")).status == 409
    assert len(lab.server.ports.udp) == 0


@pytest.mark.usefixtures("vpcs_program")
@pytest.mark.parametrize(
    ("first", "second", "state"), [("start", "stop", "stopped"), ("stop", "start", "started")]
)
async def test_a_pc_ends_as_the_last_request_wants_it(lab, connections, first, second, state):
    pc = await lab.wired()
    requests = [("POST", f"{pc.path}/{action}") for action in (first, second)]
    assert await send_both(connections, *requests) == [204, 204]
    assert await pc.status() == state
