"""Notifications, drawings, computes."""

from __future__ import annotations

import json

import pytest


@pytest.mark.statement("V2-17")
async def test_the_first_message_is_a_ping_and_another_one_follows_a_silence(client, project):
    async with client.listening(project) as stream:
        assert set(stream.told[0]["event"]) == {"cpu_usage_percent", "memory_usage_percent"}
        assert (await stream.next())["action"] == "ping"


@pytest.mark.statement("V2-18")
async def test_those_who_listen_to_all_projects_are_told_of_them(client):
    async with client.listening() as stream:
        project = await client.project()
        created = await stream.wait_for("project.created")
        assert created["status"] == "opened"
        await client.put(project, {"zoom": 50})
        assert (await stream.wait_for("project.updated"))["zoom"] == 50
        await client.post(f"{project}/close", expect=204)
        assert (await stream.wait_for("project.closed"))["status"] == "closed"
        await client.post(f"{project}/open")
        await stream.wait_for("project.opened")
        await stream.wait_for("compute.updated", compute_id="local")
        await client.delete(project)
        await stream.wait_for("project.deleted")


async def test_the_same_is_told_line_by_line(client, project):
    url = f"{client.url}/v2{project}/notifications"
    async with client.session.get(url) as answer:
        assert answer.headers["Content-Type"] == "application/json"
        assert json.loads(await answer.content.readline())["action"] == "ping"
        await client.vpcs(project)
        assert json.loads(await answer.content.readline())["action"] == "node.created"


async def test_news_of_all_projects_are_told_line_by_line_as_well(client):
    async with client.session.get(f"{client.url}/v2/notifications") as answer:
        assert json.loads(await answer.content.readline())["action"] == "ping"
        await client.project()
        while (told := json.loads(await answer.content.readline()))["action"] != "project.created":
            assert told["action"] == "compute.updated"
    assert told["event"]["name"] == "lab"


async def test_a_stream_ends_with_its_project(client, project):
    async with client.listening(project) as stream:
        await client.post(f"{project}/close", expect=204)
        while await stream.next() is not None:
            pass


@pytest.mark.statement("V2-19")
async def test_a_drawing_is_told_with_its_picture_only_if_that_changes(client, project):
    async with client.listening(project) as stream:
        made = await client.post(f"{project}/drawings", {"svg": "<svg/>", "x": 1, "y": 2, "z": 3})
        assert await stream.wait_for("drawing.created") == made
        path = f"{project}/drawings/{made['drawing_id']}"
        moved = await client.put(path, {"x": 9, "locked": True}, expect=201)
        told = await stream.wait_for("drawing.updated")
        assert moved == {**made, "x": 9, "locked": True}
        assert told == {key: value for key, value in moved.items() if key != "svg"}
        await client.put(path, {"svg": "<svg><rect/></svg>"}, expect=201)
        assert (await stream.wait_for("drawing.updated"))["svg"] == "<svg><rect/></svg>"
        await client.delete(path)
        await stream.wait_for("drawing.deleted")
    await client.get(path, expect=404)
    assert await client.get(f"{project}/drawings") == []


@pytest.mark.statement("V2-20")
async def test_the_one_compute_says_what_it_can_run(client):
    (compute,) = await client.get("/computes")
    assert compute["compute_id"] == "local"
    assert compute["connected"] is True
    assert "vpcs" in compute["capabilities"]["node_types"]
    assert (await client.get("/computes/local"))["name"] == compute["name"]
    await client.get("/computes/other", expect=404)
    ports = await client.get("/computes/local/ports")
    assert len(ports["console_port_range"]) == 2
    (busy,) = await client.get("/statistics")
    assert busy["statistics"]["memory_total"] > 0
