"""Ports and wires of real virtual PCs, with others on the machine and with each other."""

from __future__ import annotations

import asyncio
import uuid

import pytest
from gns3server_vpcs.wires import RELAY_DISTANCE
from vpcs_console import open_console
from vpcs_kernel import foreign, holders, is_bound
from vpcs_lab import PORT, Server

pytestmark = pytest.mark.usefixtures("vpcs_program")


async def talk(one, other):
    """Give two PCs addresses and let each ping the other."""
    async with open_console(one.console) as here, open_console(other.console) as there:
        await asyncio.gather(here.run("ip 10.0.0.1/24"), there.run("ip 10.0.0.2/24"))
        return await asyncio.gather(here.pings("10.0.0.2"), there.pings("10.0.0.1"))


@pytest.mark.timeout(180)
async def test_no_relay_port_is_in_the_way_of_a_neighbour(lab):
    pairs = [await lab.pair() for _ in range(12)]
    await asyncio.gather(*(pc.do("start") for pair in pairs for pc in pair))
    assert await asyncio.gather(*(talk(*pair) for pair in pairs)) == [[True, True]] * 12


@pytest.mark.timeout(180)
@pytest.mark.parametrize("order", ["below first", "above first", "together"])
async def test_a_port_where_a_relay_may_be_is_never_silently_dead(lab, order):
    first = lab.server.settings.server.udp_start_port_range
    below, above = await lab.pc(name="below"), await lab.pc(name="above")
    await below.wire(first, first + RELAY_DISTANCE)
    await above.wire(first + RELAY_DISTANCE, first)
    if order == "together":
        answers = list(await asyncio.gather(below.ask("start"), above.ask("start")))
    elif order == "above first":
        answers = [await above.ask("start"), await below.ask("start")]
    else:
        answers = [await below.ask("start")]
        await below.relay_up()
        answers.append(await above.ask("start"))
    refused = [answer for answer in answers if answer.status == 409]
    if refused:
        (answer,) = refused
        assert f"UDP port {first + RELAY_DISTANCE}" in answer.json["message"]
        if order == "below first":
            assert f"VM {below.id}" in answer.json["message"]
    else:
        assert await talk(below, above) == [True, True]
    assert [answer.status for answer in answers].count(204) + len(refused) == 2


async def test_a_neighbours_relay_is_in_the_way_across_projects_too(lab):
    first = lab.server.settings.server.udp_start_port_range
    below = await lab.pc()
    await below.wire(first)
    await below.do("start")
    await below.relay_up()
    above = await (await Server.open(lab.server)).pc()
    await above.wire(first + RELAY_DISTANCE)
    answer = await above.ask("start")
    if answer.status == 409:
        assert below.id in answer.json["message"]
        await below.do("stop")
        await above.do("start")
    assert above.pid in holders("udp", first + RELAY_DISTANCE)


@pytest.mark.parametrize("kind", ["tcp", "udp"])
async def test_a_port_that_somebody_else_has_taken(lab, kind):
    pc = await lab.wired()
    lport = pc.node.nio().values["lport"]
    number = pc.console if kind == "tcp" else lport
    with foreign(kind, number):
        answer = await pc.ask("start")
        assert answer.status == 409
        assert f"{kind.upper()} port {number}" in answer.json["message"]
        assert await pc.status() == "stopped"
        other_kind, other = ("udp", lport) if kind == "tcp" else ("tcp", pc.console)
        assert not is_bound(other_kind, other)
    await pc.do("start")


@pytest.mark.statement("PORT-08")
async def test_a_console_that_somebody_else_has_is_not_handed_out(lab):
    first = lab.server.settings.server.console_start_port_range
    with foreign("tcp", first):
        assert (await lab.pc()).console == first + 1


async def test_two_pcs_may_name_one_port_but_only_one_runs(lab):
    one, other, lport = await lab.pc(), await lab.pc(), await lab.udp_port()
    await one.wire(lport)
    await other.wire(lport)
    await one.do("start")
    answer = await other.ask("start")
    assert answer.status == 409
    assert f"UDP port {lport}" in answer.json["message"]
    assert one.id in answer.json["message"]
    await one.do("stop")
    await other.do("start")


async def test_a_console_changed_while_running_is_free_after_the_stop(lab):
    pc = await lab.wired()
    await pc.do("start")
    old, new = pc.console, lab.server.settings.server.console_end_port_range
    await pc.update(console=new)
    assert is_bound("tcp", old)
    assert not is_bound("tcp", new)
    for taken in (old, new):
        assert (await lab.create(console=taken)).status == 409
    await pc.do("reload")
    assert is_bound("tcp", new)
    assert not is_bound("tcp", old)
    assert (await lab.create(console=old)).status == 201


@pytest.mark.parametrize("change", ["replaced", "removed"])
async def test_a_nio_changed_while_running_keeps_its_port_until_the_stop(lab, change):
    pc, other = await lab.wired(), await Server.open(lab.server)
    old = pc.node.nio().values["lport"]
    await pc.do("start")
    new = await lab.udp_port()
    if change == "replaced":
        await pc.wire(new)
    else:
        assert (await lab.client.delete(f"{pc.path}/{PORT}")).status == 204
    assert is_bound("udp", old)
    nio = {"type": "nio_udp", "lport": old, "rhost": "127.0.0.1", "rport": 9}
    stranger = await other.pc()
    assert (await other.client.post(f"{stranger.path}/{PORT}", nio)).status == 409
    assert await other.udp_port() != old
    await pc.do("stop")
    assert (await other.client.post(f"{stranger.path}/{PORT}", nio)).status == 201
    if change == "replaced":
        await pc.do("start")
        assert is_bound("udp", new)
    else:
        assert (await pc.ask("start")).status == 409


async def test_a_failed_start_leaves_all_as_it_was(lab):
    pc = await lab.wired()
    console, udp = len(lab.server.ports.tcp), len(lab.server.ports.udp)
    with foreign("tcp", pc.console):
        assert (await pc.ask("start")).status == 409
    assert (len(lab.server.ports.tcp), len(lab.server.ports.udp)) == (console, udp)
    assert (await lab.client.delete(pc.path)).status == 204
    assert len(lab.server.ports.tcp) == len(lab.server.ports.udp) == 0


@pytest.mark.statement("NIO-01", "NIO-03", "NIO-05")
async def test_a_nio_is_plugged_in_and_out(lab):
    pc = await lab.pc()
    lport = await lab.udp_port()
    await pc.wire(lport)
    assert pc.node.nio().values["lport"] == lport
    for _ in range(2):
        assert (await lab.client.delete(f"{pc.path}/{PORT}")).status == 204
        assert pc.node.nio() is None
    assert (await lab.client.delete(f"{lab.project}/vpcs/vms/{uuid.uuid4()}/{PORT}")).status == 404


@pytest.mark.statement("NIO-07", "NIO-08")
@pytest.mark.parametrize(
    ("place", "changed", "status"),
    [
        ("adapters/7/ports/0/nio", {}, 201),
        ("adapters/0/ports/1/nio", {}, 409),
        ("adapters/x/ports/0/nio", {}, 404),
        (PORT, {"type": "nio_quantum"}, 400),
        (PORT, {"extra": 1}, 400),
        (PORT, {"lport": 0}, 400),
        (PORT, {"lport": 65536}, 400),
        (PORT, {"rport": "1"}, 400),
        (PORT, {"rhost": ""}, 400),
        (PORT, {"type": None}, 400),
    ],
)
async def test_where_and_what_can_be_plugged_in(lab, place, changed, status):
    pc = await lab.pc()
    nio = {"type": "nio_udp", "lport": 4242, "rhost": "127.0.0.1", "rport": 4343, **changed}
    answer = await lab.client.post(f"{pc.path}/{place}", nio)
    assert answer.status == status
    assert bool(pc.node.wiring.nios) is (status == 201)
    assert len(lab.server.ports.udp) == (status == 201)


@pytest.mark.statement("PRJ-08", "PRJ-09")
@pytest.mark.parametrize("temporary", [True, False])
async def test_pcs_go_on_while_their_project_moves(lab, tmp_path, temporary):
    one, other = await lab.pair()
    await one.update(startup_script="echo moved")
    await lab.client.put(lab.project, {"temporary": temporary})
    await asyncio.gather(one.do("start"), other.do("start"))
    before = one.pid
    async with open_console(one.console) as here, open_console(other.console) as there:
        await asyncio.gather(here.run("ip 10.0.0.1/24"), there.run("ip 10.0.0.2/24"))
        answer = await lab.client.put(lab.project, {"path": str(tmp_path / "new")})
        assert answer.status == 200
        assert await here.pings("10.0.0.2")
        assert await there.pings("10.0.0.1")
    assert one.pid == before
    shown = await one.get()
    assert (shown["status"], shown["startup_script"]) == ("started", "echo moved")
    directory = tmp_path / "new" / "project-files" / "vpcs" / one.id
    assert shown["vm_directory"] == str(directory)
    assert "startup.vpc" in {path.name for path in directory.iterdir()}
    await one.do("stop", "start")
    await asyncio.gather(one.do("stop"), other.do("stop"))
