"""Clients that send or read too slowly lose their connection, and hold up nobody else."""

from __future__ import annotations

import asyncio
import socket

import psutil
import pytest

from gns3server.events import Event
from gns3server.http import bodies, connections

VERSION = b"GET /v1/version HTTP/1.1\r\nHost: localhost\r\n\r\n"
SOON = 0.1
"""Seconds that stand for the limits of a real server."""


async def trickle(raw, beginning: bytes, byte: bytes = b"x") -> bytes:
    """Send a byte now and then until the server says that this is too slow."""
    reader, writer = await raw.connect()
    writer.write(beginning)
    said = asyncio.ensure_future(reader.readuntil(b'"status": 408\n}'))
    while not (await asyncio.wait({said}, timeout=SOON / 10))[0]:
        writer.write(byte)
    writer.close()
    whole: bytes = said.result()
    return whole


@pytest.fixture
def impatient(monkeypatch):
    """A server that waits for heads, bodies and readers no longer than a test may take."""
    monkeypatch.setattr(connections, "HEAD_LIMIT", SOON)
    monkeypatch.setattr(connections, "STALL_LIMIT", SOON)
    monkeypatch.setattr(bodies, "READ_LIMIT", SOON)


HEADS = [
    b"GET /v1/version HTTP/1.1\r\nHost: localhost\r\nX: ",
    b"POST /v1/projects HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\nX: ",
    VERSION + b"GET /v1/version HTTP/1.1\r\nHost: ",
]


@pytest.mark.parametrize("head", HEADS)
async def test_a_head_that_does_not_end_is_408(raw, client, lab, impatient, head):
    said = await trickle(raw, head)
    late = said.removeprefix(said[: said.rindex(b"HTTP/1.1")])
    assert late.startswith(b"HTTP/1.1 408 Request Timeout\r\n")
    assert b"Connection: close\r\n" in late
    assert (await client.get("/v1/version")).status == 200
    assert lab.projects.projects == []


async def test_a_head_that_stops_coming_is_408(raw, impatient):
    answer = await raw.send(b"GET /v1/version HTTP/1.1\r\nHost: loc")
    assert (answer.status, answer.json["status"]) == (408, 408)


async def test_who_never_asks_is_hung_up_on_and_who_has_asked_is_not(raw, impatient):
    reader, writer = await raw.connect()
    for _ in range(3):
        writer.write(VERSION)
        await reader.readuntil(b"}\n")
        # Opened after the request, so that its time ends after that of its connection would.
        assert await raw.talk(b"") == b""
    writer.close()


async def test_the_rest_of_a_refused_body_is_no_late_head(raw, impatient):
    reader, writer = await raw.connect()
    writer.write(b"POST /v1/nothing HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{")
    assert b" 404 " in await reader.readuntil(b"\n}\n")
    writer.write(b"}")
    # Opened after that, so that its time ends later than that of a head would.
    assert await raw.talk(b"") == b""
    writer.write(VERSION)
    assert await reader.readline() == b"HTTP/1.1 200 OK\r\n"
    writer.close()


@pytest.mark.parametrize(
    ("coding", "byte"), [("Content-Length: 1000", b" "), ("Transfer-Encoding: chunked", b"0")]
)
async def test_a_body_that_does_not_end_is_408(raw, client, impatient, coding, byte):
    head = f"POST /v1/projects HTTP/1.1\r\nHost: localhost\r\n{coding}\r\n\r\n"
    assert (await trickle(raw, head.encode(), byte)).startswith(b"HTTP/1.1 408 ")
    assert (await client.get("/v1/projects")).json == []


async def stalled(port: int, request: bytes) -> socket.socket:
    """A connection that has asked for something and reads nothing of it."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.setblocking(False)
    await asyncio.get_running_loop().sock_connect(connection, ("127.0.0.1", port))
    await asyncio.get_running_loop().sock_sendall(connection, request)
    return connection


def is_cut_off(connection: socket.socket) -> bool:
    """Whether the server, which is in this process, has closed its end of a connection."""
    ours = connection.getsockname()
    ends = psutil.Process().net_connections("tcp4")
    return all(end.raddr != ours for end in ends if end.raddr)


@pytest.fixture
async def requests(client, project, tmp_path):
    """Requests whose answers are far larger than what the system keeps for a slow reader."""
    big = tmp_path / "projects" / project.rpartition("/")[2] / "big"
    with big.open("wb") as file:
        file.truncate(100_000_000)
    body = b'{"location": "%s"}' % str(big).encode()
    sized = b"Host: localhost\r\nContent-Length: %d\r\n\r\n" % len(body)
    return {
        "file": f"GET {project}/files/big HTTP/1.1\r\nHost: localhost\r\n\r\n".encode(),
        "stream": b"GET /v1/files/stream HTTP/1.1\r\n" + sized + body,
        "pipeline": b"GET /v1/openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n" * 500,
    }


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("kind", ["file", "stream", "pipeline"])
async def test_who_reads_nothing_is_cut_off(raw, client, requests, until, kind):
    connection = await stalled(raw.port, requests[kind])
    with connection:

        async def gone():
            assert (await client.get("/v1/version")).status == 200
            return is_cut_off(connection)

        await until(gone)


async def test_who_reads_slowly_but_reads_gets_it_all(server, raw, requests, monkeypatch):
    # Two pauses are longer than the limit, each by itself is shorter by far.
    monkeypatch.setattr(connections, "STALL_LIMIT", 10 * SOON)
    monkeypatch.setattr(connections, "HEAD_LIMIT", 6 * SOON)
    loop = asyncio.get_running_loop()
    request = requests["file"].replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    connection = await stalled(server.running.port, request)
    with connection:
        size = 0
        for part in range(1, 3):
            while size < part * 5_000_000:
                size += len(await loop.sock_recv(connection, 1_000_000))
            # As long as the server waits for one that opened a connection just now.
            assert await raw.talk(b"") == b""
        while content := await loop.sock_recv(connection, 4_000_000):
            size += len(content)
        assert size > 100_000_000


async def test_a_listener_that_reads_nothing_is_cut_off_and_no_other(
    server, client, project, impatient, until
):
    request = b"GET /v1/notifications HTTP/1.1\r\nHost: localhost\r\n\r\n"
    connection = await stalled(server.running.port, request)
    with connection:
        async with client.listen() as events:
            assert await anext(events) == {"action": "ping"}
            hub, project_id = server.running.server.bus, project.rpartition("/")[2]

            async def gone():
                hub.publish(Event("test", "long", project_id, {"text": "x" * 100_000}))
                assert (await anext(events))["action"] == "test.long"
                return is_cut_off(connection)

            await until(gone)
