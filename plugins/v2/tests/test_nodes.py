"""Nodes."""

from __future__ import annotations

import asyncio

import pytest
from v2_client import VPCS, put_in_order


@pytest.mark.statement("V2-12")
async def test_a_node_from_a_template_is_told_as_it_is_answered(client, project):
    async with client.listening(project) as stream:
        made = await client.vpcs(project)
        told = await stream.wait_for("node.created")
    assert told == made
    assert (made["name"], made["x"], made["y"], made["z"]) == ("PC1", 10, 20, 1)
    assert (made["width"], made["height"]) == (65, 59)
    assert made["template_id"] == VPCS
    assert made["label"] == {"text": "PC1", "x": None, "y": -40, "rotation": 0, "style": None}
    assert made["ports"] == [
        {
            "name": "Ethernet0",
            "short_name": "e0",
            "adapter_number": 0,
            "port_number": 0,
            "link_type": "ethernet",
            "data_link_types": {"Ethernet": "DLT_EN10MB"},
        }
    ]
    assert await client.get(f"{project}/nodes/{made['node_id']}") == made
    assert await client.get(f"{project}/nodes") == [made]


@pytest.mark.statement("V2-13")
async def test_names_are_numbered_and_unique(client, project):
    names = [(await client.vpcs(project))["name"] for _ in range(2)]
    assert names == ["PC1", "PC2"]
    asked = await asyncio.gather(*(client.vpcs(project, name="X") for _ in range(3)))
    assert {node["name"] for node in asked} == {"X", "X-1", "X-2"}
    node = asked[0]
    await client.put(f"{project}/nodes/{node['node_id']}", {"name": "PC1"}, expect=409)


async def test_what_a_client_sends_of_a_node_is_kept_and_told(client, project):
    node = await client.vpcs(project)
    path = f"{project}/nodes/{node['node_id']}"
    label = {"text": "other", "x": 5, "y": 6, "rotation": 0, "style": "font-size: 9"}
    values = {
        "name": "Desk",
        "x": 1.4,
        "y": -2,
        "z": 3,
        "locked": True,
        "symbol": ":/symbols/router.svg",
        "label": label,
        "console_auto_start": True,
        "properties": {},
        "custom_adapters": [],
        "node_type": "vpcs",
        "compute_id": "local",
        "node_id": node["node_id"],
    }
    async with client.listening(project) as stream:
        changed = await client.put(path, values)
        told = await stream.wait_for("node.updated", name="Desk")
    assert told == changed
    assert (changed["x"], changed["y"], changed["z"], changed["locked"]) == (1, -2, 3, True)
    assert changed["label"] == {**label, "text": "Desk"}
    assert (changed["symbol"], changed["width"]) == (":/symbols/router.svg", 66)
    assert await client.get(path) == changed


@pytest.mark.statement("V2-07")
async def test_puts_that_race_are_answered_in_order(client, project):
    node = await client.vpcs(project)
    path = f"{project}/nodes/{node['node_id']}"
    await put_in_order(client, path, [{"x": x} for x in range(20)])
    assert (await client.get(path))["x"] == 19


async def test_a_node_of_v1_has_a_place_and_keeps_it(client, gns3_client, gns3_project):
    project = gns3_project.removeprefix("/v1")
    async with client.listening(project) as stream:
        for name in ("A", "B"):
            await gns3_client.post(f"{gns3_project}/vpcs/vms", {"name": name})
        first, second = [await stream.wait_for("node.created") for _ in range(2)]
    assert (first["x"], first["y"]) != (second["x"], second["y"])
    nodes = await client.get(f"{project}/nodes")
    assert [(node["x"], node["y"]) for node in nodes] == [
        (node["x"], node["y"]) for node in (first, second)
    ]


@pytest.mark.statement("V2-04")
async def test_a_node_goes_with_its_event(client, project):
    node = await client.vpcs(project)
    path = f"{project}/nodes/{node['node_id']}"
    async with client.listening(project) as stream:
        assert await client.delete(path) == b""
        gone = await stream.wait_for("node.deleted")
    assert gone["node_id"] == node["node_id"]
    await client.delete(path, expect=404)
    await client.get(path, expect=404)
    await client.put(f"{project}/nodes/no-id", {"x": 1}, expect=404)


async def test_a_closed_project_takes_no_nodes(client, project):
    await client.post(f"{project}/close", expect=204)
    await client.post(f"{project}/templates/{VPCS}", {"x": 0, "y": 0}, expect=403)


async def test_a_copy_of_a_node_is_like_it(client, project):
    node = await client.vpcs(project)
    path = f"{project}/nodes/{node['node_id']}"
    copy = await client.post(f"{path}/duplicate", {"x": 7, "y": 8, "z": 1})
    assert (copy["name"], copy["x"], copy["y"]) == ("PC11", 7, 8)
    different = {"name", "node_id", "x", "y", "label", "console", "node_directory"}
    same = node.keys() - different
    assert {key: copy[key] for key in same} == {key: node[key] for key in same}


@pytest.mark.statement("V2-15")
async def test_what_cannot_be_suspended_stays_as_it_is(client, project):
    node = await client.vpcs(project)
    path = f"{project}/nodes/{node['node_id']}"
    assert (await client.post(f"{path}/suspend", expect=200))["status"] == "stopped"
    await client.post(f"{project}/nodes/suspend", expect=204)


async def test_types_that_nobody_offers_cannot_be_made(client, project):
    cloud = "39e257dc-8412-3174-b6b3-0ee3ed6a43e9"
    await client.post(f"{project}/templates/{cloud}", {"x": 0, "y": 0}, expect=409)
    await client.post(f"{project}/nodes", {"name": "R1", "node_type": "dynamips"}, expect=409)
