"""Snapshots: a lab is kept as it is, and comes back as it was, whatever has become of it."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from api_calls import ID, PROJECT, later, new_toy, status
from faults import before, failing, nearly_full, read_only

from gns3server.files import copying


def tree(path: Path) -> dict[str, bytes | str | None]:
    """All that is in a project's directory, but for the server's own: files, links, directories."""
    found: dict[str, bytes | str | None] = {}
    for entry in path.rglob("*"):
        name = str(entry.relative_to(path))
        if name.startswith((".gns3_", "project.db")):
            continue
        if entry.is_symlink():
            found[name] = os.readlink(entry)
        else:
            found[name] = entry.read_bytes() if entry.is_file() else None
    return found


async def lab_of(client, project=PROJECT):
    """What clients see of a lab."""
    return [
        (await client.get(f"{project}{path}")).json
        for path in ("", "/nodes", "/toy/vms", "/layout")
    ]


async def snapshot(client, name="before", project=PROJECT):
    answer = await client.post(f"{project}/snapshots", {"name": name})
    assert answer.status == 201, answer.body
    return f"{project}/snapshots/{answer.json['snapshot_id']}"


async def restore(client, kept):
    answer = await client.post(f"{kept}/restore")
    assert answer.status == 200, answer.body
    return answer.json


@pytest.fixture
async def directory(client, build, tmp_path):
    """The directory of a project with two nodes, the first wired and started, and files."""
    path = tmp_path / "lab"
    await build(client, ID, path=str(path))
    (path / "project-files" / "deep").mkdir(parents=True)
    (path / "project-files" / "deep" / "disk").write_bytes(b"data" * 1000)
    (path / "README.txt").write_text("read me")
    await client.put(
        f"{PROJECT}/layout",
        {
            node["node_id"]: {"x": number * 10.0}
            for number, node in enumerate((await client.get(f"{PROJECT}/nodes")).json)
        },
    )
    return path


async def test_a_lab_comes_back_as_it_was(client, directory, server):
    before = await lab_of(client)
    ids = [node["node_id"] for node in before[1]]
    kept = await snapshot(client)
    (shown,) = (await client.get(f"{PROJECT}/snapshots")).json
    assert shown["name"] == "before"
    assert shown["running"] == [ids[0]]
    assert shown["size"] >= 4007
    files = tree(directory)
    # Everything becomes another.
    assert (await client.delete(f"{PROJECT}/toy/vms/{ids[1]}")).status == 204
    await client.put(f"{PROJECT}/toy/vms/{ids[0]}", {"name": "renamed", "note": "other"})
    await client.delete(f"{PROJECT}/toy/vms/{ids[0]}/adapters/0/ports/0/nio")
    await client.put(f"{PROJECT}/layout", {ids[0]: {"x": -1}})
    await new_toy(client, PROJECT, name="newcomer")
    (directory / "project-files" / "deep" / "disk").write_bytes(b"overwritten")
    (directory / "project-files" / "more").write_text("more")
    (directory / "README.txt").unlink()
    assert (await restore(client, kept))["snapshot_id"] == shown["snapshot_id"]
    after = await lab_of(client)
    for nodes in (before[1], before[2]):
        for node in nodes:
            node["status"] = "stopped"
    assert after == before
    assert tree(directory) == files
    assert server.processes() == {}
    # It works.
    for node in ids:
        assert (await client.post(f"{PROJECT}/toy/vms/{node}/start")).status == 204
        assert await status(client, f"{PROJECT}/toy/vms/{node}") == "started"


async def test_ports_of_wires_that_a_restoration_takes_away_are_free_again(
    client, directory, server, check_wire
):
    first, second = (await client.get(f"{PROJECT}/toy/vms")).json
    kept = await snapshot(client)
    one, other, unplugged = [
        (await client.post(f"{PROJECT}/ports/toy")).json["udp_port"] for _ in range(3)
    ]
    for node, place, local, remote in (
        (first, "0/ports/0", one, other),
        (second, "1/ports/1", other, one),
    ):
        nio = {"type": "nio_udp", "lport": local, "rhost": "127.0.0.1", "rport": remote}
        path = f"{PROJECT}/toy/vms/{node['vm_id']}/adapters/{place}/nio"
        assert (await client.post(path, nio)).status == 201
    await restore(client, kept)
    assert not server.ports.udp.holders(one)
    assert not server.ports.udp.holders(other)
    # No wire has named it yet.
    assert server.ports.udp.holders(unplugged)
    await check_wire(client, server, first)


async def test_who_listens_is_told_and_goes_on_listening(client, directory):
    ids = [node["node_id"] for node in (await client.get(f"{PROJECT}/nodes")).json]
    async with client.listen(f"{PROJECT}/notifications?since=0") as events:
        kept = await snapshot(client)
        await client.delete(f"{PROJECT}/toy/vms/{ids[1]}")
        await restore(client, kept)
        told = []
        async for event in events:
            told.append(event)
            if event["action"] == "snapshot.restored":
                break
        assert [event["seq"] for event in told[1:]] == list(range(1, len(told)))
        assert [event["action"] for event in told[-4:]] == [
            "snapshot.created",
            "vm.stopped",
            "vm.created",
            "snapshot.restored",
        ]
        assert told[-2]["event"]["vm_id"] == ids[1]
        await client.post(f"{PROJECT}/toy/vms/{ids[1]}/start")
        assert (await anext(events))["action"] == "vm.started"


async def test_snapshots_are_kept_with_the_project_when_it_moves(client, directory, tmp_path):
    kept = await snapshot(client)
    (directory / "project-files" / "deep" / "disk").unlink()
    new = tmp_path / "new"
    assert (await client.put(PROJECT, {"path": str(new)})).status == 200
    await client.post(f"{PROJECT}/close")
    assert (await client.post(f"{PROJECT}/open")).status == 200
    await restore(client, kept)
    assert (new / "project-files" / "deep" / "disk").read_bytes() == b"data" * 1000
    assert (await client.delete(kept)).status == 204
    assert (await client.get(f"{PROJECT}/snapshots")).json == []
    assert list((new / ".gns3_snapshots").iterdir()) == []


async def test_a_deleted_snapshot_does_not_come_back_when_the_project_does(
    client, directory, tmp_path
):
    kept = await snapshot(client)
    assert (await client.put(PROJECT, {"path": str(tmp_path / "new")})).status == 200
    assert (await client.delete(kept)).status == 204
    # A copy of the project has stayed there, with the snapshot.
    assert list((directory / ".gns3_snapshots").iterdir()) != []
    assert (await client.put(PROJECT, {"path": str(directory)})).status == 200
    other = await snapshot(client)
    assert [place.name for place in (directory / ".gns3_snapshots").iterdir()] == [
        other.rpartition("/")[2]
    ]


@pytest.mark.heavy
async def test_a_lab_of_300_nodes_comes_back(client, lab):
    nodes = [
        {
            "id": str(uuid.uuid4()),
            "type": "unknown",
            "name": f"R{number}",
            "console": 20000 + number,
            "layout": {"x": number},
        }
        for number in range(300)
    ]
    async with lab.projects.import_staged() as staged:
        arrived = await staged.commit({"id": ID, "nodes": nodes})
    project = await lab.projects.open(arrived.project_id)
    path = f"/v1/projects/{project.id}"
    before_it = [(await client.get(f"{path}{end}")).json for end in ("/nodes", "/layout")]
    assert [node["name"] for node in before_it[0]] == [node["name"] for node in nodes]
    kept = await snapshot(client, project=path)
    for node in project.nodes.list()[100:]:
        await project.nodes.delete(node.id)
    await restore(client, kept)
    assert [(await client.get(f"{path}{end}")).json for end in ("/nodes", "/layout")] == before_it


# What a project holds ----------------------------------------------------------------------


async def test_what_is_no_file_of_the_lab_is_neither_followed_nor_copied(
    client, directory, tmp_path
):
    files = directory / "project-files"
    (tmp_path / "secret").write_text("secret")
    (files / "out").symlink_to(tmp_path / "secret")
    (files / "loop").symlink_to(files)
    (files / "a\nname").write_text("odd")
    (files / os.fsdecode(b"\xff")).write_text("not UTF-8")
    os.mkfifo(files / "pipe")
    sparse = files / "sparse"
    with sparse.open("wb") as stream:
        stream.truncate(1 << 30)
        stream.seek(1 << 29)
        stream.write(b"x")
    sparse.chmod(0o640)
    # The path of a socket is short (unix(7)), and that of this directory may not be.
    place = os.open(files, os.O_PATH | os.O_DIRECTORY)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"/proc/self/fd/{place}/socket")
        os.close(place)
        kept = await snapshot(client)
    (files / "out").unlink()
    (files / "a\nname").unlink()
    await restore(client, kept)
    assert os.readlink(files / "out") == str(tmp_path / "secret")
    assert os.readlink(files / "loop") == str(files)
    assert (files / "a\nname").read_text() == "odd"
    assert (files / os.fsdecode(b"\xff")).exists()
    assert not (files / "pipe").exists()
    assert not (files / "socket").exists()
    found = sparse.stat()
    assert (found.st_size, found.st_mode & 0o777) == (1 << 30, 0o640)
    assert found.st_blocks * 512 < 1 << 20
    assert (tmp_path / "secret").read_text() == "secret"


async def test_a_link_where_snapshots_belong_is_not_followed(client, directory, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (directory / ".gns3_snapshots").symlink_to(tmp_path / "elsewhere")
    answer = await client.post(f"{PROJECT}/snapshots", {"name": "a"})
    assert answer.status == 507
    assert list((tmp_path / "elsewhere").iterdir()) == []
    assert (await client.get(f"{PROJECT}/snapshots")).json == []


async def test_what_vanishes_while_it_is_copied_is_left_out(client, directory):
    doomed = directory / "project-files" / "deep" / "disk"
    with before("open", "disk", lambda: doomed.unlink(missing_ok=True)):
        kept = await snapshot(client)
    await restore(client, kept)
    assert not doomed.exists()
    assert doomed.parent.is_dir()


async def test_files_of_the_user_are_left_alone(client, build, tmp_path):
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "letter.txt").write_text("dear")
    await build(client, ID, path=str(theirs))
    kept = await snapshot(client)
    (theirs / "letter.txt").write_text("dear all")
    (theirs / "project-files" / "more").write_text("more")
    await restore(client, kept)
    assert (theirs / "letter.txt").read_text() == "dear all"
    assert not (theirs / "project-files" / "more").exists()
    assert (await client.delete(PROJECT)).status == 204
    assert [entry.name for entry in theirs.iterdir()] == ["letter.txt"]


async def test_snapshots_are_no_files_of_the_project(client, directory):
    listed = (await client.get(f"{PROJECT}/files")).json
    await snapshot(client)
    assert (await client.get(f"{PROJECT}/files")).json == listed
    (place,) = (directory / ".gns3_snapshots").iterdir()
    for name in ("project.db", "files/README.txt"):
        path = f".gns3_snapshots/{place.name}/{name}"
        assert (await client.get(f"{PROJECT}/files/{path}")).status == 403


# What is refused ---------------------------------------------------------------------------


async def test_names_are_taken_once_and_have_a_length(client, directory):
    await snapshot(client)
    answer = await client.post(f"{PROJECT}/snapshots", {"name": "before"})
    assert answer.status == 409
    for name in ("", "x" * 201):
        assert (await client.post(f"{PROJECT}/snapshots", {"name": name})).status == 400
    assert len((await client.get(f"{PROJECT}/snapshots")).json) == 1


async def test_unknown_snapshots_are_named(client, directory):
    for method, path in (("POST", f"{ID}/restore"), ("DELETE", ID), ("DELETE", "no-id")):
        answer = await client.request(method, f"{PROJECT}/snapshots/{path}")
        assert answer.status == 404


async def test_there_is_a_limit(client, directory, monkeypatch):
    monkeypatch.setattr("gns3server.projects.snapshots.MOST_SNAPSHOTS", 2)
    for name in ("a", "b"):
        await snapshot(client, name)
    answer = await client.post(f"{PROJECT}/snapshots", {"name": "c"})
    assert answer.status == 409
    assert "2 snapshots" in answer.json["message"]


async def test_a_snapshot_whose_files_are_gone_is_refused_and_can_be_deleted(client, directory):
    kept = await snapshot(client)
    (place,) = (directory / ".gns3_snapshots").iterdir()
    state, files = await lab_of(client), tree(directory)
    for damage in (
        lambda: (place / "project.db").write_bytes(b"no database" * 1000),
        (place / "project.db").unlink,
    ):
        damage()
        answer = await client.post(f"{kept}/restore")
        assert answer.status == 409
        assert str(place) in answer.json["message"]
    assert (await lab_of(client), tree(directory)) == (state, files)
    assert (await client.delete(kept)).status == 204


async def test_a_node_that_another_project_has_by_now_is_not_taken_from_it(client, directory):
    (_, node) = [node["node_id"] for node in (await client.get(f"{PROJECT}/nodes")).json]
    kept = await snapshot(client)
    await client.delete(f"{PROJECT}/toy/vms/{node}")
    other = (await client.post("/v1/projects", {"name": "other"})).json["project_id"]
    await new_toy(client, f"/v1/projects/{other}", vm_id=node)
    before = await lab_of(client)
    answer = await client.post(f"{kept}/restore")
    assert answer.status == 409
    assert other in answer.json["message"]
    assert await lab_of(client) == before


async def test_a_console_that_is_taken_by_now_is_replaced(client, directory):
    (_, node) = (await client.get(f"{PROJECT}/nodes")).json
    kept = await snapshot(client)
    await client.delete(f"{PROJECT}/toy/vms/{node['node_id']}")
    other = (await client.post("/v1/projects", {"name": "other"})).json["project_id"]
    await new_toy(client, f"/v1/projects/{other}", console=node["console"])
    await restore(client, kept)
    (_, again) = (await client.get(f"{PROJECT}/nodes")).json
    assert again["console"] != node["console"]
    assert (await client.post(f"{PROJECT}/toy/vms/{node['node_id']}/start")).status == 204


# What goes wrong ---------------------------------------------------------------------------


MAKING = {
    "a file cannot be copied": lambda: failing("fsync", "disk", errno.ENOSPC),
    "a directory cannot be made": lambda: failing("mkdir", "deep", errno.ENOSPC),
    "the records cannot be written": lambda: failing("replace", "project.db.part", errno.ENOSPC),
    "the disk is nearly full": lambda: nearly_full(0),
}


@pytest.mark.parametrize("fault", MAKING)
async def test_a_snapshot_that_fails_leaves_nothing(client, directory, monkeypatch, fault):
    # As on a file system that cannot share blocks.
    monkeypatch.setattr(copying, "FICLONE", 0)
    state, files = await lab_of(client), tree(directory)
    with MAKING[fault]():
        answer = await client.post(f"{PROJECT}/snapshots", {"name": "a"})
    assert answer.status == 507
    assert "full" in answer.json["message"]
    assert (await lab_of(client), tree(directory)) == (state, files)
    assert list((directory / ".gns3_snapshots").iterdir()) == []
    assert (await client.get(f"{PROJECT}/snapshots")).json == []
    await snapshot(client, "a")


@pytest.mark.parametrize("fault", ["a file cannot be copied", "the disk is nearly full"])
async def test_a_restoration_that_does_not_fit_changes_nothing(
    client, directory, monkeypatch, fault
):
    monkeypatch.setattr(copying, "FICLONE", 0)
    kept = await snapshot(client)
    (directory / "project-files" / "deep" / "disk").write_text("newer")
    state, files = await lab_of(client), tree(directory)
    with MAKING[fault]():
        answer = await client.post(f"{kept}/restore")
    assert answer.status == 507
    assert (await lab_of(client), tree(directory)) == (state, files)
    assert not list(directory.glob(".gns3_restoring*"))
    await restore(client, kept)
    assert (directory / "project-files" / "deep" / "disk").read_bytes() == b"data" * 1000


async def test_a_restoration_that_cannot_be_recorded_changes_nothing(client, lab, directory):
    kept = await snapshot(client)
    (directory / "project-files" / "deep" / "disk").write_text("newer")
    files = tree(directory)
    async with read_only(lab.projects.databases, directory / "project.db"):
        answer = await client.post(f"{kept}/restore")
    assert answer.status == 507
    assert tree(directory) == files
    await restore(client, kept)


async def test_files_that_cannot_be_put_in_place_are_by_the_next_opening(client, directory):
    kept = await snapshot(client)
    (directory / "project-files" / "deep" / "disk").write_text("newer")
    with failing("rename", directory / "project-files", errno.EIO, only=1):
        answer = await client.post(f"{kept}/restore")
    assert answer.status == 500
    assert "next opening" in answer.json["message"]
    await client.post(f"{PROJECT}/close")
    assert (await client.post(f"{PROJECT}/open")).status == 200
    assert (directory / "project-files" / "deep" / "disk").read_bytes() == b"data" * 1000
    assert not list(directory.glob(".gns3_restoring*"))


# At the same time --------------------------------------------------------------------------


@contextmanager
def copying_halts() -> Iterator[tuple[asyncio.Event, threading.Event]]:
    """Have whoever copies ``disk`` wait before it: an event that tells so, and one to go on."""
    loop = asyncio.get_running_loop()
    reached, go_on = asyncio.Event(), threading.Event()

    def wait() -> None:
        loop.call_soon_threadsafe(reached.set)
        go_on.wait()

    with before("open", "disk", wait):
        try:
            yield reached, go_on
        finally:
            go_on.set()


async def test_snapshots_at_the_same_time_are_made_in_turn(client, directory):
    with copying_halts() as (reached, go_on):
        made = [later(client.post(f"{PROJECT}/snapshots", {"name": name})) for name in "ab"]
        await reached.wait()
        # Who reads does not wait, and the loop is free.
        assert len((await client.get(f"{PROJECT}/nodes")).json) == 2
        assert (await client.get(f"{PROJECT}/snapshots")).json == []
        go_on.set()
        answers = await asyncio.gather(*made)
    assert [answer.status for answer in answers] == [201, 201]
    shown = (await client.get(f"{PROJECT}/snapshots")).json
    assert sorted(each["name"] for each in shown) == ["a", "b"]


async def test_a_close_ends_a_snapshot_that_is_being_made(client, lab, directory):
    with copying_halts() as (reached, go_on):
        made = later(client.post(f"{PROJECT}/snapshots", {"name": "a"}))
        await reached.wait()
        closed = later(client.post(f"{PROJECT}/close"))
        await lab.projects.get(ID).closing.wait()
        go_on.set()
        assert (await made).status == 409
        assert (await closed).status == 204
    assert (await client.post(f"{PROJECT}/open")).status == 200
    assert (await client.get(f"{PROJECT}/snapshots")).json == []
    assert list((directory / ".gns3_snapshots").iterdir()) == []


async def test_a_client_that_hangs_up_leaves_a_whole_snapshot(client, directory):
    with copying_halts() as (reached, go_on):
        made = later(client.post(f"{PROJECT}/snapshots", {"name": "a"}))
        await reached.wait()
        made.cancel()
        await asyncio.wait({made})
        go_on.set()
        # In its turn.
        await snapshot(client, "b")
    shown = (await client.get(f"{PROJECT}/snapshots")).json
    assert [each["name"] for each in shown] == ["a", "b"]
