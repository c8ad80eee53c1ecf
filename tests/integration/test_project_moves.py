"""A project that moves does so as a whole, or nothing of it, whatever goes wrong on the way."""

import asyncio
import errno
import os
import shutil
from pathlib import Path

import pytest

from gns3server.errors import StorageFailed
from gns3server.places import paths, relocation
from gns3server.places.index import ProjectIndex
from gns3server.storage.database import DatabaseThread
from gns3server.storage.stores import ProjectStore

ID = "00010203-0405-0607-0809-0a0b0c0d0e0f"
PROJECT = f"/v1/projects/{ID}"


def content(path: Path) -> dict[str, bytes | None]:
    """Everything below a directory but the records of the project that is in it."""
    return {
        str(entry.relative_to(path)): entry.read_bytes() if entry.is_file() else None
        for entry in path.rglob("*")
        if entry.parent != path or not entry.name.startswith("project.db")
    }


@pytest.fixture
async def old(client, build, tmp_path):
    """The directory of a project with files and a running node."""
    path = tmp_path / "old"
    await build(client, ID, path=str(path))
    (path / "project-files" / "notes.txt").write_text("ours")
    (path / "project-files" / "deep").mkdir()
    (path / "project-files" / "deep" / "disk").write_text("data")
    return path


@pytest.fixture
def theirs(tmp_path):
    """A directory with somebody's files, some of which are called as the project's."""
    path = tmp_path / "theirs"
    (path / "project-files").mkdir(parents=True)
    (path / "project-files" / "notes.txt").write_text("theirs")
    (path / "project-files" / "more.txt").write_text("more")
    (path / "letter.txt").write_text("dear")
    return path


def no_space(*_arguments, **_options):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def fails(_work):
    """What fails each time it is called."""
    return no_space


def fails_at_the_second_call(work):
    """What does its work, but for one time."""
    calls = []

    def fail(*arguments, **options):
        calls.append(arguments)
        return (no_space if len(calls) == 2 else work)(*arguments, **options)

    return fail


def cannot_store(_work):
    """What cannot write to a database."""

    async def fail(*_arguments, **_options):
        raise StorageFailed("The disk is full.")

    return fail


FAULTS = {
    "the copy fails": (shutil, "copyfile", fails),
    "the copy fails halfway": (shutil, "copyfile", fails_at_the_second_call),
    "a sync fails": (relocation, "sync_file", fails),
    "a file cannot be put in its place": (
        relocation.Relocation,
        "_rename",
        fails_at_the_second_call,
    ),
    "the marker cannot be written": (paths, "sync_directory", fails),
    "the records cannot be copied": (DatabaseThread, "copy", cannot_store),
    "the records cannot be changed": (ProjectStore, "_commit", cannot_store),
    "the move cannot be recorded": (ProjectIndex, "save", cannot_store),
}


@pytest.mark.parametrize("where", ["new/deep/er", "theirs"])
@pytest.mark.parametrize("fault", FAULTS)
async def test_a_move_that_fails_changes_nothing(
    client, server, old, theirs, tmp_path, *, monkeypatch, fault, where
):
    before = (
        (await client.get(PROJECT)).json,
        (await client.get(f"{PROJECT}/toy/vms")).json,
        server.processes(),
        content(old),
    )
    around = content(tmp_path)
    body = {"path": str(tmp_path / where), "name": "moved", "temporary": True}
    with monkeypatch.context() as patch:
        owner, name, failing = FAULTS[fault]
        patch.setattr(owner, name, failing(getattr(owner, name)))
        answer = await client.put(PROJECT, body)
    assert answer.status in (500, 507)
    assert "Please report it" not in answer.json["message"]
    after = (
        (await client.get(PROJECT)).json,
        (await client.get(f"{PROJECT}/toy/vms")).json,
        server.processes(),
        content(old),
    )
    assert after == before
    assert {name: data for name, data in content(tmp_path).items() if "project.db" not in name} == {
        name: data for name, data in around.items() if "project.db" not in name
    }
    # It can be changed, closed and opened where it is, and moved when nothing is in the way.
    node = f"{PROJECT}/toy/vms/{before[1][1]['vm_id']}"
    assert (await client.put(node, {"name": "still here"})).status == 200
    assert (await client.put(PROJECT, body)).status == 200
    assert (await client.get(node)).json["name"] == "still here"


async def test_what_is_in_the_way_of_a_move_is_named_and_stays(client, old, theirs):
    (theirs / "project-files" / "deep").write_text("no directory")
    before, mine = content(theirs), content(old)
    answer = await client.put(PROJECT, {"path": str(theirs)})
    assert answer.status == 409
    assert str(theirs / "project-files" / "deep") in answer.json["message"]
    (theirs / "project.db").write_bytes(b"no database " * 1000)
    assert (await client.put(PROJECT, {"path": str(theirs)})).status == 409
    assert (theirs / "project.db").read_bytes() == b"no database " * 1000
    assert (content(theirs), content(old)) == (before, mine)


async def test_files_that_are_there_already_stay_but_for_those_of_the_same_name(
    client, old, theirs
):
    before, mine = content(theirs), content(old)
    assert (await client.put(PROJECT, {"path": str(theirs)})).status == 200
    assert content(theirs) == {**before, **mine}
    assert content(old) == mine
    assert (await client.delete(PROJECT)).status == 204
    assert content(theirs) == {"letter.txt": b"dear"}


async def test_the_records_of_another_project_are_set_beside(client, old, theirs):
    other = ID.replace("0", "f")
    await client.post("/v1/projects", {"project_id": other, "name": "other"})
    path = Path((await client.get(f"/v1/projects/{other}")).json["path"])
    await client.post(f"/v1/projects/{other}/close")
    shutil.copy(path / "project.db", theirs)
    assert (await client.put(PROJECT, {"path": str(theirs)})).status == 200
    assert (theirs / f"project.db.{other}").read_bytes() == (path / "project.db").read_bytes()
    assert len((await client.get(f"{PROJECT}/toy/vms")).json) == 2


async def test_a_move_to_where_an_old_copy_of_the_project_is(client, old, theirs):
    await client.post(f"{PROJECT}/close")
    shutil.copy(old / "project.db", theirs)
    await client.post("/v1/projects", {"project_id": ID, "name": "newer"})
    assert (await client.put(PROJECT, {"path": str(theirs)})).status == 200
    assert (await client.get(PROJECT)).json["name"] == "newer"
    assert [entry.name for entry in theirs.glob("project.db.*")] == []


async def test_an_old_place_that_cannot_be_removed_does_not_undo_a_move(
    client, old, tmp_path, monkeypatch, caplog
):
    new = tmp_path / "new"
    await client.put(PROJECT, {"temporary": True})
    with monkeypatch.context() as patch:
        patch.setattr(paths, "discard", no_space)
        answer = await client.put(PROJECT, {"path": str(new)})
    assert (answer.status, answer.json["path"]) == (200, str(new))
    assert "could not be removed" in caplog.text
    assert (await client.get(f"{PROJECT}/toy/vms")).json[0]["status"] == "started"


async def test_changes_of_a_project_at_the_same_time_are_all_done(client, old, hold_disk, arrived):
    with hold_disk():
        updates = []
        for body in ({"name": "new"}, {"temporary": True}, {"path": str(old)}):
            updates.append(asyncio.ensure_future(client.put(PROJECT, body)))
            await arrived()
    assert [answer.status for answer in await asyncio.gather(*updates)] == [200] * 3
    shown = (await client.get(PROJECT)).json
    assert (shown["name"], shown["temporary"]) == ("new", True)


async def test_moves_at_the_same_time_are_done_one_after_the_other(client, old, tmp_path):
    places = [str(tmp_path / "a"), str(old), str(tmp_path / "b"), str(tmp_path / "a")]
    answers = await asyncio.gather(*(client.put(PROJECT, {"path": path}) for path in places))
    assert [(answer.status, answer.json["path"]) for answer in answers] == [
        (200, path) for path in places
    ]
    assert (await client.get(f"{PROJECT}/toy/vms")).json[0]["status"] == "started"
