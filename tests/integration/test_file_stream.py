"""Files that are followed while they grow."""

from __future__ import annotations

import asyncio
import threading
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from faults import before, failing, impatient

ROUTE = "/v1/files/stream"


@asynccontextmanager
async def following(server, location):
    """An open stream of a file."""
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{server.url}{ROUTE}", json={"location": str(location)}) as answer,
    ):
        assert answer.status == 200
        assert answer.headers["Content-Type"] == "application/octet-stream"
        assert answer.headers["Transfer-Encoding"] == "chunked"
        assert answer.headers["X-Route"] == ROUTE
        yield answer.content


def open_here(path):
    """How often this process, which the server is part of, has a file open."""
    return sum(
        entry.is_symlink() and entry.readlink() == Path(path)
        for entry in Path("/proc/self/fd").iterdir()
    )


async def until_closed(client, path):
    """Wait until the server has closed a file; it does so between two requests."""
    async with asyncio.timeout(20):
        while open_here(path):
            await client.get("/v1/version")


@pytest.mark.statement("FILE-08")
async def test_what_is_appended_arrives_on_the_open_stream(server, tmp_path):
    file = tmp_path / "log"
    file.write_bytes(b"hello")
    async with following(server, file) as stream:
        assert await stream.readexactly(5) == b"hello"
        with file.open("ab") as log:
            log.write(b"world")
        assert await stream.readexactly(5) == b"world"
        big = bytes(range(256)) * 4000
        with file.open("ab") as log:
            log.write(big)
        assert await stream.readexactly(len(big)) == big
    await until_closed(server.client, file)


async def test_a_file_that_is_written_anew_is_sent_from_its_beginning(server, tmp_path):
    file = tmp_path / "log"
    file.write_bytes(b"the first content")
    async with following(server, file) as stream:
        assert await stream.readexactly(17) == b"the first content"
        file.write_bytes(b"the second")
        assert await stream.readexactly(10) == b"the second"


async def test_a_stream_ends_in_order_when_the_server_stops(gns3_serving, tmp_path):
    file = tmp_path / "log"
    file.write_bytes(b"hello")
    async with aiohttp.ClientSession() as session:
        async with gns3_serving(plugins=[]) as server:
            url = f"{server.url}{ROUTE}"
            answer = await session.get(url, json={"location": str(file)})
            assert await answer.content.readexactly(5) == b"hello"
        # An end without the terminating chunk would raise.
        assert await answer.read() == b""
    assert open_here(file) == 0


async def test_a_reader_that_stalls_blocks_nobody_and_not_the_end(
    gns3_serving, tmp_path, monkeypatch
):
    impatient(monkeypatch, shutdown=0.2)
    file = tmp_path / "big"
    with file.open("wb") as stream:
        stream.truncate(200_000_000)
    async with aiohttp.ClientSession(read_bufsize=1024) as session:
        async with gns3_serving(plugins=[]) as server:
            body = {"location": str(file)}
            stalled = [
                await session.get(f"{server.url}{ROUTE}", json=body, timeout=None)
                for _ in range(30)
            ]
            assert (await server.client.get("/v1/version")).status == 200
            async with following(server, file) as stream:
                await stream.readexactly(1_000_000)
        for answer in stalled:
            answer.close()
    assert open_here(file) == 0


@pytest.mark.statement("FILE-09")
async def test_a_missing_file_cannot_be_followed(client, tmp_path):
    (tmp_path / "file").write_bytes(b"x")
    for location in (tmp_path / "missing", tmp_path / "file" / "below"):
        answer = await client.request("GET", ROUTE, {"location": str(location)})
        assert answer.status == 404
        assert str(location) in answer.json["message"]


@pytest.mark.statement("FILE-10")
async def test_a_directory_cannot_be_followed(client, tmp_path):
    answer = await client.request("GET", ROUTE, {"location": str(tmp_path)})
    assert answer.status == 409


@pytest.mark.statement("FILE-10")
@pytest.mark.parametrize("body", [None, {}, {"location": ""}, {"location": None}, {"path": "/x"}])
async def test_without_a_location_nothing_is_followed(client, body):
    answer = await client.request("GET", f"{ROUTE}?location=/etc/passwd", body)
    assert answer.status == 400


async def test_no_more_clients_follow_files_than_the_server_lets(gns3_serving, tmp_path):
    file = tmp_path / "log"
    file.write_bytes(b"hello")
    async with gns3_serving(plugins=[], max_listeners=1) as server:
        async with following(server, file) as stream:
            assert await stream.readexactly(5) == b"hello"
            answer = await server.client.request("GET", ROUTE, {"location": str(file)})
            assert answer.status == 409
        await until_closed(server.client, file)
        async with following(server, file) as stream:
            assert await stream.readexactly(5) == b"hello"


async def test_a_file_that_cannot_be_read_on_breaks_the_stream_off(server, tmp_path):
    file = tmp_path / "log"
    file.write_bytes(b"hello")
    async with following(server, file) as stream:
        assert await stream.readexactly(5) == b"hello"
        with failing("pread", file), pytest.raises(aiohttp.ClientError):
            await stream.read()


async def test_followers_of_a_file_that_does_not_answer_hold_up_nobody(
    gns3_serving, tmp_path, monkeypatch
):
    monkeypatch.setattr("gns3server.projects.project_files.READ_SECONDS", 0.2)
    file, answers = tmp_path / "on a dead disk", threading.Event()
    file.write_bytes(b"hello")
    beginning = set(threading.enumerate())
    with before("pread", file, answers.wait):
        async with aiohttp.ClientSession() as session:
            async with gns3_serving(plugins=[]) as server:
                body = {"location": str(file)}
                followers = [
                    await session.get(f"{server.url}{ROUTE}", json=body) for _ in range(10)
                ]
                # Once a read hangs, others that would hang as well are refused.
                assert [each.status for each in followers] == [200] + 9 * [409]
                async with following(server, __file__) as stream:
                    assert await stream.readexactly(5) == b'"""Fi'
                assert (await server.client.post("/v1/projects", {})).status == 201
            # The server has ended although the read has not.
            assert await followers[0].read() == b""
        answers.set()
        for thread in set(threading.enumerate()) - beginning:
            if thread.name == "reader":
                thread.join()
    assert open_here(file) == 0


async def test_a_disk_that_answers_late_does_not_break_the_stream_off(
    server, tmp_path, monkeypatch
):
    monkeypatch.setattr("gns3server.projects.project_files.READ_SECONDS", 0.05)
    file, answers = tmp_path / "on a slow disk", threading.Event()
    file.write_bytes(b"hello")
    with before("pread", file, answers.wait, only=1):
        async with following(server, file) as stream:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.2):
                    await stream.readexactly(5)
            answers.set()
            assert await stream.readexactly(5) == b"hello"
    await until_closed(server.client, file)
