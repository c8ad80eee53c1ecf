"""Where nodes are drawn: records of the core's, told in no object of v1."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from api_calls import ID, PROJECT, later, new_project, new_toy

from gns3server.errors import NotFound, StorageFailed
from gns3server.projects.layout import LABEL_BYTES, SYMBOL_LENGTH
from gns3server.storage.rows import NodeLayout

NOWHERE = {"x": 0.0, "y": 0.0, "z": 0.0, "symbol": "", "label": {}}


def vm_of(node: str) -> str:
    return node.rpartition("/")[2]


async def layout(client, project):
    answer = await client.get(f"{project}/layout")
    assert answer.status == 200, answer.body
    return answer.json


async def put(client, project, values, status=200):
    answer = await client.put(f"{project}/layout", values)
    assert answer.status == status, answer.body
    return answer.json


async def test_only_what_is_named_is_changed(client, project):
    one, two = [vm_of(await new_toy(client, project)) for _ in range(2)]
    assert await layout(client, project) == {one: NOWHERE, two: NOWHERE}
    label = {"text": "PC\u21921", "style": ["bold"]}
    await put(client, project, {one: {"x": -260.5, "y": 10}, two: {"symbol": "router"}})
    after = await put(client, project, {one: {"z": 1, "label": label}, two: {}})
    assert after == {
        one: {**NOWHERE, "x": -260.5, "y": 10.0, "z": 1.0, "label": label},
        two: {**NOWHERE, "symbol": "router"},
    }
    assert await layout(client, project) == after
    assert await put(client, project, {}) == after
    emptied = await put(client, project, {one: {"label": {}}, two: {"symbol": ""}})
    assert (emptied[one]["label"], emptied[two]["symbol"]) == ({}, "")


async def test_no_object_of_v1_shows_it_and_no_event_tells_it(client, project, lab):
    node = await new_toy(client, project)
    before = (await client.get(node)).json
    async with client.listen(f"{project}/notifications") as events:
        await anext(events)
        await put(client, project, {vm_of(node): {"x": 1}})
        assert (await client.get(node)).json == before
        await client.delete(node)
        other = await new_toy(client, project, name="after")
        event = await anext(events)
    assert (event["action"], event["event"]["vm_id"]) == ("vm.created", vm_of(other))


@pytest.mark.parametrize(
    "place",
    [
        {"x": "1"},
        {"x": True},
        {"y": None},
        {"z": 1_000_001},
        {"x": 10**18},
        {"symbol": 1},
        {"symbol": "x" * (SYMBOL_LENGTH + 1)},
        {"symbol": "a\0"},
        {"label": []},
        {"label": {"text": "x" * LABEL_BYTES}},
        {"w": 1},
        7,
        None,
    ],
)
async def test_what_is_unfit_changes_nothing(client, project, place):
    one, two = [vm_of(await new_toy(client, project)) for _ in range(2)]
    await put(client, project, {one: {"x": 1}, two: place}, status=400)
    assert await layout(client, project) == {one: NOWHERE, two: NOWHERE}


async def test_an_integer_in_a_label_keeps_all_its_digits(client, project):
    node = vm_of(await new_toy(client, project))
    label = {"number": 12345678901234567890123456}
    body = json.dumps({node: {"label": label}}).encode()
    assert (await client.request("PUT", f"{project}/layout", data=body)).status == 200
    await client.post(f"{project}/close")
    await new_project(client, project_id=project.rpartition("/")[2])
    answer = await client.get(f"{project}/layout")
    assert json.loads(answer.body)[node]["label"] == label


async def test_an_unknown_node_is_named_and_nothing_is_changed(client, project):
    node = vm_of(await new_toy(client, project))
    answer = await put(client, project, {node: {"x": 1}, ID: {"x": 1}}, status=404)
    assert f"no VM with the id '{ID}'" in answer["message"]
    assert await layout(client, project) == {node: NOWHERE}
    await put(client, project, {"not even an id": {"x": 1}}, status=404)


async def test_it_waits_for_nobody_who_works_on_the_node(client, project, gate):
    node = await new_toy(client, project, mode=gate.mode)
    start = later(client.post(f"{node}/start"))
    await gate.reached()
    assert (await put(client, project, {vm_of(node): {"x": 5}}))[vm_of(node)]["x"] == 5.0
    gate.open()
    assert (await start).status == 204


async def test_changes_that_come_together_are_all_made(client, project, hold_disk):
    node = vm_of(await new_toy(client, project))
    values = [{"x": 1}, {"y": 2}, {"z": 3}, {"symbol": "s"}, {"label": {"a": 1}}]
    with hold_disk() as begun:
        await asyncio.to_thread(begun.wait)
        changes = [later(client.put(f"{project}/layout", {node: each})) for each in values]
        await client.get("/v1/version")
    assert {answer.status for answer in await asyncio.gather(*changes)} == {200}
    expected = {"x": 1.0, "y": 2.0, "z": 3.0, "symbol": "s", "label": {"a": 1}}
    assert (await layout(client, project))[node] == expected
    await client.post(f"{project}/close")
    await new_project(client, project_id=project.rpartition("/")[2])
    assert (await layout(client, project))[node] == expected


async def test_it_goes_with_the_node(client, project, lab):
    node = await new_toy(client, project)
    await put(client, project, {vm_of(node): {"x": 1}})
    await client.delete(node)
    assert await layout(client, project) == {}
    opened = lab.projects.get(project.rpartition("/")[2])
    assert (await opened.records.stored()).layout == {}
    with pytest.raises(NotFound):
        opened.layout.get(vm_of(node))
    again = await new_toy(client, project, vm_id=vm_of(node))
    assert await layout(client, project) == {vm_of(again): NOWHERE}


async def test_it_moves_with_the_project(client, project, tmp_path, lab):
    node = vm_of(await new_toy(client, project))
    await put(client, project, {node: {"x": 1, "symbol": "s"}})
    answer = await client.put(project, {"path": str(tmp_path / "moved")})
    assert answer.status == 200, answer.body
    assert (await layout(client, project))[node] == {**NOWHERE, "x": 1.0, "symbol": "s"}
    await put(client, project, {node: {"y": 2}})
    opened = lab.projects.get(project.rpartition("/")[2])
    assert (await opened.records.stored()).layout == {node: NodeLayout(x=1.0, y=2.0, symbol="s")}
    assert opened.path == Path(tmp_path / "moved")


async def test_a_disk_that_takes_nothing_changes_nothing(client, project, read_only_records, lab):
    node = vm_of(await new_toy(client, project))
    async with read_only_records(project):
        await put(client, project, {node: {"x": 1}}, status=507)
        with pytest.raises(StorageFailed):
            await lab.projects.get(project.rpartition("/")[2]).layout.set({node: {"x": 1}})
    assert await layout(client, project) == {node: NOWHERE}


async def test_it_is_there_after_a_kill(toy_process):
    async with toy_process() as server:
        await new_project(server.client, project_id=ID)
        node = vm_of(await new_toy(server.client, PROJECT))
        await put(server.client, PROJECT, {node: {"x": 3, "label": {"a": "b"}}})
        await server.kill()
    async with toy_process() as server:
        place = {**NOWHERE, "x": 3.0, "label": {"a": "b"}}
        assert await layout(server.client, PROJECT) == {node: place}
