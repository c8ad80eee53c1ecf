"""Projects that were moved or copied are found by their ids in the directory for projects."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from api_calls import ID, PROJECT, new_project

from gns3server.places.paths import aside_of

OTHER = ID.replace("0", "1", 1)


@pytest.fixture
def make_projects(serving, build):
    """Makes an open project with two nodes and a closed one, and ends the server."""

    async def make():
        async with serving() as server:
            client = server.client
            nodes = await build(client, ID)
            other = await new_project(client, name="closed", project_id=OTHER)
            assert (await client.post(f"{other}/close")).status == 204
        return nodes

    return make


async def test_projects_are_opened_where_they_were_moved_to(make_projects, serving, tmp_path):
    """A project whose directory is missing is opened where its id is found, also by POST."""
    nodes = await make_projects()
    (tmp_path / "disk").mkdir()
    moved = (tmp_path / "projects").rename(tmp_path / "disk" / "projects")
    # Not a local server: no client may name a path there.
    settings = {"projects_path": str(moved), "local": False}
    async with serving(**settings) as server:
        client = server.client
        assert (await client.get("/v1/projects/damaged")).json == []
        shown = (await client.get(PROJECT)).json
        assert (shown["name"], shown["path"]) == ("lab", str(moved / ID))
        toys = (await client.get(f"{PROJECT}/toy/vms")).json
        assert [toy["vm_id"] for toy in toys] == [node["vm_id"] for node in nodes]
        assert (await client.post(f"{PROJECT}/toy/vms/{toys[0]['vm_id']}/start")).status == 204
        body = {"project_id": OTHER, "path": str(moved / OTHER)}
        answer = await client.post("/v1/projects", body)
        assert (answer.status, answer.json["name"]) == (201, "closed")
    # It is on record: the search is not needed again.
    async with serving(**settings) as server:
        client = server.client
        listed = (await client.get("/v1/projects")).json
        assert {each["path"] for each in listed} == {str(moved / ID), str(moved / OTHER)}
        for project in (ID, OTHER):
            assert (await client.delete(f"/v1/projects/{project}")).status == 204
            # The whole directory, which the server has made.
            assert not (moved / project).exists()


async def test_a_project_that_is_moved_meanwhile_is_opened_by_its_id(make_projects, serving):
    await make_projects()
    async with serving() as server:
        client, projects = server.client, server.settings.projects_path
        (projects / OTHER).rename(projects / "a better name")
        answer = await client.post("/v1/projects", {"project_id": OTHER})
        assert answer.status == 201
        assert answer.json["path"] == str(projects / "a better name")
        assert answer.json["name"] == "closed"


async def test_a_damaged_project_that_is_moved_back_elsewhere_is_opened(
    make_projects, serving, tmp_path
):
    await make_projects()
    shutil.move(tmp_path / "projects" / ID, tmp_path / "aside")
    async with serving() as server:
        client = server.client
        (damage,) = (await client.get("/v1/projects/damaged")).json
        assert "is missing" in damage["reason"]
        shutil.move(tmp_path / "aside", tmp_path / "projects" / "back")
        assert (await client.post("/v1/projects", {"project_id": ID})).status == 201
        assert len((await client.get(f"{PROJECT}/toy/vms")).json) == 2
        assert (await client.get("/v1/projects/damaged")).json == []


async def test_a_project_that_was_copied_in_is_offered_and_taken_in_by_its_id(
    make_projects, serving, tmp_path, caplog
):
    caplog.set_level("INFO")
    await make_projects()
    (tmp_path / "other").mkdir()
    shutil.copytree(tmp_path / "projects" / ID, tmp_path / "other" / "my lab")
    settings = {
        "projects_path": str(tmp_path / "other"),
        "state_path": str(tmp_path / "other state"),
        "local": False,
    }
    async with serving(**settings) as server:
        client = server.client
        offer = f"{tmp_path}/other/my lab holds project {ID}, which is on no record"
        assert offer in caplog.text
        answer = await client.post(f"{PROJECT}/open")
        assert (answer.status, answer.json["name"]) == (200, "lab")
        assert answer.json["path"] == str(tmp_path / "other" / "my lab")
        assert len((await client.get(f"{PROJECT}/toy/vms")).json) == 2


async def test_of_two_copies_none_is_chosen(make_projects, serving, tmp_path):
    await make_projects()
    projects = tmp_path / "projects"
    shutil.copytree(projects / ID, projects / "one")
    (projects / ID).rename(projects / "two")
    async with serving() as server:
        client = server.client
        assert (await client.get("/v1/projects/damaged")).json[0]["project_id"] == ID
        answer = await client.post("/v1/projects", {"project_id": ID})
        assert answer.status == 409
        assert f"{projects}/one, {projects}/two" in answer.json["message"]
        assert f"Rename the right one to {projects}/{ID}" in answer.json["message"]
        (projects / "two").rename(projects / ID)
        assert (await client.post("/v1/projects", {"project_id": ID})).status == 201


async def test_a_project_that_is_being_deleted_is_not_taken_for_a_moved_one(
    make_projects, serving, tmp_path
):
    """Its files are out of the way, in a directory of ours, while they are removed."""
    await make_projects()
    async with serving() as server:
        client = server.client
        path = Path((await client.get(PROJECT)).json["path"])
        shutil.copytree(path, tmp_path / "kept")
        assert (await client.delete(PROJECT)).status == 204
        shutil.copytree(tmp_path / "kept", aside_of(ID, path, whole=True))
        assert (await client.post(f"{PROJECT}/open")).status == 404


async def test_a_new_project_has_nothing_of_a_copy_in_another_directory(
    make_projects, serving, tmp_path
):
    """A move leaves the former directory behind, and people keep copies of their labs."""
    await make_projects()
    async with serving() as server:
        client = server.client
        path = Path((await client.get(PROJECT)).json["path"])
        shutil.copytree(path, path.with_name("copy"))
        assert (await client.delete(PROJECT)).status == 204
        answer = await client.post("/v1/projects", {"project_id": ID})
        assert (answer.status, answer.json["path"]) == (201, str(path))
        assert (await client.get(f"{PROJECT}/nodes")).json == []


async def test_records_of_another_project_or_behind_a_link_are_not_taken_for_it(
    make_projects, serving, tmp_path
):
    await make_projects()
    projects = tmp_path / "projects"
    shutil.move(projects / ID, tmp_path / "aside")
    (projects / "link").symlink_to(tmp_path / "aside")
    # The other project's files in a directory of this one's id.
    shutil.copytree(projects / OTHER, projects / "stranger")
    (projects / "linked records").mkdir()
    (projects / "linked records" / "project.db").symlink_to(tmp_path / "aside" / "project.db")
    async with serving() as server:
        answer = await server.client.post("/v1/projects", {"project_id": ID})
        assert answer.status == 409
        assert "is missing" in answer.json["message"]


async def test_the_records_of_open_projects_are_not_looked_into(make_projects, serving, tmp_path):
    await make_projects()
    async with serving() as server:
        client = server.client

        def locks() -> int:
            inode = (tmp_path / "projects" / ID / "project.db").stat().st_ino
            return Path("/proc/locks").read_text().count(f":{inode} ")

        before = locks()
        assert before
        await new_project(client, project_id=OTHER.replace("1", "2", 1))
        assert locks() == before
