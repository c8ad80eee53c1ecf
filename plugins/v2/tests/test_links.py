"""Links, and nodes that run."""

from __future__ import annotations

import pytest
from v2_client import ends_of


@pytest.fixture
async def pair(client, project):
    """Two virtual PCs."""
    return [await client.vpcs(project) for _ in range(2)]


@pytest.mark.statement("V2-21")
async def test_a_link_has_labels_at_both_ends_and_is_told(client, project, pair):
    async with client.listening(project) as stream:
        made = await client.post(f"{project}/links", {"nodes": ends_of(pair)})
        assert await stream.wait_for("link.created") == made
        assert [end["label"]["text"] for end in made["nodes"]] == ["0/0", "0/0"]
        assert (made["suspend"], made["filters"], made["link_style"]) == (False, {}, {})
        path = f"{project}/links/{made['link_id']}"
        label = {"text": "here", "x": 1, "y": 2, "rotation": 0, "style": "fill: red"}
        nodes = [*ends_of(pair[:1], label=label), *ends_of(pair[1:])]
        changed = await client.put(path, {"nodes": nodes, "link_style": {"width": 3}}, expect=201)
        assert await stream.wait_for("link.updated") == changed
        assert changed["nodes"][0]["label"] == label
        assert changed["nodes"][1]["label"] == made["nodes"][1]["label"]
        assert await client.get(path) == changed
        assert await client.get(f"{project}/links") == [changed]
        node = pair[0]["node_id"]
        assert await client.get(f"{project}/nodes/{node}/links") == [changed]
        await client.delete(f"{project}/nodes/{node}")
        await stream.wait_for("link.deleted")
        await stream.wait_for("node.deleted")
    await client.get(path, expect=404)


@pytest.mark.statement("V2-22")
async def test_a_port_that_is_taken_or_not_there_is_refused(client, project, pair):
    await client.post(f"{project}/links", {"nodes": ends_of(pair)})
    await client.post(f"{project}/links", {"nodes": ends_of(pair)}, expect=409)
    nowhere = [{**end, "port_number": 7} for end in ends_of(pair)]
    await client.post(f"{project}/links", {"nodes": nowhere}, expect=404)
    await client.get(f"{project}/links/no-id", expect=404)


@pytest.mark.statement("V2-14")
async def test_nodes_start_and_stop_one_by_one_and_all_at_once(client, project, pair):
    await client.post(f"{project}/links", {"nodes": ends_of(pair)})
    path = f"{project}/nodes/{pair[0]['node_id']}"
    async with client.listening(project) as stream:
        assert (await client.post(f"{path}/start", expect=200))["status"] == "started"
        await stream.wait_for("node.updated", status="started")
        assert (await client.post(f"{path}/reload", expect=200))["status"] == "started"
        assert (await client.post(f"{path}/stop", expect=200))["status"] == "stopped"
    await client.post(f"{project}/nodes/start", expect=204)
    assert {node["status"] for node in await client.get(f"{project}/nodes")} == {"started"}
    await client.post(f"{project}/nodes/reload", expect=204)
    assert {node["status"] for node in await client.get(f"{project}/nodes")} == {"started"}
    assert await client.post(f"{project}/nodes/stop", expect=204) == b""
    assert {node["status"] for node in await client.get(f"{project}/nodes")} == {"stopped"}


async def test_what_cannot_start_is_told(client, project):
    node = await client.vpcs(project)
    await client.post(f"{project}/nodes/{node['node_id']}/start", expect=409)
    async with client.listening(project) as stream:
        await client.post(f"{project}/nodes/start", expect=204)
        assert "connected" in (await stream.wait_for("log.error"))["message"]
