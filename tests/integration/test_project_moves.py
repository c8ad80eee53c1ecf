"""A project that moves does so as a whole, or nothing of it, whatever goes wrong on the way."""

import asyncio
import errno
import shutil
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from api_calls import ID, PROJECT
from faults import failing, read_only

from gns3server.places import paths


def content(path: Path) -> dict[str, bytes | None]:
    """Everything below a directory but the records of the project that is in it."""
    return {
        str(entry.relative_to(path)): entry.read_bytes() if entry.is_file() else None
        for entry in path.rglob("*")
        if entry.parent != path or not entry.name.startswith("project.db")
    }


def directories(lab) -> list[str]:
    """Where the server takes all that runs for the project to be."""
    runs = [node.run for node in lab.projects.get(ID).members]
    return [run.spec.cwd for run in runs if run is not None]


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


@asynccontextmanager
async def full(call, place, **options):
    """A disk without room for what a function of ``os`` wants of it."""
    with failing(call, place, errno.ENOSPC, **options):
        yield


FAULTS = {
    "the copy fails": lambda new, _: full("sendfile", new),
    "the copy fails halfway": lambda _new, _: full("sendfile", "notes.txt"),
    "a sync fails": lambda new, _: full("fsync", new),
    "a file cannot be put in its place": lambda new, _: full("rename", new, only=2),
    "the marker cannot be written": lambda _new, _: full("fsync", ".gns3_temporary"),
    "the records cannot be copied": lambda _new, _: full("replace", "project.db"),
    "the records cannot be changed": lambda new, lab: read_only(
        lab.projects.databases, new / "project.db"
    ),
    "the move cannot be recorded": lambda _new, lab: read_only(
        lab.projects.databases, lab.live_settings.current.state_path / "server.db"
    ),
}
"""What goes wrong, by the new directory and the server it happens to."""


@pytest.mark.parametrize("where", ["new/deep/er", "theirs"])
@pytest.mark.parametrize("fault", FAULTS)
async def test_a_move_that_fails_changes_nothing(
    client, server, lab, old, theirs, *, tmp_path, fault, where
):
    before = (
        (await client.get(PROJECT)).json,
        (await client.get(f"{PROJECT}/toy/vms")).json,
        server.processes(),
        content(old),
        directories(lab),
    )
    around = content(tmp_path)
    body = {"path": str(tmp_path / where), "name": "moved", "temporary": True}
    async with FAULTS[fault](tmp_path / where, lab):
        answer = await client.put(PROJECT, body)
    assert answer.status in (500, 507)
    assert "Please report it" not in answer.json["message"]
    after = (
        (await client.get(PROJECT)).json,
        (await client.get(f"{PROJECT}/toy/vms")).json,
        server.processes(),
        content(old),
        directories(lab),
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
    client, old, tmp_path, caplog
):
    new = tmp_path / "new"
    await client.put(PROJECT, {"temporary": True})
    with failing("rmdir", paths.aside_of(ID, old, whole=True), errno.EBUSY):
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
