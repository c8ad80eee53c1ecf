"""Links: one request a wire, read back, told, and gone with each of its nodes."""

from __future__ import annotations

import asyncio
import uuid

import pytest
from api_calls import ID, PROJECT, later, new_project, new_toy, take
from link_calls import ask_for_link, connect, end, id_of, links, pair, plug, told, udp_port, wires

NOBODY = "11111111-2222-4333-8444-555555555555"


@pytest.fixture
def first(server):
    """The first UDP port of the server."""
    return server.settings.server.udp_start_port_range


@pytest.fixture
async def toys(make_toy):
    """The paths of three toys."""
    return [await make_toy(name=name) for name in ("one", "two", "three")]


# One request ------------------------------------------------------------------------------


async def test_one_request_joins_two_nodes(server, client, project, toys, first):
    one, other, _ = toys
    link = await connect(client, project, one, end(other, 1, 1))
    assert link == {
        "link_id": str(uuid.UUID(link["link_id"])),
        "project_id": id_of(project),
        "ends": [end(one), end(other, 1, 1)],
        "made_as": "link",
        "wanted_path": "direct",
        "path": "direct",
        "suspended": False,
        "filters": {},
        "seed": link["seed"],
        "capture": None,
        "at_next_start": [],
    }
    assert (await client.get(f"{project}/links/{link['link_id']}")).json == link
    assert await links(client, project) == [link]
    tunnel = {"type": "nio_udp", "rhost": "127.0.0.1"}
    plugged = await wires(client, project)
    assert plugged[id_of(one)] == [{**tunnel, "lport": first, "rport": first + 1}]
    assert plugged[id_of(other)] == [{**tunnel, "lport": first + 1, "rport": first}]
    assert all(map(server.ports.udp.holders, (first, first + 1)))
    assert (await client.delete(f"{project}/links/{link['link_id']}")).status == 204
    assert (await client.get(f"{project}/links/{link['link_id']}")).status == 404
    assert await links(client, project) == []
    assert set(map(tuple, (await wires(client, project)).values())) == {()}
    assert len(server.ports.udp) == 0


async def test_a_link_has_the_id_and_the_seed_that_it_is_given(client, project, toys):
    link = await connect(client, project, *toys[:2], link_id=NOBODY, seed=7)
    assert (link["link_id"], link["seed"]) == (NOBODY, 7)
    answer = await ask_for_link(client, project, toys[2], end(toys[0], 1), link_id=NOBODY)
    assert answer.status == 409
    assert NOBODY in answer.json["message"]


async def test_ids_of_links_that_are_not_there(client, project):
    for method in ("GET", "DELETE"):
        assert (await client.request(method, f"{project}/links/{NOBODY}")).status == 404
        assert (await client.request(method, f"{project}/links/none")).status == 400


# All or nothing -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("where", "answered"),
    [
        ({"adapter_number": 2}, (409, "'two' has no adapter 2")),
        ({"port_number": 2}, (409, "'two' has no port 2")),
        ({"vm_id": NOBODY}, (404, NOBODY)),
        ({"vm_id": "none"}, (400, "vm_id")),
        ({"adapter_number": -1}, (400, "adapter_number")),
        ({"port_number": "0"}, (400, "port_number")),
    ],
)
async def test_an_end_that_does_not_exist_is_named(server, project, toys, where, answered):
    client, (status, said) = server.client, answered
    answer = await ask_for_link(client, project, toys[0], {**end(toys[1]), **where})
    assert answer.status == status
    assert said in answer.json["message"]
    await check_nothing_is_left(server, client, project)


@pytest.mark.parametrize("ends", [0, 1, 3])
async def test_a_link_has_two_ends(client, project, toys, ends):
    assert (await ask_for_link(client, project, *toys[:ends])).status == 400


async def test_both_ends_at_one_node(server, client, project, toys):
    for place in (end(toys[0]), end(toys[0], 1, 1)):
        answer = await ask_for_link(client, project, toys[0], place)
        assert answer.status == 409
        assert "'one'" in answer.json["message"]
    await check_nothing_is_left(server, client, project)


async def test_a_node_of_another_project(server, client, project, toys):
    elsewhere = await new_project(client)
    stranger = await new_toy(client, elsewhere)
    answer = await ask_for_link(client, project, toys[0], stranger)
    assert answer.status == 409
    assert id_of(elsewhere) in answer.json["message"]
    await check_nothing_is_left(server, client, project)


async def test_a_port_that_is_taken_names_what_has_it(server, client, project, toys):
    one, two, three = toys
    link = await connect(client, project, one, two)
    answer = await ask_for_link(client, project, three, two)
    assert answer.status == 409
    assert link["link_id"] in answer.json["message"]
    await plug(client, three, await udp_port(client, project), 9)
    answer = await ask_for_link(client, project, end(one, 1), three)
    assert answer.status == 409
    assert "'three' has a NIO already" in answer.json["message"]
    assert await links(client, project) == [link]
    assert len(server.ports.udp) == 3


async def check_nothing_is_left(server, client, project):
    assert await links(client, project) == []
    assert set(map(tuple, (await wires(client, project)).values())) <= {()}
    assert len(server.ports.udp) == 0


async def test_a_type_that_takes_no_tunnel(gns3_serving, make_entry_point, faulty_plugin):
    plugins = [make_entry_point("toy", "toy_emulator"), faulty_plugin()]
    async with gns3_serving(plugins=plugins) as server:
        client, project = server.client, await new_project(server.client)
        toy = await new_toy(client, project)
        mine = (await client.post(f"{project}/mine/vms", {"name": "mine"})).json["vm_id"]
        answer = await ask_for_link(client, project, toy, end(mine))
        assert answer.status == 409
        assert "'mine' takes no UDP tunnel" in answer.json["message"]
        await check_nothing_is_left(server, client, project)


REFUSES = """
async def wire_changing(self, adapter, port, nio):
    if self.name == "two" and nio is not None:
        raise Conflict("two is full")
ToyNode.wire_changing = wire_changing
"""
FAILS = """
async def wire_changed(self, adapter, port, nio):
    if nio is not None and self.name == "two":
        raise Conflict("two has not done it")
ToyNode.wire_changed = wire_changed
"""


@pytest.mark.parametrize(("fault", "said"), [(REFUSES, "full"), (FAILS, "not done it")])
async def test_a_node_that_refuses(gns3_serving, faulty_plugin, fault, said):
    toy = faulty_plugin(fault, name="toy", source="toy_emulator.py")
    async with gns3_serving(plugins=[toy]) as server:
        client, project = server.client, await new_project(server.client)
        one, two = [await new_toy(client, project, name=name) for name in ("one", "two")]
        answer = await ask_for_link(client, project, one, two)
        assert answer.status == 409
        assert said in answer.json["message"]
        await check_nothing_is_left(server, client, project)


async def test_a_disk_that_takes_nothing(server, client, project, toys, read_only_records):
    link = await connect(client, project, *toys[:2])
    path = f"{project}/links/{link['link_id']}"
    async with read_only_records(project):
        assert (await ask_for_link(client, project, end(toys[0], 1), toys[2])).status == 507
        assert (await client.delete(path)).status == 507
        assert (await client.delete(toys[0])).status == 507
    assert await links(client, project) == [link]
    assert len(server.ports.udp) == 2
    assert (await client.delete(path)).status == 204


async def test_udp_ports_run_out(gns3_serving, make_entry_point, gns3_settings):
    first = gns3_settings.server.udp_start_port_range
    toy = make_entry_point("toy", "toy_emulator")
    async with gns3_serving(plugins=[toy], udp_end_port_range=first) as server:
        client, project = server.client, await new_project(server.client)
        answer = await ask_for_link(
            client, project, *[await new_toy(client, project) for _ in range(2)]
        )
        assert answer.status == 409
        assert "No free UDP port" in answer.json["message"]
        await check_nothing_is_left(server, client, project)


# NIOs and nodes -----------------------------------------------------------------------------


async def test_nio_requests_on_an_end_name_the_link(client, project, toys, first):
    link = await connect(client, project, *toys[:2])
    nio = {"type": "nio_udp", "lport": first + 20, "rhost": "127.0.0.1", "rport": 9}
    for answer in (
        await client.post(f"{toys[0]}/adapters/0/ports/0/nio", nio),
        await client.delete(f"{toys[0]}/adapters/0/ports/0/nio"),
    ):
        assert answer.status == 409
        assert link["link_id"] in answer.json["message"]
    assert (await client.delete(f"{toys[0]}/adapters/1/ports/0/nio")).status == 204
    assert await links(client, project) == [link]


async def test_no_nio_may_name_a_port_of_a_link(client, project, toys, first):
    link = await connect(client, project, *toys[:2])
    nio = {"type": "nio_udp", "lport": first, "rhost": "127.0.0.1", "rport": 9}
    answer = await client.post(f"{toys[2]}/adapters/0/ports/0/nio", nio)
    assert answer.status == 409
    assert f"reserved for link {link['link_id']}" in answer.json["message"]


async def test_a_node_takes_its_links_along_and_they_go_first(server, client, project, toys):
    one, two, three = toys
    link, kept = (
        await connect(client, project, one, two),
        await connect(client, project, end(one, 1), three),
    )
    async with told(client, project) as events:
        assert (await client.delete(two)).status == 204
        assert await anext(events) == ("link.deleted", link)
        assert await links(client, project) == [kept]
        assert len((await wires(client, project))[id_of(one)]) == 1
        assert (await client.delete(three)).status == 204
        assert await anext(events) == ("link.deleted", kept)
    assert len(server.ports.udp) == 0


async def test_links_are_told(client, project, toys):
    async with told(client, project) as events:
        link = await connect(client, project, *toys[:2])
        assert (await client.delete(f"{project}/links/{link['link_id']}")).status == 204
        assert await take(events, 2) == [("link.created", link), ("link.deleted", link)]
    async with client.listen(f"{project}/notifications?since=0") as lines:
        numbers = [
            line["seq"]
            async for line in _until(lines, "link.deleted")
            if line["action"].startswith("link.")
        ]
    assert numbers[1] == numbers[0] + 1


async def _until(lines, action):
    async for line in lines:
        yield line
        if line["action"] == action:
            return


async def test_a_running_node_takes_a_link_up_when_it_is_started_again(client, project, toys):
    one, two, _ = toys
    assert (await client.post(f"{one}/start")).status == 204
    link = await connect(client, project, one, two)
    assert link["at_next_start"] == [id_of(one)]
    path = f"{project}/links/{link['link_id']}"
    async with told(client, project) as events:
        assert (await client.post(f"{one}/reload")).status == 204
        (stopped, _), updated, (started, _) = await take(events, 3)
    assert (stopped, started) == ("vm.stopped", "vm.started")
    assert updated == ("link.updated", {**link, "at_next_start": []})
    assert (await client.get(path)).json["at_next_start"] == []
    assert (await client.post(f"{two}/start")).status == 204
    assert (await client.get(path)).json["at_next_start"] == []


HOT = """
import dataclasses
@hookimpl
def gns3_node_types(_plain=gns3_node_types):
    return [dataclasses.replace(_plain()[0], capabilities=frozenset({"hot_wiring"}))]
async def wire_changed(self, adapter, port, nio):
    await self.project.publish("toy.wired", {"nio": nio and nio.wire()})
ToyNode.wire_changed = wire_changed
"""


async def test_a_running_node_that_can_takes_a_link_up_at_once(gns3_serving, faulty_plugin):
    toy = faulty_plugin(HOT, name="toy", source="toy_emulator.py")
    async with gns3_serving(plugins=[toy]) as server:
        client, project = server.client, await new_project(server.client)
        one, two = [await new_toy(client, project) for _ in range(2)]
        assert (await client.post(f"{one}/start")).status == 204
        async with told(client, project) as events:
            link = await connect(client, project, one, two)
            assert link["at_next_start"] == []
            assert (await client.delete(f"{project}/links/{link['link_id']}")).status == 204
            actions = [action for action, _ in await take(events, 6)]
        wired = ["toy.wired"] * 2
        assert actions == ["link.created", *wired, "link.deleted", *wired]


# Pairs --------------------------------------------------------------------------------------


async def test_nios_that_match_are_a_link(client, project, toys):
    one, two, three = toys
    async with told(client, project) as events:
        here, there = await pair(client, project, one, two)
        (link,) = await links(client, project)
        assert (link["made_as"], link["path"]) == ("nios", "direct")
        assert sorted(link["ends"], key=str) == sorted([end(one), end(two)], key=str)
        assert await anext(events) == ("link.created", link)
        # A third that names the same ports: whose the frames are, nobody knows.
        await plug(client, three, here, there)
        assert await anext(events) == ("link.deleted", link)
        assert await links(client, project) == []
        assert (await client.delete(f"{three}/adapters/0/ports/0/nio")).status == 204
        assert await anext(events) == ("link.created", link)
        await plug(client, two, there, 9)
        assert await anext(events) == ("link.deleted", link)
        await plug(client, two, there, here)
        assert await anext(events) == ("link.created", link)
        assert (await client.delete(one)).status == 204
        assert await anext(events) == ("link.deleted", link)


@pytest.mark.parametrize("rhost", ["192.0.2.1", "example.invalid"])
async def test_a_tunnel_to_elsewhere_is_no_link(client, project, toys, rhost):
    here, there = await udp_port(client, project), await udp_port(client, project)
    await plug(client, toys[0], here, there)
    nio = {"type": "nio_udp", "lport": there, "rhost": rhost, "rport": here}
    assert (await client.post(f"{toys[1]}/adapters/0/ports/0/nio", nio)).status == 201
    assert await links(client, project) == []


async def test_a_pair_is_deleted_as_a_link_is(server, client, project, toys):
    await pair(client, project, *toys[:2])
    (link,) = await links(client, project)
    path = f"{project}/links/{link['link_id']}"
    assert (await client.get(path)).json == link
    async with told(client, project) as events:
        assert (await client.delete(path)).status == 204
        assert await anext(events) == ("link.deleted", link)
    assert await links(client, project) == []
    assert set(map(tuple, (await wires(client, project)).values())) == {()}
    assert len(server.ports.udp) == 0


async def test_two_halves_at_the_same_time_are_told_as_one_link(
    client, project, toys, lab, hold_disk
):
    here, there = await udp_port(client, project), await udp_port(client, project)
    async with told(client, project) as events:
        with hold_disk():
            submitted = lab.projects.databases.submitted
            halves = [
                later(plug(client, toys[0], here, there)),
                later(plug(client, toys[1], there, here)),
            ]
            while lab.projects.databases.submitted < submitted + 2:
                await client.get("/v1/version")
        await asyncio.gather(*halves)
        (link,) = await links(client, project)
        assert await anext(events) == ("link.created", link)


# Order --------------------------------------------------------------------------------------


async def test_links_and_nodes_that_come_and_go_at_once_never_wait_for_each_other(
    server, client, project, make_toy
):
    for _ in range(3):
        toys = [await make_toy() for _ in range(5)]
        work = [
            ask_for_link(client, project, end(one, port=index % 2), end(other, 1, index % 2))
            for index, one in enumerate(toys)
            for other in toys[index + 1 :]
        ]
        work += [client.delete(toy) for toy in toys]
        statuses = {answer.status for answer in await asyncio.gather(*work)}
        assert statuses <= {201, 204, 404, 409}
        assert await links(client, project) == []
        assert len(server.ports.udp) == 0


async def test_a_deletion_behind_a_new_link_finds_it(client, project, toys, hold_disk, arrived):
    async with told(client, project) as events:
        with hold_disk():
            made = later(ask_for_link(client, project, *toys[:2]))
            while await arrived() != ():
                pass
            gone = later(client.delete(toys[0]))
            while await arrived() != (id_of(toys[0]),):
                pass
        assert (await made).status == 201
        assert (await gone).status == 204
        assert await take(events, 2) == [
            ("link.created", made.result().json),
            ("link.deleted", made.result().json),
        ]


# What stays ---------------------------------------------------------------------------------


async def test_links_are_there_when_a_project_is_opened_again(server, client, project, toys):
    link = await connect(client, project, *toys[:2])
    await pair(client, project, toys[0], toys[2], "1/1")
    before, plugged = await links(client, project), await wires(client, project)
    assert len(before) == 2
    assert (await client.post(f"{project}/close")).status == 204
    assert len(server.ports.udp) == 0
    assert (await client.post(f"{project}/open")).status == 200
    assert await links(client, project) == before
    assert await wires(client, project) == plugged
    assert before[0] == link
    assert len(server.ports.udp) == 4


async def test_a_port_that_was_taken_meanwhile_is_another_one(server, client, project, toys, first):
    await connect(client, project, *toys[:2])
    assert (await client.post(f"{project}/close")).status == 204
    other = await new_project(client)
    assert await udp_port(client, other) == first
    assert (await client.post(f"{project}/open")).status == 200
    (wire,) = (await wires(client, project))[id_of(toys[0])]
    (back,) = (await wires(client, project))[id_of(toys[1])]
    assert first not in (wire["lport"], wire["rport"])
    assert (wire["lport"], wire["rport"]) == (back["rport"], back["lport"])
    assert len(await links(client, project)) == 1


async def test_links_are_there_after_a_kill(serve):
    async with serve() as server:
        client = server.client
        await new_project(client, project_id=ID)
        toys = [await new_toy(client, PROJECT) for _ in range(3)]
        await connect(client, PROJECT, *toys[:2])
        await pair(client, PROJECT, toys[1], toys[2], "1/1")
        before = await links(client, PROJECT)
        await server.kill()
    async with serve() as server:
        assert await links(server.client, PROJECT) == before
