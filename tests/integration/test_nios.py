"""Wires: NIOs and the UDP ports they name."""

import socket

import pytest
from api_calls import new_project


def nio(lport: int, rport: int = 4343, **more) -> dict[str, object]:
    return {"type": "nio_udp", "lport": lport, "rhost": "127.0.0.1", "rport": rport, **more}


class Wires:
    """Plugs NIOs in and out and allocates ports, and tells what came of it."""

    def __init__(self, client, project: str, server) -> None:
        self._client = client
        self._project = project
        self._ports = server.ports.udp
        self.base = server.settings.server.udp_start_port_range

    async def plug(self, toy, value, place="adapters/0/ports/0"):
        answer = await self._client.post(f"{toy}/{place}/nio", value)
        if answer.status == 201:
            assert answer.json == value
        return answer.status

    async def unplug(self, toy, place="adapters/0/ports/0"):
        return (await self._client.delete(f"{toy}/{place}/nio")).status

    async def allocate(self, project=""):
        answer = await self._client.post(f"{project or self._project}/ports/toy")
        assert answer.status == 201
        return answer.json["udp_port"]

    @property
    def reserved(self) -> int:
        return len(self._ports)


@pytest.fixture
def wires(client, project, server) -> Wires:
    return Wires(client, project, server)


@pytest.fixture
def base(wires):
    """The first UDP port of the server."""
    return wires.base


@pytest.fixture
async def other(client) -> str:
    """The path of another project."""
    return await new_project(client)


# Plugging -------------------------------------------------------------------------------


@pytest.mark.statement("NIO-01", "NIO-03", "NIO-05")
async def test_a_nio_is_plugged_in_replaced_and_unplugged(make_toy, base, wires, lab):
    toy = await make_toy()
    project_id, node_id = toy.split("/")[3], toy.rpartition("/")[2]
    node = lab.projects.get(project_id).members.get("toy", node_id)
    assert await wires.plug(toy, nio(base)) == 201
    assert await wires.plug(toy, nio(base, rport=9)) == 201
    assert await wires.plug(toy, nio(base + 1)) == 201
    assert node.nio().wire() == nio(base + 1)
    assert wires.reserved == 1
    for _ in range(2):
        assert await wires.unplug(toy) == 204
        assert node.wiring.nios == {}
    assert wires.reserved == 0


@pytest.mark.statement("NIO-07")
async def test_only_ports_that_are_there(make_toy, base, wires):
    toy = await make_toy()
    for place, status in [
        ("adapters/0/ports/1", 201),
        ("adapters/1/ports/0", 201),
        ("adapters/2/ports/0", 409),
        ("adapters/0/ports/2", 409),
    ]:
        assert await wires.plug(toy, nio(base), place) == status
        assert await wires.unplug(toy, place) == {201: 204}.get(status, status)
    assert wires.reserved == 0


@pytest.mark.statement("NIO-08", "HTTP-04")
async def test_what_is_no_nio_for_this_node(client, make_toy, wires, subtests):
    base = wires.base
    toy = await make_toy()
    for value, status in [
        ({"type": "nio_other"}, 409),
        ({"type": "nio_tap", "tap_device": "tap0"}, 409),
        ({"type": "nio_udp"}, 400),
        ({"type": None}, 400),
        ({"type": ["nio_udp"]}, 400),
        ({"type": {}}, 400),
        ({}, 400),
        (nio(base, extra=1), 400),
        (nio(0), 400),
        (nio(65536), 400),
        ({**nio(base), "lport": True}, 400),
        ({**nio(base), "lport": str(base)}, 400),
        ({**nio(base), "rhost": ""}, 400),
        ({**nio(base), "rhost": None}, 400),
        ({**nio(base), "rhost": 1}, 400),
        ({**nio(base), "rhost": "a\0b"}, 400),
    ]:
        with subtests.test(value=value):
            answer = await client.post(f"{toy}/adapters/0/ports/0/nio", value)
            assert answer.status == status
            if status == 400:
                assert answer.json["request"] == value
                assert answer.json["path"].endswith("/nio")
    assert wires.reserved == 0


# Ports ------------------------------------------------------------------------------------


@pytest.mark.statement("PORT-06", "PORT-10")
async def test_ports_are_allocated_from_the_first_on(client, base, other, wires):
    assert [await wires.allocate() for _ in range(2)] == [base, base + 1]
    assert await wires.allocate(other) == base + 2
    nobody = "/v1/projects/00010203-0405-0607-0809-0a0b0c0d0e0f/ports/toy"
    assert (await client.post(nobody)).status == 404


async def test_the_companion_of_a_port_is_never_allocated(base, wires):
    got = [await wires.allocate() - base for _ in range(12)]
    assert got == [*range(9), 18, 19, 20]


async def test_udp_ports_run_out(serving, gns3_settings):
    first = gns3_settings.server.udp_start_port_range
    async with serving(udp_end_port_range=first + 1) as server:
        client = server.client
        project = await new_project(client)
        statuses = [(await client.post(f"{project}/ports/toy")).status for _ in range(4)]
        assert statuses == [201, 201, 409, 409]
        await client.post(f"{project}/close")
        assert len(server.ports.udp) == 0


@pytest.mark.statement("NIO-06")
async def test_an_allocated_port_is_freed_with_the_last_nio_that_names_it(make_toy, base, wires):
    one, two = await make_toy(), await make_toy()
    port = await wires.allocate()
    assert await wires.plug(one, nio(port)) == 201
    assert await wires.plug(two, nio(port)) == 201
    await wires.unplug(one)
    assert await wires.allocate() == base + 1
    await wires.unplug(two)
    assert await wires.allocate() == base


async def test_a_port_that_was_never_allocated_is_taken_by_its_nio(make_toy, base, wires):
    toy = await make_toy()
    assert await wires.plug(toy, nio(base)) == 201
    assert await wires.allocate() == base + 1


async def test_another_projects_port_is_refused_at_once(client, make_toy, other, wires):
    base = wires.base
    port = await wires.allocate(other)
    toy = await make_toy()
    answer = await client.post(f"{toy}/adapters/0/ports/0/nio", nio(port))
    assert answer.status == 409
    assert f"UDP port {port}" in answer.json["message"]
    assert await wires.plug(toy, nio(base + 1)) == 201
    # Replacing by one that is refused leaves the old one.
    assert await wires.plug(toy, nio(port)) == 409
    assert wires.reserved == 2
    assert await wires.allocate() == base + 2


@pytest.mark.parametrize("how", ["delete", "unplug", "replace"])
async def test_every_way_to_lose_a_nio_frees_its_port(client, make_toy, wires, how):
    toy = await make_toy()
    port = await wires.allocate()
    await wires.plug(toy, nio(port))
    if how == "delete":
        await client.delete(toy)
    elif how == "unplug":
        await wires.unplug(toy)
    else:
        await wires.plug(toy, nio(port + 30))
        await wires.unplug(toy)
    assert wires.reserved == 0


# Running ----------------------------------------------------------------------------------


async def test_a_running_node_keeps_its_port_until_it_stops(client, make_toy, base, wires):
    toy = await make_toy()
    assert await wires.plug(toy, nio(base)) == 201
    assert (await client.post(f"{toy}/start")).status == 204
    assert await wires.unplug(toy) == 204
    assert await wires.allocate() == base + 1
    assert (await client.post(f"{toy}/stop")).status == 204
    assert await wires.allocate() == base


async def test_only_one_of_two_nodes_on_a_port_can_run(client, make_toy, base, wires):
    one, two = await make_toy(), await make_toy()
    for toy in (one, two):
        assert await wires.plug(toy, nio(base)) == 201
    assert (await client.post(f"{one}/start")).status == 204
    answer = await client.post(f"{two}/start")
    assert answer.status == 409
    assert str(base) in answer.json["message"]
    assert (await client.get(two)).json["status"] == "stopped"
    await client.post(f"{one}/stop")
    assert (await client.post(f"{two}/start")).status == 204


async def test_a_udp_port_that_another_program_has_is_named(client, make_toy, base, wires):
    toy = await make_toy()
    await wires.plug(toy, nio(base))
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        sock.bind(("0.0.0.0", base))
        answer = await client.post(f"{toy}/start")
        assert answer.status == 409
        assert str(base) in answer.json["message"]
    assert (await client.post(f"{toy}/start")).status == 204
