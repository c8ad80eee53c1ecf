"""Switches and hubs as their clients see them."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import closing
from typing import Any

import pytest
from ethernet_lab import Lab, port, received, settled
from ethernet_program import EVERYBODY, Host, frame, mac, tag

from gns3server.testing import ConsoleClient

KINDS = ["ethernet_switch", "ethernet_hub"]


async def test_a_switch_has_eight_access_ports_unless_it_is_told_otherwise(lab):
    switch = await (await lab.bridge()).get()
    assert switch["ports_mapping"] == [
        {
            "port_number": number,
            "name": f"Ethernet{number}",
            "type": "access",
            "vlan": 1,
            "ethertype": "",
        }
        for number in range(8)
    ]
    assert switch["status"] == "started"


async def test_a_hub_has_eight_ports_unless_it_is_told_otherwise(lab):
    hub = await (await lab.bridge("ethernet_hub")).get()
    assert hub["ports_mapping"] == [
        {"port_number": number, "name": f"Ethernet{number}"} for number in range(8)
    ]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("count", [1, 128])
async def test_as_many_ports_as_there_may_be(lab, kind, count):
    bridge = await lab.bridge(kind, ports_mapping=[port(number) for number in range(count)])
    assert len((await bridge.get())["ports_mapping"]) == count
    last = await lab.udp_port()
    assert (await bridge.wire(count - 1, last, 9)).status == 201
    assert (await bridge.counters(count - 1))["wired"]
    assert (await bridge.wire(count, await lab.udp_port(), 9)).status == 409


BAD = [
    [],
    [port(number) for number in range(129)],
    [port(128)],
    [port(-1)],
    [port("0")],
    [port(0, name="")],
    [port(0, name="x" * 65)],
    [port(0, colour="red")],
    [{"name": "no number"}],
    ["Ethernet0"],
    {"0": port(0)},
    None,
    8,
]
BAD_FOR_SWITCHES = [
    [port(0, vlan=0)],
    [port(0, vlan=4095)],
    [port(0, vlan="1")],
    [port(0, type="trunk")],
    [port(0, type=None)],
    [port(0, ethertype="0x0800")],
]


@pytest.mark.parametrize(
    ("kind", "mapping"),
    [
        *((kind, mapping) for kind in KINDS for mapping in BAD),
        *(("ethernet_switch", mapping) for mapping in BAD_FOR_SWITCHES),
        ("ethernet_hub", [port(0, vlan=1)]),
    ],
)
async def test_a_mapping_that_makes_no_sense_is_refused_and_nothing_changes(lab, kind, mapping):
    assert (await lab.create(kind, ports_mapping=mapping)).status == 400
    assert (await lab.client.get(f"{lab.project}/{kind}/vms")).json == []
    bridge = await lab.bridge(kind)
    before = await bridge.get()
    answer = await bridge.update(name="renamed", ports_mapping=mapping)
    assert answer.status == 400
    assert "ports_mapping" in answer.json["message"]
    assert await bridge.get() == before


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("what", ["port_number", "name"])
async def test_a_port_that_is_there_twice_is_refused_and_nothing_changes(lab, kind, what):
    mapping = [port(0, name="a"), port(0 if what == "port_number" else 1, name="a")]
    if what == "port_number":
        mapping[1]["name"] = "b"
    assert (await lab.create(kind, ports_mapping=mapping)).status == 409
    assert (await lab.client.get(f"{lab.project}/{kind}/vms")).json == []
    bridge = await lab.bridge(kind)
    before = await bridge.get()
    answer = await bridge.update(name="renamed", ports_mapping=mapping)
    assert (answer.status, f"the {what} " in answer.json["message"]) == (409, True)
    assert await bridge.get() == before


async def test_a_port_that_is_wired_cannot_be_taken_away(lab):
    switch = await lab.bridge()
    assert (await switch.wire(5, await lab.udp_port(), 9)).status == 201
    before = await switch.get()
    answer = await switch.update(name="renamed", ports_mapping=[port(0)])
    assert answer.status == 409
    assert "its ports 5 would go away" in answer.json["message"]
    assert await switch.get() == before
    assert (await switch.counters(5))["wired"]
    assert (await switch.unwire(5)).status == 204
    assert (await switch.update(ports_mapping=[port(0)])).status == 200
    assert len(await switch.get("counters")) == 1


async def test_numbers_of_ports_may_have_gaps(lab):
    switch = await lab.bridge(ports_mapping=[port(1), port(7)])
    answer = await switch.wire(3, await lab.udp_port(), 9)
    assert answer.status == 409
    assert "has no port 3" in answer.json["message"]
    assert (await switch.wire(7, await lab.udp_port(), 9)).status == 201


@pytest.fixture
async def wired(lab):
    """A switch with hosts at its first three ports."""
    switch = await lab.bridge()
    hosts = [Host(number) for number in range(3)]
    for host in hosts:
        lport = await lab.udp_port()
        host.socket.connect(("127.0.0.1", lport))
        assert (await switch.wire(host.number, lport, host.port)).status == 201
    yield switch, hosts
    for host in hosts:
        host.close()


async def test_addresses_are_shown_and_forgotten(wired):
    switch, hosts = wired
    hosts[1].send(frame(EVERYBODY, mac(1)))
    await settled(switch, *hosts)
    (known,) = await switch.get("mac_table")
    assert 0 <= known.pop("age") <= 60
    assert known == {"mac_address": "02:00:00:00:00:01", "vlan": 1, "port_number": 1}
    assert (await switch.lab.client.post(f"{switch.path}/mac_table/flush")).status == 204
    assert await switch.get("mac_table") == []


async def test_vlans_change_while_frames_pass(wired):
    switch, hosts = wired
    hosts[0].send(frame(EVERYBODY, mac(0)))
    assert [len(frames) for frames in await received(switch, hosts)] == [0, 1, 1]
    mapping = [port(0, vlan=10), port(1), port(2, type="dot1q")]
    assert (await switch.update(ports_mapping=mapping)).status == 200
    hosts[0].send(frame(EVERYBODY, mac(0)))
    assert await received(switch, hosts) == [[], [], [frame(EVERYBODY, mac(0), tag(10))]]


async def test_wires_are_changed_while_frames_pass(wired):
    switch, hosts = wired
    assert (await switch.unwire(2)).status == 204
    hosts[0].send(frame(EVERYBODY, mac(0)))
    assert [len(frames) for frames in await received(switch, hosts[:2])] == [0, 1]
    with closing(Host(2)) as another:
        lport = await switch.lab.udp_port()
        another.socket.connect(("127.0.0.1", lport))
        assert (await switch.wire(2, lport, another.port)).status == 201
        hosts[0].send(frame(EVERYBODY, mac(0)))
        assert [len(frames) for frames in await received(switch, [*hosts[:2], another])] == [
            0,
            1,
            1,
        ]
        assert hosts[2].received() == []


async def test_a_udp_port_is_free_again_once_its_wire_is_out(wired):
    switch, hosts = wired
    ports = switch.lab.server.ports.udp
    lport = hosts[2].socket.getpeername()[1]
    assert ports.holders(lport)
    assert (await switch.unwire(2)).status == 204
    assert not ports.holders(lport)
    with closing(Host(9, lport)):
        pass
    assert await switch.lab.udp_port() == lport


async def test_a_udp_port_that_cannot_be_had_is_refused_and_nothing_changes(wired):
    switch, hosts = wired
    with closing(Host(9)) as foreign:
        for lport, what in (
            (foreign.port, "another process"),
            (hosts[0].socket.getpeername()[1], "port 0 of VM 'SW'"),
        ):
            answer = await switch.wire(3, lport, 9)
            assert (answer.status, what in answer.json["message"]) == (409, True), answer.body
    assert not (await switch.counters(3))["wired"]
    assert (await switch.counters(0))["wired"]


@pytest.mark.parametrize("kind", KINDS)
async def test_two_wires_between_the_same_two_are_a_loop_that_is_limited_and_told(
    gns3_serving, kind
):
    few = {"flood_limit": "50", "hub_limit": "50"}
    async with gns3_serving(sections={"ethernet": few}) as server:
        lab = await Lab.open(server)
        one, other = await lab.bridge(kind, name="one"), await lab.bridge(kind, name="other")
        for number in (1, 2):
            here, there = await lab.udp_port(), await lab.udp_port()
            assert (await one.wire(number, here, there)).status == 201
            assert (await other.wire(number, there, here)).status == 201
        with closing(Host(0)) as host:
            lport = await lab.udp_port()
            host.socket.connect(("127.0.0.1", lport))
            assert (await one.wire(0, lport, host.port)).status == 201
            async with lab.client.listen(f"{lab.project}/notifications") as told:
                assert await anext(told) == {"action": "ping"}
                host.send(frame(EVERYBODY, mac(0)))
                event = await anext(told)
                while event["action"] != "ethernet.flood_limited":
                    event = await anext(told)
        names = {one.id: "one", other.id: "other"}
        assert names[event["event"]["vm_id"]] == event["event"]["name"]
        assert (event["event"]["limit"], event["event"]["over"]) == (50, False)
        came_back = [(await one.counters(number))["received_frames"] for number in (1, 2)]
        assert sum(came_back) > 0


async def test_a_switch_that_was_killed_says_so_until_it_is_started(lab):
    switch = await lab.bridge()
    assert (await switch.wire(0, await lab.udp_port(), 9)).status == 201
    (pid,) = lab.server.processes()
    async with lab.client.listen(f"{lab.project}/notifications") as told:
        os.kill(pid, signal.SIGKILL)
        while (await anext(told))["action"] != "log.error":
            pass
    for what in ("counters", "mac_table"):
        answer = await lab.client.get(f"{switch.path}/{what}")
        assert (answer.status, "is not up" in answer.json["message"]) == (409, True)
    # It takes changes all the same, and is as wanted when it is up again.
    assert (await switch.update(ports_mapping=[port(0, name="uplink")])).status == 200
    assert (await lab.client.post(f"{switch.path}/start")).status == 204
    (counted,) = await switch.get("counters")
    assert (counted["name"], counted["wired"]) == ("uplink", True)


@pytest.mark.parametrize("kind", KINDS)
async def test_the_console_answers_whoever_connects(lab, kind):
    bridge = await lab.bridge(kind, name="Core")
    port = (await bridge.get())["console"]
    async with (
        ConsoleClient.open(port, prompt="Core> ") as one,
        ConsoleClient.open(port, prompt="Core> ") as other,
    ):
        assert "Ethernet7" in await one.run("show ports")
        assert "these commands" in await other.run("help")


async def test_another_console_is_used_from_the_next_start_on(lab):
    switch = await lab.bridge(name="Core")
    console = (await switch.get())["console"]
    assert (await switch.update(console=console + 1)).json["console"] == console + 1
    async with ConsoleClient.open(console, prompt="Core> ") as user:
        assert "these commands" in await user.run("help")
    assert (await lab.client.post(f"{switch.path}/reload")).status == 204
    async with ConsoleClient.open(console + 1, prompt="Core> ") as user:
        assert "these commands" in await user.run("help")
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", console)


async def test_many_switches_are_deleted_while_they_start(lab):
    many = 20
    async with lab.client.listen(f"{lab.project}/notifications") as told:
        making = [asyncio.create_task(lab.create("ethernet_switch")) for _ in range(many)]
        deleting: list[asyncio.Task[Any]] = []
        while len(deleting) < many:
            event = await anext(told)
            if event["action"] == "vm.created":
                path = f"{lab.project}/ethernet_switch/vms/{event['event']['vm_id']}"
                deleting.append(asyncio.create_task(lab.client.delete(path)))
        assert {answer.status for answer in await asyncio.gather(*deleting)} == {204}
    assert {answer.status for answer in await asyncio.gather(*making)} == {201}
    assert lab.server.processes() == {}


async def test_many_changes_at_once_leave_the_switch_as_the_last_has_it(lab):
    switch = await lab.bridge()
    answers = await asyncio.gather(
        *(switch.update(ports_mapping=[port(n) for n in range(count)]) for count in range(1, 30))
    )
    assert {answer.status for answer in answers} == {200}
    assert len(await switch.get("counters")) == len((await switch.get())["ports_mapping"]) == 29


async def test_a_program_that_does_not_answer_is_given_up_and_asked_anew(lab):
    switch = await lab.bridge()
    (pid,) = lab.server.processes()
    os.kill(pid, signal.SIGSTOP)
    try:
        answer = await lab.client.get(f"{switch.path}/counters")
        assert (answer.status, "does not answer" in answer.json["message"]) == (503, True)
    finally:
        os.kill(pid, signal.SIGCONT)
    assert len(await switch.get("counters")) == 8
