"""The program is changed while it forwards."""

from __future__ import annotations

import json
import socket
from contextlib import closing

import pytest
from ethernet_program import EVERYBODY, Host, frame, mac, tag
from gns3server_ethernet.switch.wanted import WantedPort, Wire


def test_ports_and_vlans_change_while_frames_come(run):
    switch = run()
    first, second, third = switch.hosts
    first.send(frame(EVERYBODY, first.mac))
    third.send(frame(EVERYBODY, third.mac))
    switch.received()
    one, other, another = switch.wanted.ports
    changed = (one, other._replace(vlan=10), another._replace(type="dot1q"))
    assert switch.configure(ports=changed) == {}
    # What was known of the port that has stayed as it was is still known.
    assert switch.addresses() == [(1, first.mac.hex(":"), 0)]
    second.send(frame(EVERYBODY, second.mac))
    assert switch.received() == [[], [], [frame(EVERYBODY, second.mac, tag(10))]]
    third.send(frame(first.mac, third.mac))
    assert switch.received() == [[frame(first.mac, third.mac)], [], []]


def test_another_name_changes_nothing_else(run):
    switch = run()
    switch.hosts[0].send(frame(EVERYBODY, mac(0)))
    switch.received()
    one, *others = switch.wanted.ports
    switch.configure(name="Other", ports=(one._replace(name="uplink"), *others))
    assert switch.addresses() == [(1, mac(0).hex(":"), 0)]
    counted = switch.counters(0)
    assert (counted["name"], counted["received_frames"]) == ("uplink", 1)


def test_a_wire_is_unplugged_and_plugged_in(run):
    switch = run()
    wires = dict(switch.wanted.wires)
    switch.hosts[1].send(frame(EVERYBODY, mac(1)))
    switch.received()
    switch.configure(wires={0: wires[0], 2: wires[2]})
    assert not switch.counters(1)["wired"]
    assert switch.addresses() == []
    switch.hosts[0].send(frame(mac(1), mac(0)))
    assert [len(frames) for frames in switch.received()] == [0, 0, 1]
    switch.configure(wires=wires)
    switch.hosts[0].send(frame(mac(1), mac(0)))
    assert [len(frames) for frames in switch.received()] == [0, 1, 1]


def test_two_wires_change_places(run):
    switch = run(ports=[{}, {"vlan": 10}])
    wires = switch.wanted.wires
    assert switch.configure(wires={0: wires[1], 1: wires[0]}) == {}
    switch.hosts[0].send(frame(EVERYBODY, mac(0)))
    while switch.counters(1)["received_frames"] < 1:
        pass
    assert switch.addresses() == [(10, mac(0).hex(":"), 1)]


def test_a_wire_that_cannot_be_plugged_in_is_named_and_tried_again(run):
    switch = run(ports=[{}, {}])
    with closing(Host(9)) as foreign:
        wires = {**switch.wanted.wires, 1: Wire(foreign.port, "127.0.0.1", 9)}
        assert switch.configure(wires=wires) == {"1": "Address already in use"}
        assert switch.counters(0)["wired"]
    assert switch.configure() == {}
    assert switch.counters(1)["wired"]


def test_ports_come_and_go(run):
    switch = run()
    wires = switch.wanted.wires
    ports = (*switch.wanted.ports[:2], WantedPort(127, "last"))
    switch.configure(ports=ports, wires={0: wires[0], 127: wires[2]})
    assert [port["port_number"] for port in switch.call("counters")] == [0, 1, 127]
    switch.hosts[0].send(frame(EVERYBODY, mac(0)))
    while switch.counters(0)["received_frames"] < 1:
        pass
    assert [len(host.received()) for host in switch.hosts] == [0, 0, 1]


@pytest.mark.parametrize(
    ("call", "values", "error"),
    [
        ("dance", {}, "there is no call 'dance'"),
        ("configure", {}, "this is not what a switch is told: 'name'"),
        ("flush", None, None),
    ],
)
def test_a_call_that_makes_no_sense_is_refused_and_nothing_else_happens(run, call, values, error):
    switch = run()
    assert switch.greeting == {"protocol": 1, "kind": "ethernet", "pid": switch.process.pid}
    switch.write(json.dumps({"call": call, "id": 7, "with": values}).encode() + b"\n")
    assert switch.line() == {"id": 7, **({"error": error} if error else {"result": None})}
    switch.hosts[0].send(frame(EVERYBODY, mac(0)))
    assert [len(frames) for frames in switch.received()] == [0, 1, 1]


@pytest.mark.parametrize("line", [b"nonsense\n", b"[]\n", b'{"call": 1}\n', b"x" * (1 << 21)])
def test_who_talks_nonsense_is_hung_up_on(run, line):
    switch = run()
    with socket.socket(socket.AF_UNIX) as caller:
        caller.connect(str(switch.path))
        with caller.makefile("rb") as lines:
            assert b"greeting" not in lines.readline()
            try:
                caller.sendall(line)
                assert lines.read() == b""
            except ConnectionError:
                # Hung up while it was still talking.
                pass
    assert len(switch.call("counters")) == 3
