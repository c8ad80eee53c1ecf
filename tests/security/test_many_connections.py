"""Thousands of connections that ask for nothing, on a server in a process of its own."""

from __future__ import annotations

import asyncio
import resource
import signal
from contextlib import asynccontextmanager

import pytest

MANY = 4000
OWN = 200
"""File descriptors that the test itself may need."""


@asynccontextmanager
async def opened(port: int, count: int):
    """So many idle connections."""
    connections = []
    try:
        for _ in range(0, count, 100):
            batch = (asyncio.open_connection("127.0.0.1", port) for _ in range(100))
            connections += await asyncio.gather(*batch)
        yield connections
    finally:
        for _, writer in connections:
            writer.close()


async def work(raw) -> None:
    """Do all that takes file descriptors."""
    made = await raw.request("POST", "/v1/projects", body=b'{"name": "x"}')
    assert made.status == 201
    project = f"/v1/projects/{made.json['project_id']}"
    for method, path, status in (
        ("GET", project, 200),
        ("GET", f"{project}/files", 200),
        ("POST", f"{project}/commit", 204),
        ("DELETE", project, 204),
    ):
        assert (await raw.request(method, path)).status == status


@pytest.mark.heavy
async def test_thousands_of_idle_connections_hold_up_nobody(running, raw_client):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        count = min(MANY, (hard - OWN) // 2 // 100 * 100)
        async with running("--local") as (_, url, _):
            raw = raw_client(int(url.rpartition(":")[2]))
            async with opened(raw.port, count):
                await work(raw)
            await work(raw)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_connections_leave_descriptors_for_the_work(running, raw_client):
    limit = 256
    async with running("--local", shell=f"ulimit -n {limit}") as (process, url, _):
        raw = raw_client(int(url.rpartition(":")[2]))
        reader, writer = await raw.connect()
        writer.write(b"GET /v1/version HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await reader.readuntil(b"}\n")
        async with opened(raw.port, 2 * limit) as connections:
            refused = connections[-1][0]
            answer = (await refused.read()).decode()
            assert answer.startswith("HTTP/1.1 503 Service Unavailable\r\n")
            assert "ulimit -n" in answer
            # Who was there before is served as ever.
            writer.write(b"POST /v1/projects HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert (await reader.readline()) == b"HTTP/1.1 201 Created\r\n"
            await reader.readuntil(b"}\n")
        writer.close()
        process.terminate()
        out, err = await process.communicate()
        assert err == b""
        assert b"ERROR" not in out


async def test_a_crowd_can_wait_until_the_server_gets_to_it(running, raw_client):
    async with running("--local") as (process, url, _):
        raw = raw_client(int(url.rpartition(":")[2]))
        process.send_signal(signal.SIGSTOP)
        async with opened(raw.port, 500) as connections:
            for _, writer in connections:
                writer.write(b"GET /v1/version HTTP/1.1\r\nHost: localhost\r\n\r\n")
            process.send_signal(signal.SIGCONT)
            for reader, _ in connections:
                assert await reader.readline() == b"HTTP/1.1 200 OK\r\n"
