"""What plugins do with links: ``project.links``, and the values that they keep with each."""

from __future__ import annotations

from contextlib import aclosing

import pytest
from api_calls import ID, PROJECT, new_project, new_toy
from link_calls import connect, emulated, end, id_of, links, pair, passes

from gns3server.calls import on_behalf_of
from gns3server.errors import Conflict, InvalidRequest, NotFound
from gns3server.links.link import LinkEnd


@pytest.fixture
async def toys(make_toy):
    """The paths of two toys."""
    return [await make_toy(name=name) for name in ("one", "two")]


@pytest.fixture
def api(lab, project):
    """The project's links, as plugins have them."""
    return lab.projects.get(id_of(project)).links


def ends(*toys, port=0):
    return [LinkEnd(id_of(toy), 0, port) for toy in toys]


async def test_links_are_made_changed_and_deleted(client, project, toys, api):
    made = await api.create(ends(*toys), filters={"packet_loss": {"chance": 1}}, path="relayed")
    assert (made.path, made.made_as, made.ends) == ("relayed", "link", tuple(ends(*toys)))
    assert api.list() == (made,) == tuple(api)
    changed = await api.update(made.id, suspended=True, filters={"packet_loss": None})
    assert (changed.suspended, changed.filters) == (True, {})
    assert api.get(made.id) == changed
    (shown,) = await links(client, project)
    assert (shown["link_id"], shown["suspended"]) == (made.id, True)
    await api.delete(made.id)
    assert await links(client, project) == []
    for call in (api.update, api.delete, api.start_capture, api.stop_capture):
        with pytest.raises(NotFound):
            await call(made.id)
    with pytest.raises(NotFound):
        api.store(made.id)


async def test_what_cannot_be_raises_what_a_request_is_answered(toys, api):
    with pytest.raises(InvalidRequest, match="no filter 'bogus'"):
        await api.create(ends(*toys), filters={"bogus": {}})
    with pytest.raises(Conflict, match="both ends"):
        await api.create([*ends(toys[0]), *ends(toys[0], port=1)])
    with pytest.raises(NotFound):
        await api.create([*ends(toys[0]), LinkEnd(ID, 0, 0)])
    assert api.list() == ()


async def test_a_link_is_captured_and_followed(client, project, toys, api):
    made = await api.create(ends(*toys), path="relayed")
    captured = await api.start_capture(made.id, file="a", snapshot_length=4)
    assert captured.capture is not None
    assert (captured.capture.file, captured.capture.snapshot_length) == ("captures/a.pcap", 4)
    async with emulated(client, project, *toys) as (one, other):
        await passes(one, other, b"frame")
        async with aclosing(api.follow(made.id)) as data:
            first = await anext(data)
            await api.stop_capture(made.id)
            followed = b"".join([first, *[chunk async for chunk in data]])
        assert followed[:4] == b"\x4d\x3c\xb2\xa1"
        assert followed.count(b"fram") == 2
        assert b"frame" not in followed
    with pytest.raises(Conflict, match="start a capture first"):
        await anext(api.follow(made.id))


async def test_what_a_plugin_keeps_with_a_link_survives_every_put(client, project, toys, api):
    kept = {"labels": ["e0", "e1"], "filters": {"bpf": "icmp"}, "link_style": {"width": 2}}
    with on_behalf_of("mine"):
        made = await api.create(ends(*toys), stored={"kept": kept})
        store = api.store(made.id)
        assert await store.get("kept") == kept
        await store.set("more", 1)
        path = f"{project}/links/{made.id}"
        for values in ({"suspended": True}, {"filters": {"delay": {"latency": 1}}}, {"seed": 1}):
            assert (await client.put(path, values)).status == 200
        assert await store.items() == {"kept": kept, "more": 1}
        assert (await client.post(f"{project}/close")).status == 204
        assert (await client.post(f"{project}/open")).status == 200


async def test_what_a_plugin_keeps_with_all_is_read_at_once(client, project, toys, api, lab):
    nodes, node_id = lab.projects.get(id_of(project)).nodes, toys[0].rpartition("/")[2]
    with on_behalf_of("another"):
        await nodes.store(node_id).set("kept", "not mine")
    with on_behalf_of("mine"):
        made = await api.create(ends(*toys), stored={"kept": 1, "other": 4}, path="direct")
        await pair(client, project, toys[0], toys[1], "1/0")
        (other,) = [view for view in api if view.made_as == "nios"]
        await api.store(other.id).set("kept", 2)
        assert await api.stored("kept") == {made.id: 1, other.id: 2}
        assert await nodes.stored("kept") == {}
        await nodes.store(node_id).set("kept", 3)
        assert await nodes.stored("kept") == {node_id: 3}


async def test_what_a_plugin_keeps_goes_with_the_link(client, project, toys, api, lab):
    query = "SELECT count(*) FROM stored_value"
    with on_behalf_of("mine"):
        made = await api.create(ends(*toys), stored={"kept": 1}, path="direct")
        store = api.store(made.id)
        await pair(client, project, toys[0], toys[1], "1/0")
        (other,) = [view for view in api if view.made_as == "nios"]
        await api.store(other.id).set("kept", 2)
        records = lab.projects.get(id_of(project)).records
        assert await records.read(query) == [(2,)]
        assert (await client.delete(toys[0])).status == 204
        assert await records.read(query) == [(0,)]
        await store.set("late", 1)
        assert await records.read(query) == [(0,)]


async def test_links_end_at_parked_nodes_unwired(serving, make_entry_point):
    async with serving() as server:
        client = server.client
        await new_project(client, project_id=ID)
        toys = [await new_toy(client, PROJECT) for _ in range(2)]
        made = await connect(client, PROJECT, *toys)
    natures = [make_entry_point("natures", "toy_natures")]
    async with serving(plugins=natures) as server:
        client = server.client
        assert await links(client, PROJECT) == [made]
        nodes = (await client.get(f"{PROJECT}/nodes")).json
        assert [node["wires"] for node in nodes] == [[], []]
        assert [node["links"][0]["link_id"] for node in nodes] == [made["link_id"]] * 2
        more = await connect(client, PROJECT, *[end(toy, 1) for toy in toys])
        first = server.settings.server.udp_start_port_range
        assert all(map(server.ports.udp.holders, range(first, first + 4)))
    async with serving() as server:
        client = server.client
        assert [one["link_id"] for one in await links(client, PROJECT)] == [
            made["link_id"],
            more["link_id"],
        ]
        nodes = (await client.get(f"{PROJECT}/nodes")).json
        assert [len(node["wires"]) for node in nodes] == [2, 2]
        assert (await client.delete(f"{PROJECT}/links/{made['link_id']}")).status == 204
