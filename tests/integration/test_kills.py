"""Servers that are processes of their own: killed, told to keep nodes, or one too many."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import uuid
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from api_calls import ID, PROJECT, new_project, new_toy, status

pytestmark = pytest.mark.heavy


@pytest.fixture
def server():
    """None in this process: it is only what the gate for toys is set up after."""


async def make(client, project_id: str = ID, **values: Any) -> str:
    """Make a project, unless it is there, and a toy in it; returns the toy's path."""
    return await new_toy(client, await new_project(client, project_id=project_id), **values)


async def test_nodes_outlive_a_killed_server(serve, nodes, build):
    async with serve() as server:
        await build(server.client, ID, temporary=True)
        shown = (await server.client.get(f"{PROJECT}/toy/vms")).json
        await server.kill()
    (pid,) = nodes()
    async with serve() as server:
        assert "nodes that have gone on running: 1" in server.log
        assert (await server.client.get(f"{PROJECT}/toy/vms")).json == shown
        assert shown[0]["status"] == "started"
        assert nodes() == {pid}
        async with server.client.listen(f"{PROJECT}/notifications") as told:
            assert await anext(told) == {"action": "ping"}
            os.kill(pid, signal.SIGKILL)
            assert (await anext(told))["action"] == "vm.stopped"


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
async def test_a_server_that_keeps_nodes_leaves_them_to_the_next(serve, nodes, build, name):
    async with serve("--keep-nodes") as server:
        await build(server.client, ID, temporary=True)
        shown = (await server.client.get(f"{PROJECT}/toy/vms")).json
        pids = nodes()
        async with server.client.listen() as told:
            assert await anext(told) == {"action": "ping"}
            await server.end(getattr(signal, name))
            assert [event async for event in told] == []
        assert await server.ended() == 0
    assert len(pids) == 1
    assert nodes() == pids
    async with serve() as server:
        assert (await server.client.get(f"{PROJECT}/toy/vms")).json == shown
    # That one was not told to keep them.
    assert nodes() == set()


async def test_a_shutdown_request_ends_nodes_that_would_be_kept(serve, nodes, build):
    async with serve("--keep-nodes") as server:
        await build(server.client, ID)
        assert (await server.client.post("/v1/server/shutdown")).status == 201
        assert await server.ended() == 0
    assert nodes() == set()


# Killed in the middle ----------------------------------------------------------------

KILLER = """
import os, signal
from gns3server.running.local import LocalRunner
from gns3server.running.local_run import LocalRun

async def die(*args, **kwargs):
    os.kill(os.getpid(), signal.SIGKILL)

async def die_after(self, *args, **kwargs):
    await former(self, *args, **kwargs)
    await die()

former = {target}
{target} = {new}
"""
"""A plugin that kills its server in a certain moment of a start."""

MOMENTS = {
    "between intent and spawn": ("LocalRunner.spawn", "die"),
    "between spawn and readiness": ("LocalRunner.spawn", "die_after"),
    "between readiness and record": ("LocalRun.ready", "die_after"),
}


@pytest.mark.parametrize("moment", MOMENTS)
async def test_a_server_killed_during_a_start_leaves_no_orphan(serve, nodes, moment):
    target, new = MOMENTS[moment]
    async with serve(plugin=KILLER.format(target=target, new=new)) as server:
        toy = await make(server.client, mode="forks")
        with pytest.raises(aiohttp.ClientError):
            await server.client.post(f"{toy}/start")
        assert await server.ended() == -signal.SIGKILL
    async with serve() as server:
        assert nodes() == set()
        assert await status(server.client, toy) == "stopped"
        assert "while no server ran" not in server.log
        # Nothing of it is in the way.
        assert (await server.client.post(f"{toy}/start")).status == 204
        assert len(nodes()) == 2


async def test_a_server_killed_while_a_node_comes_up_leaves_no_orphan(serve, nodes, gate):
    async with serve() as server:
        toy = await make(server.client, mode=f"forks,{gate.mode}")
        start = asyncio.create_task(server.client.post(f"{toy}/start"))
        await gate.reached()
        assert len(nodes()) == 2
        await server.kill()
        with pytest.raises(aiohttp.ClientError):
            await start
    async with serve() as server:
        assert nodes() == set()
        assert await status(server.client, toy) == "stopped"


async def test_a_server_killed_while_it_stops_a_node_has_it_again(serve, nodes, gate):
    async with serve() as server:
        toy = await make(server.client, mode=f"reports-term:{gate.mode.removeprefix('gated:')}")
        await server.client.post(f"{toy}/start")
        stop = asyncio.create_task(server.client.post(f"{toy}/stop"))
        await gate.reached()
        await server.kill()
        with pytest.raises(aiohttp.ClientError):
            await stop
    async with serve() as server:
        # Nobody was told that it had stopped, and it has not.
        assert await status(server.client, toy) == "started"
        assert (await server.client.post(f"{toy}/stop")).status == 204
        assert nodes() == set()


SIGNALLER = """
import os, signal
from gns3server.plugin import hookimpl

@hookimpl
async def gns3_project_opened(project):
    os.kill(os.getpid(), signal.SIGTERM)
"""
"""A plugin that has its server end while it opens projects."""


async def test_a_server_that_is_told_to_end_while_it_opens_projects(serve, nodes):
    ids = [str(uuid.uuid4()) for _ in range(3)]
    async with serve() as server:
        for project_id in ids:
            toy = await make(server.client, project_id)
            assert (await server.client.post(f"{toy}/start")).status == 204
        await server.kill()
    pids = nodes()
    assert len(pids) == 3
    for option in (["--keep-nodes"], []):
        async with serve(*option, plugin=SIGNALLER) as server:
            assert await server.ended() == 0
        assert nodes() == (pids if option else set())
    async with serve() as server:
        listed = (await server.client.get("/v1/projects")).json
        assert {project["project_id"] for project in listed} == set(ids)


REMOVAL = """
import os, signal
from gns3server.storage.stores import ServerStore

async def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

ServerStore.remove = die
"""
"""A plugin that kills its server when the files of a project are out of the way and the
project is still on record."""


@pytest.mark.parametrize("action", ["delete", "close"])
@pytest.mark.parametrize("whose", ["ours", "the user's"])
async def test_a_server_killed_while_it_removes_a_project_has_it_again(
    serve, tmp_path, whose, action
):
    body: dict[str, Any] = {"project_id": ID, "name": "lab", "temporary": action == "close"}
    if whose == "the user's":
        (tmp_path / "mine").mkdir()
        (tmp_path / "mine" / "letter.txt").write_text("dear")
        body["path"] = str(tmp_path / "mine")
    async with serve("--local", plugin=REMOVAL) as server:
        assert (await server.client.post("/v1/projects", body)).status == 201
        toy = await make(server.client, note="mine")
        shown = (await server.client.get(toy)).json
        files = Path((await server.client.get(PROJECT)).json["path"], "project-files")
        (files / "toy").mkdir(parents=True, exist_ok=True)
        (files / "toy" / "kept").write_text("kept")
        request = ("DELETE", PROJECT) if action == "delete" else ("POST", f"{PROJECT}/close")
        with pytest.raises(aiohttp.ClientError):
            await server.client.request(*request)
        assert await server.ended() == -signal.SIGKILL
    async with serve() as server:
        assert (await server.client.get("/v1/projects/damaged")).json == []
        assert (await server.client.get(toy)).json == shown
        assert (files / "toy" / "kept").read_text() == "kept"
        assert (await server.client.delete(PROJECT)).status == 204
    left = [path.name for path in files.parent.iterdir()] if files.parent.exists() else []
    assert left == (["letter.txt"] if whose == "the user's" else [])
    assert not [*files.parent.parent.glob(".gns3*")]


async def test_a_server_spares_the_temporary_projects_of_another(serve, nodes, tmp_path):
    async with serve() as server:
        toy = await make(server.client)
        await server.client.put(PROJECT, {"temporary": True})
        assert (await server.client.post(f"{toy}/start")).status == 204
        shown = (await server.client.get(toy)).json
        files = Path((await server.client.get(PROJECT)).json["path"])
        async with serve(environ={"GNS3_SERVER_STATE_PATH": str(tmp_path / "other")}) as other:
            assert (await other.client.get("/v1/projects")).json == []
        assert (await server.client.get(toy)).json == shown
        assert (files / "project.db").exists()
        await server.kill()
    # Nor does it remove what runs.
    (pid,) = nodes()
    async with serve(environ={"GNS3_SERVER_STATE_PATH": str(tmp_path / "third")}) as server:
        assert nodes() == {pid}
        assert (await server.client.post("/v1/projects", {"project_id": ID})).status == 201
        assert (await server.client.get(toy)).json == shown
    assert nodes() == set()


# In time -------------------------------------------------------------------------------


@pytest.mark.long
@pytest.mark.timeout(240)
async def test_two_hundred_nodes_and_stalled_clients_end_within_ten_seconds(serve, nodes, tmp_path):
    big = tmp_path / "big"
    with big.open("wb") as file:
        file.truncate(200_000_000)
    async with serve() as server, contextlib.AsyncExitStack() as stalled:
        ids = [ID, *(str(uuid.uuid4()) for _ in range(7))]
        toys = [
            await make(server.client, ids[n % 8], mode="good" if n % 5 else "ignores-term")
            for n in range(200)
        ]
        started = await asyncio.gather(*(server.client.post(f"{toy}/start") for toy in toys))
        assert {answer.status for answer in started} == {204}
        assert len(nodes()) == 200
        location = f'{{"location": "{big}"}}'
        for _ in range(20):
            for head, body in (
                ("GET /v1/notifications", ""),
                (f"GET {PROJECT}/notifications", ""),
                ("GET /v1/files/stream", location),
                ("POST /v1/projects", '{"name": "never'),
                ("POST /upload", "never"),
            ):
                size = len(body) if body == location else 10_000 * len(body)
                lines = (f"{head} HTTP/1.1", "Host: localhost", f"Content-Length: {size}", "", body)
                _, writer = await asyncio.open_connection("127.0.0.1", server.port, limit=1024)
                stalled.callback(writer.close)
                writer.write("\r\n".join(lines).encode())
        # The answer tells that the server has met all those who came before.
        assert (await server.client.get("/v1/version")).status == 200
        async with asyncio.timeout(10):
            await server.end()
        assert nodes() == set()


# One server --------------------------------------------------------------------------


async def test_a_second_server_says_who_the_first_one_is(serve, gns3_settings):
    async with serve("--local") as server:
        with pytest.raises(RuntimeError) as refused:
            async with serve():
                pytest.fail("a second server started")
        said = str(refused.value)
        assert f"another server uses {gns3_settings.state_path}: process {server.pid} " in said
        assert "--local" in said
        assert "Traceback" not in said
        assert (await server.client.get("/v1/version")).status == 200


async def test_a_lock_that_was_left_behind_is_no_obstacle(serve, gns3_settings):
    gns3_settings.state_path.mkdir()
    lock = gns3_settings.state_path / "server.lock"
    # As if its pid had been given to this process.
    lock.write_text(f"process {os.getpid()} since yesterday, started as gns3server\n" * 9)
    for _ in range(2):
        async with serve() as server:
            assert lock.read_text().startswith(f"process {server.pid} since ")
            assert lock.read_text().count("process") == 1
            await server.kill()
