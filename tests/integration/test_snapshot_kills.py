"""Servers that are killed while they work on snapshots: the old is there, or the new."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from api_calls import ID, PROJECT, new_project, new_toy, take
from faults import killer

pytestmark = pytest.mark.heavy

MAKING = {
    "before files are copied": ("gns3server.places.snapshot_files.take", "die"),
    "when files are copied": ("gns3server.places.snapshot_files.take", "die_after"),
    "before records are written": ("gns3server.projects.snapshots.write_lab", "die"),
    "when records are written": ("gns3server.projects.snapshots.write_lab", "die_after"),
}
BEFORE = {
    "before files are copied": ("gns3server.places.snapshot_files.receive", "die"),
    "when files are copied": ("gns3server.places.snapshot_files.receive", "die_after"),
    "before the commit": ("gns3server.storage.change.ProjectChange.replace_lab", "die"),
}
AFTER = {
    "after the commit": ("gns3server.places.snapshot_files.put_in_place", "die"),
    "when files are in place": ("gns3server.places.snapshot_files.put_in_place", "die_after"),
    "before what it needed is removed": ("gns3server.places.snapshot_files.remove_room", "die"),
    "when what it needed is removed": ("gns3server.places.snapshot_files.remove_room", "die_after"),
}


@pytest.fixture
def server():
    """None in this process."""


@pytest.fixture
def killed(serve):
    """Makes servers that are killed in a certain moment."""

    def start(target: str, new: str) -> Any:
        return serve(plugin=killer(target, new))

    return start


async def lab_of(client) -> tuple[list[Any], bytes]:
    """A lab as clients see it, whatever runs, and the content of a file."""
    project = (await client.get(PROJECT)).json
    nodes = [{**node, "status": ""} for node in (await client.get(f"{PROJECT}/nodes")).json]
    return nodes, (Path(project["path"]) / "project-files" / "disk").read_bytes()


async def make(client) -> None:
    """Make a lab of two nodes, one of which runs, and a file."""
    await new_project(client, project_id=ID)
    await new_toy(client, PROJECT, name="PC1")
    toy = await new_toy(client, PROJECT, name="PC2")
    assert (await client.post(f"{toy}/start")).status == 204
    project = (await client.get(PROJECT)).json
    (Path(project["path"]) / "project-files" / "disk").write_bytes(b"old")


async def change(client) -> None:
    """Make another lab of it."""
    node = (await client.get(f"{PROJECT}/nodes")).json[0]["node_id"]
    assert (await client.delete(f"{PROJECT}/toy/vms/{node}")).status == 204
    await new_toy(client, PROJECT, name="newcomer")
    project = (await client.get(PROJECT)).json
    (Path(project["path"]) / "project-files" / "disk").write_bytes(b"new")


async def leftovers(client) -> list[str]:
    """What a snapshot or restoration has left in the project."""
    path = (await client.get(PROJECT)).json["path"]
    kept = {each["snapshot_id"] for each in (await client.get(f"{PROJECT}/snapshots")).json}
    return sorted(kept ^ names(path, ".gns3_snapshots/*") | names(path, ".gns3_restoring*"))


def names(path: str, pattern: str) -> set[str]:
    return {entry.name for entry in Path(path).glob(pattern)}


@pytest.mark.parametrize("moment", MAKING)
async def test_a_snapshot_that_was_being_made_is_gone(serve, killed, nodes, moment):
    async with serve() as server:
        await make(server.client)
        before = await lab_of(server.client)
        await server.kill()
    async with killed(*MAKING[moment]) as server:
        with pytest.raises(aiohttp.ClientError):
            await server.client.post(f"{PROJECT}/snapshots", {"name": "a"})
        assert await server.ended() == -signal.SIGKILL
    async with serve() as server:
        assert (await server.client.get(f"{PROJECT}/snapshots")).json == []
        assert await leftovers(server.client) == []
        assert await lab_of(server.client) == before
        # What ran has gone on.
        assert len(nodes()) == 1


@pytest.mark.parametrize("moment", [*BEFORE, *AFTER])
async def test_a_restoration_is_done_as_a_whole_or_not_at_all(serve, killed, nodes, moment):
    async with serve() as server:
        await make(server.client)
        old = await lab_of(server.client)
        answer = await server.client.post(f"{PROJECT}/snapshots", {"name": "a"})
        kept = f"{PROJECT}/snapshots/{answer.json['snapshot_id']}"
        await change(server.client)
        new = await lab_of(server.client)
        async with server.client.listen(f"{PROJECT}/notifications?since=0") as events:
            await anext(events)
            seen = 0
            while seen < 5:
                seen = (await anext(events))["seq"]
        await server.kill()
    async with killed(*{**BEFORE, **AFTER}[moment]) as server:
        with pytest.raises(aiohttp.ClientError):
            await server.client.post(f"{kept}/restore")
        assert await server.ended() == -signal.SIGKILL
    async with serve() as server:
        assert await lab_of(server.client) == (old if moment in AFTER else new)
        assert await leftovers(server.client) == []
        if moment in AFTER:
            assert nodes() == set()
            # Who listens again is told.
            async with server.client.listen(f"{PROJECT}/notifications?since={seen}") as events:
                actions = [event["action"] for event in await take(events, 3)]
            assert actions[-1] == "snapshot.restored"
        # It works now.
        assert (await server.client.post(f"{kept}/restore")).status == 200
        assert await lab_of(server.client) == old
        assert (await server.client.post(f"{PROJECT}/start")).json["failed"] == []


async def test_a_snapshot_that_was_being_deleted_is_gone(serve, killed):
    async with serve() as server:
        await make(server.client)
        answer = await server.client.post(f"{PROJECT}/snapshots", {"name": "a"})
        kept = f"{PROJECT}/snapshots/{answer.json['snapshot_id']}"
        await server.kill()
    async with killed("gns3server.places.paths.remove_beneath", "die") as server:
        with pytest.raises(aiohttp.ClientError):
            await server.client.delete(kept)
    async with serve() as server:
        assert (await server.client.get(f"{PROJECT}/snapshots")).json == []
        assert await leftovers(server.client) == []
