"""Projects."""

from __future__ import annotations

import uuid

import pytest
from v2_client import ends_of, v2_client

from gns3server.plugin import StorageFailed, Store


@pytest.mark.statement("V2-08")
async def test_a_new_project_is_open_and_has_every_key(client):
    made = await client.post("/projects", {"name": "lab", "path": None, "grid_size": 50})
    assert made["status"] == "opened"
    assert (made["name"], made["grid_size"], made["auto_close"]) == ("lab", 50, True)
    assert made["filename"] == "project.gns3"
    assert await client.get(f"/projects/{made['project_id']}") == made
    assert await client.get("/projects") == [made]


async def test_no_two_projects_have_the_same_name(client, project):
    await client.post("/projects", {"name": "lab"}, expect=409)
    other = await client.project("other")
    await client.put(other, {"name": "lab"}, expect=409)
    await client.post(f"{project}/close", expect=204)
    await client.post("/projects", {"name": "lab"}, expect=409)


async def test_the_client_may_choose_the_id(client):
    project_id = str(uuid.uuid4())
    made = await client.post("/projects", {"name": "lab", "project_id": project_id})
    assert made["project_id"] == project_id


@pytest.mark.statement("V2-03")
async def test_unknown_keys_do_no_harm_and_are_noted_once(client, caplog):
    caplog.set_level("INFO")
    for name in ("lab", "other"):
        values = {"name": name, "__pydantic_initialised__": True, "colour": "blue"}
        await client.post("/projects", values)
    assert caplog.text.count("'colour' means nothing") == 1


@pytest.mark.statement("V2-03")
@pytest.mark.parametrize("body", [None, {}])
async def test_bodies_may_be_left_out_or_be_empty(client, project, body):
    await client.post(f"{project}/open", body)
    await client.post(f"{project}/nodes/start", body, expect=204)
    await client.post(f"{project}/nodes/console/reset", body, expect=204)
    await client.vpcs(project)
    await client.post(f"{project}/close", body, expect=204)
    await client.post(f"{project}/open", body)


@pytest.mark.statement("V2-09")
async def test_a_closed_project_can_be_read_and_opened_again(client, project):
    node = await client.vpcs(project)
    await client.put(project, {"zoom": 80, "name": "renamed"})
    await client.post(f"{project}/close", expect=204)
    shown = await client.get(project)
    assert (shown["status"], shown["name"], shown["zoom"]) == ("closed", "renamed", 80)
    (closed,) = await client.get(f"{project}/nodes")
    assert (closed["node_id"], closed["x"], closed["y"]) == (node["node_id"], 10, 20)
    assert await client.get(f"{project}/nodes/{node['node_id']}") == closed
    await client.post(f"{project}/close", expect=404)
    assert (await client.get(f"{project}/stats"))["nodes"] == 1
    opened = await client.post(f"{project}/open")
    assert (opened["status"], opened["zoom"]) == ("opened", 80)
    assert await client.post(f"{project}/open") == opened
    assert await client.get(f"{project}/nodes") == [node]


async def test_a_closed_project_can_be_deleted(client, project):
    await client.post(f"{project}/close", expect=204)
    async with client.listening() as stream:
        await client.delete(project)
        await stream.wait_for("project.closed")
        await stream.wait_for("project.deleted")
    await client.delete(project, expect=404)
    assert await client.get("/projects") == []


@pytest.mark.statement("V2-10")
async def test_projects_of_v1_are_the_same_ones(client, gns3_client, gns3_project):
    (shown,) = await client.get("/projects")
    assert gns3_project.endswith(shown["project_id"])
    async with client.listening() as stream:
        await gns3_client.request("PUT", gns3_project, {"name": "by v1"})
        assert (await stream.wait_for("project.updated"))["name"] == "by v1"
        await gns3_client.post(f"{gns3_project}/close")
        assert (await stream.wait_for("project.closed"))["status"] == "closed"
    async with client.listening() as stream:
        await gns3_client.post("/v1/projects", {})
        assert (await stream.wait_for("project.created"))["name"] == "unnamed"


async def test_a_project_opens_although_its_values_cannot_be_kept(client, gns3_client):
    """And the next one is told of as well: the hook that tells it goes on."""

    async def set_nothing(*_):
        raise StorageFailed("The disk is full: make room.")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Store, "set", set_nothing)
        project_id = (await gns3_client.post("/v1/projects", {})).json["project_id"]
    path = f"/projects/{project_id}"
    assert (await client.get(path))["status"] == "opened"
    assert (await client.put(path, {"zoom": 70}))["zoom"] == 70
    async with client.listening() as stream:
        await client.project("next")
        assert (await stream.wait_for("project.created"))["name"] == "next"


@pytest.mark.statement("V2-11")
async def test_values_survive_a_kill(gns3_process):
    async with gns3_process() as server:
        async with v2_client(server.client.url) as client:
            project = await client.project(zoom=60)
            drawing = await client.post(f"{project}/drawings", {"svg": "<svg/>", "x": 1, "y": 2})
        await server.kill()
    async with gns3_process() as server, v2_client(server.client.url) as client:
        assert (await client.get(project))["zoom"] == 60
        assert await client.get(f"{project}/drawings") == [drawing]


async def test_projects_open_and_start_by_themselves_if_they_say_so(gns3_process):
    async with gns3_process() as server, v2_client(server.client.url) as client:
        project = await client.project(auto_open=True)
        other = await client.project("other")
        for each in (project, other):
            await client.post(f"{each}/close", expect=204)
    async with gns3_process() as server, v2_client(server.client.url) as client:
        async with client.listening() as stream:
            if (await client.get(project))["status"] != "opened":
                await stream.wait_for("project.opened")
        assert (await client.get(project))["status"] == "opened"
        assert (await client.get(other))["status"] == "closed"


@pytest.mark.statement("V2-40")
async def test_a_project_is_not_closed_when_nobody_listens_any_more(client):
    project = await client.project(auto_close=True)
    nodes = [await client.vpcs(project) for _ in range(2)]
    await client.post(f"{project}/links", {"nodes": ends_of(nodes)})
    await client.post(f"{project}/nodes/start", expect=204)
    async with client.listening(project), client.listening(project):
        pass
    # What is told of this comes after what would have been told of that.
    async with client.listening() as stream:
        await client.put(project, {"zoom": 50})
        assert (await stream.wait_for("project.updated"))["auto_close"] is True
        assert "project.closed" not in stream.actions
    assert {node["status"] for node in await client.get(f"{project}/nodes")} == {"started"}


@pytest.mark.statement("V2-40")
async def test_nodes_start_with_their_project_if_it_says_so(client):
    project = await client.project(auto_start=True)
    nodes = [await client.vpcs(project) for _ in range(2)]
    await client.post(f"{project}/links", {"nodes": ends_of(nodes)})
    await client.post(f"{project}/close", expect=204)
    await client.post(f"{project}/open")
    assert {node["status"] for node in await client.get(f"{project}/nodes")} == {"started"}


async def test_a_compute_knows_the_projects_of_its_server(client, project):
    project_id = project.removeprefix("/projects/")
    values = {"name": "lab", "project_id": project_id}
    assert (await client.post("/compute/projects", values))["project_id"] == project_id
    made = await client.post("/compute/projects", {"name": "other"})
    assert len(await client.get("/projects")) == 2
    assert made["status"] == "opened"
