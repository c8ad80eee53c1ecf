"""A thousand listeners on real sockets, half of which never read."""

import asyncio
import re
import resource
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from api_calls import new_project

LISTENERS = 1000
STALLED = LISTENERS // 2
EVENTS = 70
FILLING = "x" * 40_000
"""Makes an event so large that all of them together are more than may wait for a listener."""

MAX_RESIDENT = 400 * 1024 * 1024
MAX_UNSENT = 256 * 1024
"""Bytes that the kernel may hold for one listener: twice what the server asks for."""

NAME = re.compile(rb'"name": "e(\d+)"')


class Reader(asyncio.Protocol):
    """A listener that notes the numbers in the names of nodes, in the order of their coming."""

    def __init__(self, request: bytes, last: int) -> None:
        self._request = request
        self._last = last
        self._rest = b""
        self.numbers: list[int] = []
        self.begun = asyncio.get_running_loop().create_future()
        self.complete = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        text = self._rest + data
        if not self.begun.done() and b'{"action": "ping"}' in text:
            self.begun.set_result(None)
        end = 0
        for found in NAME.finditer(text):
            self.numbers.append(int(found[1]))
            end = found.end()
        self._rest = text[max(end, len(text) - 40) :]
        if self.numbers and self.numbers[-1] == self._last and not self.complete.done():
            self.complete.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        for future in (self.begun, self.complete):
            if not future.done():
                future.set_exception(exc or ConnectionError("the stream has ended"))
                # Looked at by the test, unless that has failed already.
                future.exception()


class Stalled(Reader):
    """A listener that reads the first line and nothing more."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.begun.done():
            self._transport.pause_reading()


@pytest.fixture
def many_descriptors() -> Iterator[None]:
    """As many open files as this process may have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def peak_memory(pid: int) -> int:
    """The most bytes that a process ever had in memory."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1]) * 1024


def unsent(port: int) -> list[int]:
    """Bytes that wait in the kernel on each connection of a server's port (proc(5), net/tcp)."""
    rows = [row.split() for row in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return [int(row[4].partition(":")[0], 16) for row in rows if row[1].endswith(f":{port:04X}")]


@pytest.mark.heavy
@pytest.mark.timeout(180)
@pytest.mark.usefixtures("many_descriptors")
async def test_a_thousand_listeners_half_of_which_never_read(toy_process):
    loop = asyncio.get_running_loop()
    async with toy_process() as server:
        client, port = server.client, server.port
        project = await new_project(client)
        request = f"GET {project}/notifications HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
        listeners: list[Reader] = []
        transports = []
        for number in range(LISTENERS):
            kind = Stalled if number < STALLED else Reader
            transport, listener = await loop.create_connection(
                partial(kind, request, EVENTS - 1), "127.0.0.1", port
            )
            await listener.begun
            listeners.append(listener)
            transports.append(transport)
        for number in range(EVENTS):
            body = {"name": f"e{number}", "note": FILLING}
            node = (await client.post(f"{project}/toy/vms", body)).json["vm_id"]
            assert (await client.delete(f"{project}/toy/vms/{node}")).status == 204
        waiting = await asyncio.to_thread(unsent, port)
        readers = listeners[STALLED:]
        await asyncio.gather(*(reader.complete for reader in readers))
        assert all(reader.numbers == [*range(EVENTS)] for reader in readers)
        # Labs belong to the server: it goes on as ever.
        node = (await client.post(f"{project}/toy/vms", {"name": "PC"})).json["vm_id"]
        assert (await client.post(f"{project}/toy/vms/{node}/start")).status == 204
        assert max(waiting) <= MAX_UNSENT
        assert await asyncio.to_thread(peak_memory, server.pid) < MAX_RESIDENT
        # Nobody waits for those who do not read: they are cut off, and the project ends at once.
        assert (await client.delete(project)).status == 204
        for transport in transports:
            transport.abort()
