"""All nodes of a project at once, whatever their type, and closed projects opened by their ids."""

from __future__ import annotations

import asyncio
import shutil
import uuid

import pytest
from api_calls import new_project, new_toy, status


def ids(path: str) -> str:
    return path.rpartition("/")[2]


# The list ---------------------------------------------------------------------------------


async def test_nodes_are_listed_with_state_console_and_wires(client, project, make_toy):
    first, second = await make_toy(name="one"), await make_toy(name="two")
    port = (await client.post(f"{project}/ports/toy")).json["udp_port"]
    wire = {"type": "nio_udp", "lport": port, "rhost": "127.0.0.1", "rport": 9}
    nio = f"{second}/adapters/0/ports/0/nio"
    assert (await client.post(nio, wire)).status == 201
    assert (await client.post(f"{second}/start")).status == 204
    consoles = [(await client.get(node)).json["console"] for node in (first, second)]
    answer = await client.get(f"{project}/nodes")
    assert answer.status == 200
    common = {"project_id": ids(project), "type": "toy", "runs_with": {}}
    assert answer.json == [
        {
            **common,
            "node_id": ids(first),
            "name": "one",
            "status": "stopped",
            "console": consoles[0],
            "wires": [],
            "links": [],
        },
        {
            **common,
            "node_id": ids(second),
            "name": "two",
            "status": "started",
            "console": consoles[1],
            "wires": [{"adapter_number": 0, "port_number": 0, "nio": wire}],
            "links": [],
        },
    ]
    assert (await client.delete(nio)).status == 204
    assert (await client.get(f"{project}/nodes")).json[1]["wires"] == []


async def test_a_project_without_nodes_and_one_that_is_not_there(client, project):
    assert (await client.get(f"{project}/nodes")).json == []
    for method, what in (("GET", "nodes"), ("POST", "start"), ("POST", "stop"), ("POST", "open")):
        assert (await client.request(method, f"/v1/projects/{uuid.uuid4()}/{what}")).status == 404
        assert (await client.request(method, f"/v1/projects/no-id/{what}")).status == 400


# Start and stop ---------------------------------------------------------------------------


async def test_all_nodes_are_started_and_stopped(client, project, make_toy):
    toys = [await make_toy(name=f"toy{number}") for number in range(5)]
    assert (await client.post(f"{toys[2]}/start")).status == 204
    for what, expected in (("start", "started"), ("start", "started"), ("stop", "stopped")):
        answer = await client.post(f"{project}/{what}")
        assert answer.status == 200
        assert answer.json["failed"] == []
        assert [node["node_id"] for node in answer.json["nodes"]] == [ids(toy) for toy in toys]
        assert {node["status"] for node in answer.json["nodes"]} == {expected}
        assert {await status(client, toy) for toy in toys} == {expected}


async def test_what_does_not_start_is_named_and_the_others_run(client, project, make_toy):
    good, bad = await make_toy(name="good"), await make_toy(name="bad", mode="exit")
    answer = await client.post(f"{project}/start")
    assert answer.status == 200
    (failure,) = answer.json["failed"]
    assert failure["node_id"] == ids(bad)
    assert "the toy exits at once" in failure["message"]
    assert [node["status"] for node in answer.json["nodes"]] == ["started", "stopped"]
    assert (await status(client, good), await status(client, bad)) == ("started", "stopped")


async def test_a_stop_behind_a_start_leaves_all_stopped(client, project, make_toy):
    toys = [await make_toy(name=f"toy{number}") for number in range(4)]
    start = asyncio.ensure_future(client.post(f"{project}/start"))
    await client.get("/v1/version")
    stop = asyncio.ensure_future(client.post(f"{project}/stop"))
    assert [answer.status for answer in await asyncio.gather(start, stop)] == [200, 200]
    assert {await status(client, toy) for toy in toys} == {"stopped"}


@pytest.mark.parametrize("end", ["close", "delete"])
async def test_a_project_that_goes_meanwhile(client, project, make_toy, end):
    for number in range(4):
        await make_toy(name=f"toy{number}")
    start = asyncio.ensure_future(client.post(f"{project}/start"))
    await client.get("/v1/version")
    if end == "close":
        assert (await client.post(f"{project}/close")).status == 204
    else:
        assert (await client.delete(project)).status == 204
    assert (await start).status in (200, 404)
    assert (await client.get(f"{project}/nodes")).status == 404


# All projects ------------------------------------------------------------------------------


async def listed(client, status):
    answer = await client.get(f"/v1/projects?status={status}")
    assert answer.status == 200, answer.body
    return answer.json


async def test_projects_are_listed_with_their_status(serving):
    async with serving() as server:
        client = server.client
        open_one, closed, broken = [await new_project(client, name=n) for n in ("a", "b", "c")]
        shown = (await client.get(open_one)).json
        path = (await client.get(broken)).json["path"]
        assert (await client.post(f"{closed}/close")).status == 204
        assert (await client.get("/v1/projects")).json[0] == shown
        assert {one["project_id"]: one["status"] for one in await listed(client, "all")} == {
            ids(open_one): "open",
            ids(closed): "closed",
            ids(broken): "open",
        }
    shutil.move(f"{path}/project.db", f"{path}/kept")
    async with serving() as server:
        client = server.client
        assert await listed(client, "open") == [{**shown, "status": "open"}]
        (one,) = await listed(client, "closed")
        assert (one["project_id"], one["status"]) == (ids(closed), "closed")
        (one,) = await listed(client, "damaged")
        assert (one["project_id"], one["path"]) == (ids(broken), path)
        assert len(await listed(client, "all")) == 3
        assert (await client.post(f"{closed}/open")).status == 200
        assert await listed(client, "closed") == []
        # Without a status, the list is what it has always been.
        assert all("status" not in one for one in (await client.get("/v1/projects")).json)


async def test_a_status_that_no_project_has(client):
    answer = await client.get("/v1/projects?status=lost")
    assert answer.status == 400
    assert "open, closed, damaged" in answer.json["message"]


# Opening ----------------------------------------------------------------------------------


async def test_a_closed_project_is_opened_by_its_id(client, project, make_toy):
    toy = await make_toy()
    shown = (await client.get(project)).json
    assert (await client.post(f"{project}/close")).status == 204
    assert (await client.get(project)).status == 404
    for _ in range(2):
        answer = await client.post(f"{project}/open")
        assert (answer.status, answer.json) == (200, shown)
    assert await status(client, toy) == "stopped"


async def test_a_damaged_project_is_opened_once_it_is_repaired(serving):
    async with serving() as server:
        client = server.client
        project = await new_project(client)
        toy = await new_toy(client, project)
        path = (await client.get(project)).json["path"]
    file = f"{path}/project.db"
    shutil.move(file, f"{file}.kept")
    async with serving() as server:
        client = server.client
        answer = await client.post(f"{project}/open")
        assert answer.status == 409
        assert "is missing" in answer.json["message"]
        shutil.move(f"{file}.kept", file)
        assert (await client.post(f"{project}/open")).status == 200
        assert await status(client, toy) == "stopped"
        assert (await client.get("/v1/projects/damaged")).json == []
