"""What plugins may use: an observer that works through public names alone."""

from __future__ import annotations

import json

import pytest
from api_calls import ID, PROJECT, new_project, new_toy, status


@pytest.fixture
def plugins():
    return {"observer": "observer", "toy": "toy_emulator"}


async def seen(client, project):
    answer = await client.get(f"{project}/observer/seen")
    assert answer.status == 200, answer.body
    return answer.json["values"]


async def counted(events, what, count):
    """Wait until the observer has told that it has counted so many of something."""
    wanted = {"what": what, "count": count}
    async for event in events:
        if event["action"] == "observer.counted" and event["event"] == wanted:
            assert event["seq"] > 0
            return


async def test_an_observer_keeps_and_tells_what_happens_to_nodes(client, project):
    async with client.listen(f"{project}/notifications?since=0") as events:
        node = await new_toy(client, project)
        await client.put(node, {"name": "new"})
        await client.post(f"{node}/start")
        await client.put(f"{project}/layout", {node.rpartition("/")[2]: {"x": 1}})
        await client.delete(node)
        await counted(events, "node deleted", 1)
    found = await seen(client, project)
    words = ("created", "updated", "started", "layout", "stopped", "deleted")
    assert found["counts"] == {f"node {word}": 1 for word in words}
    assert found["starts"] == 1


async def test_what_it_keeps_is_moved_with_the_project(client, project, tmp_path):
    async with client.listen(f"{project}/notifications?since=0") as events:
        await new_toy(client, project)
        await counted(events, "node created", 1)
    assert (await client.put(project, {"path": str(tmp_path / "moved")})).status == 200
    assert (await seen(client, project))["counts"] == {"node created": 1}


async def test_what_it_keeps_is_there_after_a_kill(gns3_process, install_plugins, tmp_path):
    found_at = install_plugins(tmp_path / "site", observer="observer", toy="toy_emulator")
    environ = {"PYTHONPATH": found_at}
    async with gns3_process(environ=environ, strict_plugins=False) as server:
        client = server.client
        await new_project(client, project_id=ID)
        async with client.listen(f"{PROJECT}/notifications?since=0") as events:
            await new_toy(client, PROJECT)
            await counted(events, "node created", 1)
        await server.kill()
    async with gns3_process(environ=environ, strict_plugins=False) as server:
        found = await seen(server.client, PROJECT)
        # Other plugins that are installed may have done something with the node as well.
        assert (found["starts"], found["counts"]["node created"]) == (2, 1)


async def test_it_builds_a_lab_of_nodes_where_they_are_drawn(client, project):
    answer = await client.post(f"{project}/observer/build")
    assert answer.status == 200, answer.body
    values = answer.json["values"]
    assert values["failed"] == {}
    assert [count >= 1 for count in values["pids"].values()] == [True, True]
    layout = (await client.get(f"{project}/layout")).json
    assert sorted(layout[node]["x"] for node in values["pids"]) == [0.0, 100.0]
    assert {layout[node]["symbol"] for node in values["pids"]} == {"toy"}


async def test_it_makes_renames_closes_opens_and_deletes_projects(client, project):
    answer = await client.post("/v1/observer/lab")
    assert answer.status == 200, answer.body
    left = [project.rpartition("/")[2]]
    assert answer.json["values"] == {
        "name": "second",
        "was": "closed",
        "left": left,
        "entry": None,
    }


async def test_closed_projects_are_listed(client, project):
    closed = await new_project(client, name="closed")
    assert (await client.post(f"{closed}/close")).status == 204
    listed = (await seen(client, project))["projects"]
    assert listed == [["test", "open"], [None, "closed"]]


async def test_it_tells_everybody_and_listens(client):
    async with client.listen("/v1/notifications") as events:
        await anext(events)
        assert (await client.post("/v1/observer/tell")).status == 204
        assert await anext(events) == {"action": "observer.hello", "event": {"a": 1}}


async def test_who_holds_a_node_touches_no_other(client, project):
    one, two = [await new_toy(client, project) for _ in range(2)]
    for node in (one, two):
        assert (await client.post(f"{node}/start")).status == 204
    vm, other = (node.rpartition("/")[2] for node in (one, two))
    answer = await client.post(f"{project}/observer/{vm}/touch")
    assert answer.status == 500
    message = json.dumps(answer.json["message"])
    assert "stop_all" in message
    assert vm in message
    assert other in message
    # Its own one was free, and nobody waits for ever.
    assert [await status(client, node) for node in (one, two)] == ["stopped", "started"]
    assert (await client.post(f"{two}/stop")).status == 204
