"""Projects that come as a whole: copies of others, archives that are read, and imports."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import threading
import uuid
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from api_calls import ID, PROJECT, new_project, new_toy
from faults import before, failing, killer

from gns3server.errors import Conflict, InvalidRequest, NotFound, StorageFailed

pytestmark = pytest.mark.heavy


def tree(path: Path) -> dict[str, bytes]:
    """The regular files of a project by their paths, but for the server's own."""
    return {
        str(entry.relative_to(path)): entry.read_bytes()
        for entry in path.rglob("*")
        if entry.is_file()
        and not entry.is_symlink()
        and not str(entry.relative_to(path)).startswith((".gns3_", "project.db"))
    }


def names(place: Path) -> list[str]:
    """What is in a directory, which need not exist."""
    return sorted(entry.name for entry in place.glob("*"))


@pytest.fixture
async def directory(client, build, tmp_path):
    """The directory of a project with two nodes, the first wired and started, and files."""
    path = tmp_path / "lab"
    await build(client, ID, path=str(path))
    for node in (await client.get(f"{PROJECT}/nodes")).json:
        place = path / "project-files" / "toy" / node["node_id"]
        place.mkdir(parents=True, exist_ok=True)
        (place / "disk").write_text(node["name"])
        await client.put(f"{PROJECT}/layout", {node["node_id"]: {"x": 7, "label": {"a": 1}}})
    (path / "README.txt").write_text("read me")
    return path


async def duplicate(client, **values: Any):
    answer = await client.post(f"{PROJECT}/duplicate", values)
    assert answer.status == 201, answer.body
    project = f"/v1/projects/{answer.json['project_id']}"
    assert (await client.get(project)).status == 404
    assert (await client.post(f"{project}/open")).status == 200
    return project, answer.json["ids"]


def with_ids(value: Any, ids: dict[str, str]) -> Any:
    """The same JSON with other ids, wherever they stand."""
    if isinstance(value, dict):
        return {ids.get(key, key): with_ids(each, ids) for key, each in value.items()}
    if isinstance(value, list):
        return [with_ids(each, ids) for each in value]
    return ids.get(value, value) if isinstance(value, str) else value


@pytest.mark.parametrize("state", ["open", "closed"])
async def test_a_duplicate_is_the_same_lab_with_other_ids_and_ports(client, directory, state):
    node = (await client.get(f"{PROJECT}/nodes")).json[1]["node_id"]
    assert (
        await client.post(
            f"{PROJECT}/links",
            {
                "ends": [
                    {"vm_id": node, "adapter_number": 0, "port_number": 0},
                    {
                        "vm_id": (await new_toy(client, PROJECT)).rpartition("/")[2],
                        "adapter_number": 0,
                        "port_number": 0,
                    },
                ]
            },
        )
    ).status == 201
    before_it = [
        (await client.get(f"{PROJECT}{path}")).json for path in ("/nodes", "/layout", "/links")
    ]
    if state == "closed":
        assert (await client.post(f"{PROJECT}/close")).status == 204
    project, ids = await duplicate(client, name="again")
    if state == "closed":
        assert (await client.post(f"{PROJECT}/open")).status == 200
    shown = (await client.get(project)).json
    assert shown["name"] == "again"
    nodes, layout, links = [
        (await client.get(f"{project}{path}")).json for path in ("/nodes", "/layout", "/links")
    ]
    assert layout == with_ids(before_it[1], ids)
    consoles, ports = set(), set()
    for old, new in zip(before_it[0], nodes, strict=True):
        assert new["node_id"] == ids[old["node_id"]]
        assert (new["name"], new["status"]) == (old["name"], "stopped")
        consoles |= {old["console"], new["console"]}
        ports |= {wire["nio"]["lport"] for each in (old, new) for wire in each["wires"]}
    assert len(consoles) == 2 * len(nodes)
    assert len(ports) == 2 * sum(len(node["wires"]) for node in nodes)
    assert [link["link_id"] for link in links] == [ids[link["link_id"]] for link in before_it[2]]
    files = {name.replace(old, new) for name in tree(directory) for old, new in ids.items()}
    assert set(tree(Path(shown["path"]))) <= files | set(tree(directory))
    assert (Path(shown["path"]) / "README.txt").read_text() == "read me"
    for old, new in ids.items():
        place = directory / "project-files" / "toy" / old / "disk"
        if place.exists():
            copy = Path(shown["path"]) / "project-files" / "toy" / new / "disk"
            assert copy.read_bytes() == place.read_bytes()
    # Both run, side by side.
    for each in (PROJECT, project):
        assert (await client.post(f"{each}/start")).json["failed"] == []
    assert (await client.delete(project)).status == 204
    assert names(Path(shown["path"])) == []


async def test_a_duplicate_needs_an_empty_place_and_a_project(client, directory, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter.txt").write_text("dear")
    answer = await client.post(f"{PROJECT}/duplicate", {"path": str(tmp_path / "full")})
    assert answer.status == 409
    assert os.listdir(tmp_path / "full") == ["letter.txt"]
    unknown = f"/v1/projects/{uuid.uuid4()}"
    assert (await client.post(f"{unknown}/duplicate", {})).status == 404


async def test_a_duplicate_that_does_not_fit_leaves_nothing(client, lab, directory):
    places = names(lab.projects.location)
    with failing("fsync", "disk", errno.ENOSPC):
        answer = await client.post(f"{PROJECT}/duplicate", {})
    assert answer.status == 507
    assert names(lab.projects.location) == places
    assert len(lab.projects.list_all()) == 1
    await duplicate(client)


# Archives ------------------------------------------------------------------------------------


async def test_an_archive_does_not_change_while_it_is_read(client, lab, directory):
    nodes = (await client.get(f"{PROJECT}/nodes")).json
    files = tree(directory)
    (directory / "out").symlink_to("/etc/passwd")
    project = lab.projects.get(ID)
    async with project.snapshots.archive() as archive:
        await client.put(f"{PROJECT}/toy/vms/{nodes[0]['node_id']}", {"name": "other"})
        (directory / "README.txt").write_text("something else")
        read = {}
        for file in archive.files:
            read[file.path] = b"".join([piece async for piece in archive.read(file.path)])
            assert len(read[file.path]) == file.size
        assert read == files
        assert [node["name"] for node in archive.records["nodes"]] == [n["name"] for n in nodes]
        assert archive.running == (nodes[0]["node_id"],)
        assert (await client.get(f"{PROJECT}/snapshots")).json == []
    assert list((directory / ".gns3_snapshots").iterdir()) == []


async def test_a_closed_project_is_archived_and_nothing_is_left_of_that(client, lab, directory):
    files, nodes = tree(directory), (await client.get(f"{PROJECT}/nodes")).json
    await client.post(f"{PROJECT}/snapshots", {"name": "before"})
    await client.post(f"{PROJECT}/close")
    there = names(lab.projects.location)
    async with lab.projects.archive(ID) as archive:
        # It may be opened meanwhile, and changed.
        await client.post(f"{PROJECT}/open")
        (directory / "README.txt").write_text("something else")
        read = {}
        for file in archive.files:
            read[file.path] = b"".join([piece async for piece in archive.read(file.path)])
        assert read == files
        assert [node["name"] for node in archive.records["nodes"]] == [n["name"] for n in nodes]
        assert archive.running == ()
    assert names(lab.projects.location) == there
    async with lab.projects.archive(ID) as archive:
        assert await anext(archive.read("README.txt")) == b"something else"
    with pytest.raises(NotFound):
        async with lab.projects.archive(str(uuid.uuid4())):
            raise AssertionError
    assert names(lab.projects.location) == there


@pytest.mark.parametrize("state", ["open", "closed"])
async def test_who_hangs_up_before_there_is_an_archive_leaves_nothing(
    client, lab, directory, state
):
    if state == "closed":
        await client.post(f"{PROJECT}/close")
    there = names(lab.projects.location)

    async def read() -> None:
        async with lab.projects.archive(ID):
            raise AssertionError

    begun, go_on = threading.Event(), threading.Event()

    def wait() -> None:
        begun.set()
        assert go_on.wait(30)

    with before("open", "README.txt", wait, only=1):
        reading = asyncio.create_task(read())
        await asyncio.to_thread(begun.wait, 30)
        reading.cancel()
        go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await reading
    # Whoever comes next waits for what is still at work.
    await client.post(f"{PROJECT}/open")
    await client.post(f"{PROJECT}/snapshots", {"name": "next"})
    assert len(names(directory / ".gns3_snapshots")) == 1
    assert names(lab.projects.location) == there


async def test_snapshots_of_a_closed_project_are_listed(client, lab, directory):
    made = (await client.post(f"{PROJECT}/snapshots", {"name": "before"})).json
    shown = await lab.projects.snapshots(ID)
    assert [view.id for view in shown] == [made["snapshot_id"]]
    await client.post(f"{PROJECT}/close")
    assert await lab.projects.snapshots(ID) == shown
    with pytest.raises(NotFound):
        await lab.projects.snapshots(str(uuid.uuid4()))


async def test_a_copy_has_what_an_edit_makes_of_its_nodes(client, lab, directory):
    async with lab.projects.archive(ID) as archive:
        before = archive.records["nodes"]

    def edit(node):
        node["properties"]["seen"] = node["name"]
        node["values"]["toy"] = {"seen": node["id"]}

    arrived = await lab.projects.duplicate(ID, edit=edit)
    async with lab.projects.archive(arrived.project_id) as archive:
        for old, new in zip(before, archive.records["nodes"], strict=True):
            assert new["properties"] == {**old["properties"], "seen": old["name"]}
            assert new["values"] == {**old["values"], "toy": {"seen": old["id"]}}
            assert new["layout"] == old["layout"]
    async with lab.projects.archive(ID) as archive:
        assert archive.records["nodes"] == before


# Imports -------------------------------------------------------------------------------------


async def test_what_was_archived_can_be_imported(client, lab, directory):
    project = lab.projects.get(ID)
    async with project.snapshots.archive() as archive, lab.projects.import_staged() as staged:
        for file in archive.files:
            place = staged.directory / file.path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(b"".join([piece async for piece in archive.read(file.path)]))
        arrived = await staged.commit(archive.records)
    assert arrived.project_id == staged.project_id
    new = await lab.projects.open(arrived.project_id)
    assert len(tree(new.path)) == len(tree(directory))
    async with new.snapshots.archive() as again:
        old = with_ids(archive.records, arrived.ids)
        for mine, theirs in zip(again.records["nodes"], old["nodes"], strict=True):
            for key in ("id", "type", "name", "properties", "layout", "number", "values"):
                assert mine[key] == theirs[key]
            assert mine["console"] != theirs["console"]
    assert (await client.post(f"/v1/projects/{new.id}/start")).json["failed"] == []


async def unpack(archive, target):
    """Write the files of an archive into a directory."""
    for file in archive.files:
        place = target / file.path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(b"".join([piece async for piece in archive.read(file.path)]))


async def test_a_project_is_imported_with_its_snapshots(client, lab, directory):
    project, manager = lab.projects.get(ID), lab.projects
    shown = await project.snapshots.create("before")
    changed = project.nodes.list()[0]
    (directory / "project-files" / "toy" / changed.id / "disk").write_text("changed")
    await client.put(f"{PROJECT}/layout", {changed.id: {"x": 99}})
    async with (
        manager.archive(ID) as now,
        manager.archive(ID, shown.id) as before,
        manager.import_staged() as staged,
    ):
        await unpack(now, staged.directory)
        await unpack(before, await staged.add_snapshot("before", 5.0, before.records))
        with pytest.raises(Conflict, match="already"):
            await staged.add_snapshot("before", 5.0, before.records)
        with pytest.raises(InvalidRequest, match="the snapshot 'unfit'"):
            await staged.add_snapshot("unfit", 5.0, {"id": ID, "nodes": [{}]})
        arrived = await staged.commit(now.records)
    (came,) = await manager.snapshots(arrived.project_id)
    assert (came.name, came.created, came.running) == ("before", 5.0, ())
    assert came.size == sum(file.size for file in before.files)
    new_id = arrived.ids[changed.id]
    async with manager.archive(arrived.project_id, came.id) as of_closed:
        paths = {file.path.replace(changed.id, new_id) for file in before.files}
        assert f"project-files/toy/{new_id}/disk" in paths & {f.path for f in of_closed.files}
    with pytest.raises(NotFound):
        await manager.archive(arrived.project_id, str(uuid.uuid4())).__aenter__()
    new = await manager.open(arrived.project_id)
    consoles = {node.id: node.console for node in new.nodes}
    assert (await client.post(f"/v1/projects/{new.id}/start")).json["failed"] == []
    await new.snapshots.restore(came.id)
    assert {node.id: node.console for node in new.nodes} == consoles
    assert new.layout.get(new_id).x == 7
    assert (new.path / "project-files" / "toy" / new_id / "disk").read_text() == changed.name
    assert (await client.post(f"/v1/projects/{new.id}/start")).json["failed"] == []


async def test_links_of_an_import_have_filters_that_a_link_can_have(client, lab):
    nodes = [{"id": str(uuid.uuid4()), "type": "toy", "name": f"T{n}"} for n in range(2)]
    ends = [{"node_id": node["id"], "adapter": 0, "port": 0} for node in nodes]
    link = {"id": str(uuid.uuid4()), "ends": ends, "filters": {"packet_loss": {"chance": 500}}}
    there = names(lab.projects.location)
    with pytest.raises(InvalidRequest, match="from 0 to 100"):
        async with lab.projects.import_staged() as staged:
            await staged.commit({"id": ID, "nodes": nodes, "links": [link]})
    assert names(lab.projects.location) == there


async def test_types_that_nobody_offers_are_parked_and_kept(client, lab):
    node = {"id": str(uuid.uuid4()), "type": "dynamips", "name": "R1", "properties": {"ram": 256}}
    async with lab.projects.import_staged() as staged:
        arrived = await staged.commit({"id": ID, "name": "old lab", "nodes": [node]})
    project = await lab.projects.open(arrived.project_id)
    (shown,) = project.nodes
    assert (shown.name, shown.type, shown.properties) == ("R1", "dynamips", {"ram": 256})


NODE = {"id": ID, "type": "toy", "name": "PC1"}
UNFIT: dict[str, Any] = {
    "no id": {},
    "a node without a name": {"id": ID, "nodes": [{"id": ID, "type": "toy"}]},
    "two nodes of one id": {"id": ID, "nodes": [NODE, NODE]},
    "a type that leads elsewhere": {"id": ID, "nodes": [{**NODE, "type": "../../x"}]},
    "nodes that are none": {"id": ID, "nodes": "abc"},
    "a link of nothing": {"id": ID, "links": [{"id": ID, "ends": []}]},
    "what JSON cannot hold": {"id": ID, "values": {"toy": {"a": float("nan")}}},
}


@pytest.mark.parametrize("why", UNFIT)
async def test_records_that_are_unfit_are_refused_with_nothing_left(client, lab, why):
    places = names(lab.projects.location)
    async with lab.projects.import_staged() as staged:
        with pytest.raises(InvalidRequest):
            await staged.commit(UNFIT[why])
    assert names(lab.projects.location) == places
    assert lab.projects.list_all() == ()


async def test_an_import_that_is_left_or_does_not_fit_leaves_nothing(client, lab):
    places = names(lab.projects.location)
    async with lab.projects.import_staged() as staged:
        (staged.directory / "file").write_text("x")
    async with lab.projects.import_staged() as staged:
        (staged.directory / "file").write_text("x")
        with failing("fsync", "file", errno.ENOSPC), pytest.raises(StorageFailed):
            await staged.commit({"id": ID})
    assert names(lab.projects.location) == places


async def test_the_id_of_a_project_that_is_coming_is_taken(client, lab):
    async with lab.projects.import_staged(project_id=ID):
        assert (await client.post("/v1/projects", {"project_id": ID})).status == 409
        assert (await client.post(f"{PROJECT}/open")).status == 404
        with pytest.raises(Conflict):
            await lab.projects.import_staged(project_id=ID).__aenter__()
    await new_project(client, project_id=ID)


# Killed in the middle --------------------------------------------------------------------------

MOMENTS = {
    "before files are copied": ("gns3server.projects.manager.copy_files", "die"),
    "when files are copied": ("gns3server.projects.manager.copy_files", "die_after"),
    "when all is complete": ("gns3server.projects.arriving._complete", "die_after"),
    "before the commit": ("gns3server.storage.stores.ServerStore.save_arrived", "die"),
}


@pytest.mark.heavy
@pytest.mark.parametrize("moment", MOMENTS)
async def test_a_server_killed_while_it_duplicates_leaves_nothing(serve, run, moment):
    target, new = MOMENTS[moment]
    async with serve(plugin=killer(target, new)) as server:
        await new_project(server.client, project_id=ID)
        await new_toy(server.client, PROJECT)
        location = Path((await server.client.get(PROJECT)).json["location"])
        with pytest.raises(aiohttp.ClientError):
            await server.client.post(f"{PROJECT}/duplicate", {})
        assert await server.ended() == -signal.SIGKILL
        (copy,) = set(names(location)) - {ID}
        # Whose it is is on record.
        report = await (await run("doctor")).communicate()
        assert copy in report[0].decode()
        assert "was not completely copied" in " ".join(report[0].decode().split())
    async with serve() as server:
        assert names(location) == [ID]
        assert (await server.client.post(f"{PROJECT}/duplicate", {})).status == 201
