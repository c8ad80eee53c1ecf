"""Notifications with numbers: a client that was away gets what it has missed."""

import asyncio
import json
import random
from functools import partial
from typing import Any

import aiohttp
import pytest
from api_calls import ID, PROJECT, new_project, take

PING = {"action": "ping"}
SEED = 20261127


@pytest.fixture
def stream(raw, project):
    """Asks for the project's stream by bytes; gives what comes of it line by line."""

    async def stream(query: str) -> Any:
        reader, writer = await raw.connect()
        request = f"GET {project}/notifications{query} HTTP/1.1\r\nHost: localhost\r\n\r\n"
        writer.write(request.encode())
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 OK\r\n")
        return reader, writer

    return stream


async def chunk(reader: asyncio.StreamReader) -> bytes:
    """One chunk of an answer: exactly one line of ours."""
    size = int(await reader.readline(), 16)
    data = await reader.readexactly(size + 2)
    return data[:-2]


# Bytes --------------------------------------------------------------------------------------


@pytest.mark.parametrize("query", ["", "?", "?until=4", "?Since=1&sinc=2"])
async def test_who_does_not_ask_gets_the_bytes_of_the_contract(stream, client, project, query):
    await client.post(f"{project}/toy/vms", {"name": "before"})
    reader, writer = await stream(query)
    assert await chunk(reader) == b'{"action": "ping"}\n'
    node = (await client.post(f"{project}/toy/vms", {"name": "after"})).json
    event = json.dumps(node, sort_keys=True)
    assert await chunk(reader) == f'{{"action": "vm.created", "event": {event}}}\n'.encode()
    writer.close()


async def test_who_asks_gets_the_same_with_a_number_at_the_end(stream, client, project):
    nodes = [(await client.post(f"{project}/toy/vms", {"name": name})).json for name in "ab"]
    reader, writer = await stream("?since=0")
    assert await chunk(reader) == b'{"action": "ping"}\n'
    nodes.append((await client.post(f"{project}/toy/vms", {"name": "c"})).json)
    for number, node in enumerate(nodes, 1):
        event = json.dumps(node, sort_keys=True)
        line = f'{{"action": "vm.created", "event": {event}, "seq": {number}}}\n'
        assert await chunk(reader) == line.encode()
    writer.close()


@pytest.mark.parametrize("since", ["", "x", "-1", "1.5", "1e3", "+1", " 1", "\u0661"])
async def test_what_is_no_number_is_refused(client, project, since):
    async with aiohttp.ClientSession() as session:
        url = client.url + f"{project}/notifications"
        async with session.get(url, params={"since": since}) as answer:
            assert answer.status == 400
            assert "since must be a whole number" in (await answer.json())["message"]


async def test_a_number_that_is_not_reached_yet_is_a_gap_and_then_live(client, project):
    await client.post(f"{project}/toy/vms", {"name": "a"})
    path = f"{project}/notifications?since={10**30}"
    async with client.listen(path) as events:
        assert await take(events, 2) == [PING, {"action": "gap", "event": {"first": 2}}]
        await client.post(f"{project}/toy/vms", {"name": "b"})
        assert (await anext(events))["seq"] == 2


async def test_streams_of_all_projects_have_no_numbers(client, project):
    await client.post(f"{project}/toy/vms", {"name": "a"})
    async with client.listen("/v1/notifications?since=0") as events:
        assert await anext(events) == PING
        await client.post(f"{project}/toy/vms", {"name": "b"})
        event = await anext(events)
        assert (event["event"]["name"], "seq" in event) == ("b", False)


# Life ---------------------------------------------------------------------------------------


async def test_a_whole_life_is_replayed_as_it_was_told(client, project, make_toy):
    async with client.listen(f"{project}/notifications?since=0") as events:
        assert await anext(events) == PING
        toy = await make_toy(mode="crash-on-connect")
        console = (await client.get(toy)).json["console"]
        await client.post(f"{toy}/start")
        _, writer = await asyncio.open_connection("127.0.0.1", console)
        live = await take(events, 4)
        writer.close()
    actions = ["vm.created", "vm.started", "vm.stopped", "log.error"]
    assert [event["action"] for event in live] == actions
    assert [event["seq"] for event in live] == [1, 2, 3, 4]
    async with client.listen(f"{project}/notifications?since=0") as events:
        assert await take(events, 5) == [PING, *live]
    async with client.listen(f"{project}/notifications?since=2") as events:
        assert await take(events, 3) == [PING, *live[2:]]


async def test_the_log_goes_where_its_project_goes(client, project, make_toy, tmp_path):
    await make_toy(name="a")
    assert (await client.put(project, {"path": str(tmp_path / "elsewhere")})).status == 200
    await make_toy(name="b")
    assert (await client.post(f"{project}/close")).status == 204
    project_id = project.rpartition("/")[2]
    assert (await client.post("/v1/projects", {"project_id": project_id})).status == 201
    await make_toy(name="c")
    async with client.listen(f"{project}/notifications?since=0") as events:
        told = await take(events, 4)
    assert [(e["seq"], e["event"]["name"]) for e in told[1:]] == [(1, "a"), (2, "b"), (3, "c")]
    assert (await client.delete(project)).status == 204
    assert (await client.post("/v1/projects", {"project_id": project_id})).status == 201
    # The directory that it left has kept what was in it then.
    async with client.listen(f"{project}/notifications?since=3") as events:
        assert await take(events, 2) == [PING, {"action": "gap", "event": {"first": 2}}]


async def test_a_project_keeps_as_many_events_as_the_setting_says(serving):
    async with serving(max_events=3) as server:
        client = server.client
        project = await new_project(client)
        for _ in range(60):
            node = (await client.post(f"{project}/toy/vms", {"name": "PC"})).json["vm_id"]
            await client.delete(f"{project}/toy/vms/{node}")
        await server.client.post(f"{project}/close")
        await server.client.post("/v1/projects", {"project_id": project.rpartition("/")[2]})
        await client.post(f"{project}/toy/vms", {"name": "last"})
        async with client.listen(f"{project}/notifications?since=58") as events:
            assert [event.get("seq") for event in await take(events, 4)] == [None, 59, 60, 61]
        async with client.listen(f"{project}/notifications?since=57") as events:
            assert await take(events, 2) == [PING, {"action": "gap", "event": {"first": 62}}]


# Crashes ------------------------------------------------------------------------------------


@pytest.mark.heavy
async def test_a_killed_server_has_every_event_of_what_it_answered(toy_process):
    """Clients write and follow while servers are killed at random; numbers go on all the same."""
    chance = random.Random(SEED)
    answered: list[str] = []
    followed: list[Any] = []

    async def write(client: Any, writer: int) -> None:
        while True:
            node = (await client.post(f"{PROJECT}/toy/vms", {"name": f"{writer}"})).json["vm_id"]
            answered.append(node)
            await client.delete(f"{PROJECT}/toy/vms/{node}")

    async def follow(client: Any, enough: int) -> None:
        path = f"{PROJECT}/notifications?since={len(followed)}"
        async with client.listen(path) as events:
            async for event in events:
                if event != PING:
                    followed.append(event)
                    assert event["seq"] == len(followed), f"seed {SEED}"
                if len(followed) >= enough:
                    return

    for _ in range(3):
        async with toy_process() as server:
            answer = await server.client.post("/v1/projects", {"project_id": ID})
            assert answer.status == 201
            writers = [asyncio.ensure_future(write(server.client, n)) for n in range(6)]
            await follow(server.client, len(followed) + chance.randrange(20, 50))
            await server.kill()
            await asyncio.gather(*writers, return_exceptions=True)
    async with toy_process() as server:
        # What was there when the last server was killed, and was not followed then.
        node = (await server.client.post(f"{PROJECT}/toy/vms", {"name": "last"})).json["vm_id"]
        answered.append(node)
        told = partial(len, followed)
        while not followed or followed[-1]["event"]["vm_id"] != node:
            await follow(server.client, told() + 1)
    created = [event["event"]["vm_id"] for event in followed if event["action"] == "vm.created"]
    assert set(answered) <= set(created)
    assert len(created) == len(set(created))
