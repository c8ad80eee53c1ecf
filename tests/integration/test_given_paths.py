"""The path of a project is answered as the client gave it; the real one is what counts."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from api_calls import ID, PROJECT, new_toy
from faults import read_only

pytestmark = pytest.mark.heavy

WRITTEN = ["{tmp}/link/lab", "{tmp}/real/lab/", "{tmp}/real/../real/./lab", "{tmp}//real//lab"]
"""Ways to write one directory."""


@pytest.fixture
def real(tmp_path):
    """The real path of that directory, which is not there yet."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    return tmp_path / "real" / "lab"


def is_below(path: str, directory: Path) -> bool:
    """Whether a path really leads into a directory."""
    return Path(path).resolve().is_relative_to(directory)


async def shown(client) -> str:
    """The project's path, as everything says that shows it."""
    answer = (await client.get(PROJECT)).json
    assert [answer] == (await client.get("/v1/projects")).json
    return str(answer["path"])


@pytest.mark.statement("PRJ-01", "PRJ-17", "PRJ-24")
@pytest.mark.parametrize("written", WRITTEN)
async def test_a_path_is_answered_as_it_was_given(serving, tmp_path, real, written):
    given = written.format(tmp=tmp_path)
    async with serving() as server:
        made = await server.client.post("/v1/projects", {"project_id": ID, "path": given})
        assert (made.status, made.json["path"]) == (201, given)
        toy = await new_toy(server.client, PROJECT)
        async with server.client.listen(f"{PROJECT}/notifications") as events:
            assert await anext(events) == {"action": "ping"}
            assert (await server.client.post(f"{toy}/start")).status == 204
            told = (await anext(events))["event"]
        directory = told["vm_directory"]
        assert directory.startswith(f"{given.rstrip('/')}/project-files/toy/")
        assert is_below(directory, real)
    # After a restart, and when it is opened again by its id alone.
    async with serving() as server:
        assert await shown(server.client) == given
        assert (await server.client.get(toy)).json["vm_directory"] == directory
        assert (await server.client.post(f"{PROJECT}/close")).status == 204
    async with serving() as server:
        opened = await server.client.post("/v1/projects", {"project_id": ID})
        assert (opened.status, opened.json["path"]) == (201, given)
        # Elsewhere it would have been made anew.
        assert (await server.client.get(toy)).json["vm_directory"] == directory


@pytest.mark.parametrize("written", WRITTEN)
async def test_the_same_directory_in_other_words_is_no_move(client, lab, tmp_path, real, written):
    given = written.format(tmp=tmp_path)
    await client.post("/v1/projects", {"project_id": ID, "path": str(real), "temporary": True})
    toy = await new_toy(client, PROJECT)
    assert (await client.post(f"{toy}/start")).status == 204
    before = real.stat().st_ino
    # The mark of a temporary project would go with the old directory.
    for path in (given, given, str(real), given):
        answer = await client.put(PROJECT, {"path": path})
        assert (answer.status, answer.json["path"]) == (200, path)
        assert await shown(client) == path
    assert real.stat().st_ino == before
    assert lab.projects.get(ID).path == real
    assert (await client.get(toy)).json["status"] == "started"
    # What has other words has not another place for others.
    assert (await client.post("/v1/projects", {"path": str(real)})).status == 409
    assert (await client.post("/v1/projects", {"path": given})).status == 409


async def test_a_closed_project_may_be_opened_in_other_words(client, tmp_path, real):
    await client.post("/v1/projects", {"project_id": ID, "path": str(real)})
    toy = await new_toy(client, PROJECT)
    assert (await client.post(f"{PROJECT}/close")).status == 204
    given = f"{tmp_path}/link/lab/"
    opened = await client.post("/v1/projects", {"project_id": ID, "path": given})
    assert (opened.status, opened.json["path"]) == (201, given)
    assert (await client.get(toy)).status == 200


async def test_a_move_is_answered_as_it_was_given(client, tmp_path, real):
    await client.post("/v1/projects", {"project_id": ID, "path": str(tmp_path / "old")})
    given = f"{tmp_path}/link/lab/"
    moved = await client.put(PROJECT, {"path": given})
    assert (moved.status, moved.json["path"]) == (200, given)
    assert (real / "project.db").is_file()


async def test_a_temporary_project_goes_and_the_link_to_it_stays(client, tmp_path, real):
    body = {"project_id": ID, "path": f"{tmp_path}/link/lab/", "temporary": True}
    assert (await client.post("/v1/projects", body)).status == 201
    assert (real / ".gns3_temporary").is_file()
    assert (await client.post(f"{PROJECT}/close")).status == 204
    assert not real.exists()
    assert (tmp_path / "link").is_symlink()


async def test_a_change_that_fails_leaves_the_words_as_well(client, lab, tmp_path, real):
    await client.post("/v1/projects", {"project_id": ID, "path": str(real), "name": "one"})
    body = {"path": f"{tmp_path}/link/lab", "name": "two"}
    before = (await client.get(PROJECT)).json
    state = lab.live_settings.current.state_path
    for file in (real / "project.db", state / "server.db"):
        async with read_only(lab.projects.databases, file):
            assert (await client.put(PROJECT, body)).status == 507
        assert (await client.get(PROJECT)).json == before
    assert (await client.put(PROJECT, body)).json == {**before, **body}


async def test_a_server_that_is_not_local_takes_its_own_words_only(serving, tmp_path, real):
    given = f"{tmp_path}/link/lab"
    async with serving() as server:
        await server.client.post("/v1/projects", {"project_id": ID, "path": given})
    async with serving(local=False) as server:
        for path, status in ((given, 200), (str(real), 200), (f"{real}/", 403)):
            answer = await server.client.put(PROJECT, {"path": path, "name": "x"})
            assert answer.status == status


async def test_a_link_that_leads_elsewhere_by_now_is_not_shown(serving, tmp_path, real):
    async with serving() as server:
        body = {"project_id": ID, "path": f"{tmp_path}/link/lab"}
        assert (await server.client.post("/v1/projects", body)).status == 201
    (tmp_path / "link").unlink()
    (tmp_path / "link").symlink_to(tmp_path)
    async with serving() as server:
        assert await shown(server.client) == str(real)


async def test_a_damaged_project_is_listed_as_it_was_given(serving, tmp_path, real):
    async with serving() as server:
        body = {"project_id": ID, "path": f"{tmp_path}/link/lab"}
        assert (await server.client.post("/v1/projects", body)).status == 201
    (real / "project.db").write_bytes(b"no database " * 1000)
    async with serving() as server:
        (damaged,) = (await server.client.get("/v1/projects/damaged")).json
        assert damaged["path"] == f"{tmp_path}/link/lab"


async def test_the_place_that_is_chosen_for_a_project_is_below_location(serving, tmp_path, real):
    async with serving(projects_path=str(tmp_path / "link")) as server:
        made = (await server.client.post("/v1/projects", {"project_id": ID})).json
        assert made["location"] == str(tmp_path / "link")
        assert made["path"] == f"{made['location']}/{ID}"
        assert (real.parent / ID / "project.db").is_file()


async def test_records_without_given_paths_are_read(serving, tmp_path, real):
    async with serving() as server:
        body = {"project_id": ID, "path": f"{tmp_path}/link/lab"}
        assert (await server.client.post("/v1/projects", body)).status == 201
        state = server.settings.state_path
    with closing(sqlite3.connect(state / "server.db")) as connection:
        connection.executescript(
            "ALTER TABLE project DROP COLUMN given; DROP TABLE run; DROP TABLE arrival;"
            "PRAGMA user_version = 2"
        )
    async with serving() as server:
        assert await shown(server.client) == str(real)


async def test_a_path_that_only_its_dots_make_long_is_refused(client, real):
    answer = await client.post("/v1/projects", {"path": f"{real.parent}{'/.' * 2100}/lab"})
    assert answer.status == 409
    assert "is longer than 4095 bytes" in answer.json["message"]
    assert len(answer.json["message"]) < 400
