"""Where projects may be, and that nothing is removed that the server did not make."""

import asyncio
import errno
import shutil
import threading
from pathlib import Path

import pytest
from api_calls import ID, later
from faults import before, failing
from file_trees import names_below


def make(file: Path) -> None:
    """Make a file and its directory."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("x")


async def create(client, path, **values):
    return await client.post("/v1/projects", {"path": str(path), **values})


@pytest.fixture
def theirs(tmp_path):
    """A directory with somebody's files."""
    path = tmp_path / "theirs"
    (path / "photos").mkdir(parents=True)
    (path / "photos" / "cat.jpg").write_text("cat")
    (path / "letter.txt").write_text("dear")
    return path


# Refusals -------------------------------------------------------------------------------


async def test_places_that_are_not_a_projects_are_refused(client, server, tmp_path, subtests):
    first = tmp_path / "lab"
    assert (await create(client, first)).status == 201
    (tmp_path / "link").symlink_to(first)
    (tmp_path / "root").symlink_to("/")
    before = names_below(tmp_path)
    settings = server.settings
    for path in (
        "lab2",
        "./lab2",
        "~/lab2",
        "/",
        "//",
        "/root",
        settings.home,
        settings.projects_path,
        settings.projects_path.parent,
        settings.images_path,
        settings.state_path,
        first,
        f"{first}/",
        f"{first}/../lab",
        first / "project-files",
        first / "deep" / "inside",
        tmp_path,
        tmp_path.parent,
        tmp_path / "link",
        tmp_path / "link" / "inside",
        tmp_path / "root",
    ):
        with subtests.test(path=path):
            answer = await create(client, path)
            assert answer.status == 409
            assert set(answer.json) == {"message", "status"}
    assert names_below(tmp_path) == before
    assert len((await client.get("/v1/projects")).json) == 1


async def test_a_closed_project_keeps_its_place(client, tmp_path):
    made = (await create(client, tmp_path / "lab")).json
    await client.post(f"/v1/projects/{made['project_id']}/close")
    for path in (tmp_path / "lab", tmp_path / "lab" / "inside"):
        assert (await create(client, path)).status == 409
    assert (await create(client, tmp_path / "lab", project_id=made["project_id"])).status == 201


async def test_two_who_want_one_place_at_once_do_not_both_get_it(client, tmp_path):
    wanted = [tmp_path / "lab", tmp_path / "lab", tmp_path / "lab" / "inside", tmp_path / "lab"]
    answers = await asyncio.gather(*(create(client, path) for path in wanted))
    assert sorted(answer.status for answer in answers) == [201, 409, 409, 409]


async def test_the_home_in_the_environment_is_refused_too(gns3_serving, tmp_path):
    home = tmp_path / "homes" / "me"
    async with gns3_serving(plugins=[], environ={"HOME": str(home)}) as server:
        for path in (home, home.parent):
            assert (await create(server.client, path)).status == 409
        assert (await create(server.client, home / "lab")).status == 201


async def test_only_a_local_server_lets_clients_choose(gns3_serving, tmp_path):
    async with gns3_serving(plugins=[], local=False) as server:
        for path in (tmp_path / "lab", "/", "relative"):
            answer = await create(server.client, path)
            assert answer.status == 403
            assert "--local" in answer.json["message"]
        assert not (tmp_path / "lab").exists()
        assert (await server.client.post("/v1/projects", {"path": None})).status == 201


# Directories that cannot be used ----------------------------------------------------------


async def test_a_projects_directory_that_cannot_be_written(gns3_serving, tmp_path):
    (tmp_path / "file").write_text("I am a file")
    async with gns3_serving(
        plugins=[], projects_path=str(tmp_path / "file" / "projects")
    ) as server:
        client = server.client
        answer = await client.post("/v1/projects", {"name": "lab", "project_id": ID})
        assert answer.status == 500
        assert str(tmp_path / "file" / "projects" / ID) in answer.json["message"]
        assert "Traceback" not in answer.json["message"]
        assert (await client.get(f"/v1/projects/{ID}")).status == 404
        # The id is not lost: with a path that works it can be had.
        assert (await create(client, tmp_path / "lab", project_id=ID)).status == 201
    assert (tmp_path / "file").read_text() == "I am a file"


async def test_a_path_that_is_a_file_is_left_alone(client, tmp_path):
    (tmp_path / "file").write_text("mine")
    assert (await create(client, tmp_path / "file")).status == 500
    assert (tmp_path / "file").read_text() == "mine"


async def test_a_database_that_is_none_is_refused_and_left_alone(client, theirs):
    (theirs / "project.db").write_bytes(b"no database " * 1000)
    before = {p: p.read_bytes() for p in theirs.rglob("*") if p.is_file()}
    for _ in range(2):
        answer = await create(client, theirs, project_id=ID)
        assert answer.status == 409
        assert str(theirs / "project.db") in answer.json["message"]
    assert {p: p.read_bytes() for p in theirs.rglob("*") if p.is_file()} == before
    (theirs / "project.db").unlink()
    assert (await create(client, theirs, project_id=ID)).status == 201


# What is removed ----------------------------------------------------------------------------


async def test_somebodys_files_survive_the_project_in_their_directory(client, theirs):
    before = names_below(theirs)
    made = (await create(client, theirs, temporary=True)).json
    url = f"/v1/projects/{made['project_id']}"
    assert (await client.post(f"{url}/toy/vms", {"name": "toy"})).status == 201
    directory = Path((await client.get(f"{url}/toy/vms")).json[0]["vm_directory"])
    make(directory / "disk")
    assert (await client.delete(url)).status == 204
    assert names_below(theirs) == before


async def test_it_is_remembered_that_a_directory_was_somebodys(client, theirs):
    before = names_below(theirs)
    for _ in range(2):
        answer = await create(client, theirs, project_id=ID)
        assert answer.status == 201
        await client.post(f"/v1/projects/{ID}/close")
    (theirs / "letter.txt").rename(theirs / "letter2.txt")
    assert (await create(client, theirs, project_id=ID)).status == 201
    assert (await client.delete(f"/v1/projects/{ID}")).status == 204
    assert names_below(theirs) == before - {"letter.txt"} | {"letter2.txt"}


async def test_an_empty_directory_is_taken_over_as_a_whole(client, tmp_path):
    (tmp_path / "empty").mkdir()
    made = (await create(client, tmp_path / "empty")).json
    (tmp_path / "empty" / "later.txt").write_text("x")
    assert (await client.delete(f"/v1/projects/{made['project_id']}")).status == 204
    assert not (tmp_path / "empty").exists()


@pytest.mark.parametrize("end", ["delete", "close"])
async def test_empty_project_files_that_a_client_has_made_keep_no_directory(client, tmp_path, end):
    (tmp_path / "lab" / "project-files").mkdir(parents=True)
    made = (await create(client, tmp_path / "lab", temporary=end == "close")).json
    url = f"/v1/projects/{made['project_id']}"
    assert (await client.post(f"{url}/toy/vms", {"name": "toy"})).status == 201
    method, path = ("DELETE", url) if end == "delete" else ("POST", f"{url}/close")
    assert (await client.request(method, path)).status == 204
    assert not (tmp_path / "lab").exists()


async def test_a_move_takes_a_directory_with_empty_project_files_as_a_whole(client, tmp_path):
    (tmp_path / "new" / "project-files").mkdir(parents=True)
    made = (await create(client, tmp_path / "old")).json
    url = f"/v1/projects/{made['project_id']}"
    assert (await client.put(url, {"path": str(tmp_path / "new")})).status == 200
    assert (await client.delete(url)).status == 204
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("held", ["project-files/mine", "mine", "project-files"])
async def test_a_directory_with_somebodys_files_beside_stays(client, tmp_path, held):
    lab = tmp_path / "lab"
    if held == "project-files":
        (tmp_path / "elsewhere").mkdir()
        lab.mkdir()
        (lab / held).symlink_to(tmp_path / "elsewhere")
    else:
        (lab / "project-files").mkdir(parents=True)
        make(lab / held)
    made = (await create(client, lab)).json
    assert (await client.delete(f"/v1/projects/{made['project_id']}")).status == 204
    assert lab.is_dir()
    assert held != "project-files" or (tmp_path / "elsewhere").is_dir()


async def test_links_in_a_project_are_not_followed_when_it_is_removed(client, theirs, project):
    path = Path((await client.get(project)).json["path"])
    (path / "link").symlink_to(theirs)
    before = names_below(theirs)
    assert (await client.delete(project)).status == 204
    assert names_below(theirs) == before


async def test_a_directory_that_vanished_is_no_obstacle(client, project):
    shutil.rmtree((await client.get(project)).json["path"])
    assert (await client.delete(project)).status == 204
    assert (await client.get(project)).status == 404


@pytest.mark.statement("PRJ-29")
async def test_files_that_cannot_be_moved_leave_the_project_open(client, project):
    path = Path((await client.get(project)).json["path"])
    before = names_below(path)
    with failing("rename", path, errno.EPERM):
        answer = await client.delete(project)
        assert answer.status == 500
        assert "still there" in answer.json["message"]
    assert (await client.get(project)).status == 200
    assert names_below(path) == before
    # It works on as before, and can be deleted later.
    assert (await client.post(f"{project}/toy/vms", {"name": "toy"})).status == 201
    assert (await client.delete(project)).status == 204
    assert names_below(path) == set()


@pytest.mark.statement("PRJ-29")
async def test_files_that_cannot_be_removed_are_named(client, server, project):
    with failing("rmdir", server.settings.projects_path, errno.EBUSY):
        answer = await client.delete(project)
    assert answer.status == 500
    (left,) = server.settings.projects_path.iterdir()
    assert f"They are in {left}" in answer.json["message"]
    assert (await client.get(project)).status == 404


@pytest.mark.parametrize("end", ["delete", "close"])
async def test_a_project_that_is_a_mount_point_can_be_deleted(client, small_disk, end):
    answer = await create(client, small_disk, temporary=end == "close")
    assert answer.status == 201
    project = f"/v1/projects/{answer.json['project_id']}"
    toy = await client.post(f"{project}/toy/vms", {"name": "toy", "note": "text"})
    assert toy.status == 201
    if end == "delete":
        assert (await client.delete(project)).status == 204
    else:
        assert (await client.post(f"{project}/close")).status == 204
    assert [*small_disk.iterdir()] == []
    assert (await client.get("/v1/projects")).json == []


async def test_paths_on_a_disk_that_does_not_answer_hold_up_nobody(
    gns3_serving, tmp_path, monkeypatch
):
    monkeypatch.setattr("gns3server.places.index.PATH_SECONDS", 0.2)
    dead, answers = tmp_path / "dead", threading.Event()
    with before("lstat", dead, answers.wait) as looks:
        async with gns3_serving(plugins=[]) as server:
            client = server.client
            asked = [later(create(client, dead / str(number))) for number in range(20)]
            while not looks:
                await client.get("/v1/version")
            assert (await create(client, tmp_path / "lab")).status == 201
            refused = await asyncio.gather(*asked)
            assert {answer.status for answer in refused} == {409}
            assert "does not answer" in refused[0].json["message"]
        # The server has ended although the disk has not answered.
        assert len(looks) == 1
        answers.set()
    assert not dead.exists()
