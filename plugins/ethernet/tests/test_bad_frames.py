"""Frames that are too short, too long, or that nobody takes."""

from __future__ import annotations

from contextlib import closing

import pytest
from ethernet_program import EVERYBODY, Host, frame, free_ports, mac, tag
from gns3server_ethernet.switch.wanted import Wire

TRUNK = {"type": "dot1q"}


@pytest.mark.parametrize("kind", ["switch", "hub"])
@pytest.mark.parametrize("size", [0, 1, 13])
def test_what_is_no_frame_is_dropped_and_counted(run, kind, size):
    bridge = run(kind)
    bridge.hosts[0].send(bytes(size))
    assert bridge.received() == [[], [], []]
    assert bridge.counters(0)["malformed"] == 1


@pytest.mark.parametrize("kind", ["switch", "hub"])
@pytest.mark.parametrize("size", [14, 59, 1514, 9000, 65507])
def test_frames_of_any_other_size_pass(run, kind, size):
    bridge = run(kind)
    sent = frame(EVERYBODY, mac(0)).ljust(size, b"x")[:size]
    bridge.hosts[0].send(sent)
    assert bridge.received() == [[], [sent], [sent]]


@pytest.mark.parametrize("size", [14, 15, 16, 17])
@pytest.mark.parametrize("port", [{}, TRUNK])
def test_a_tag_that_is_cut_off_is_no_tag(run, port, size):
    switch = run(ports=[port, TRUNK])
    switch.hosts[0].send(frame(EVERYBODY, mac(0), tag(10))[:size])
    assert switch.received() == [[], []]
    assert switch.counters(0)["malformed"] == 1


def test_a_frame_that_a_tag_makes_too_long_is_dropped_there_alone(run):
    switch = run(ports=[{"vlan": 10}, {"vlan": 10}, TRUNK])
    sent = frame(EVERYBODY, mac(0)).ljust(65507, b"x")
    switch.hosts[0].send(sent)
    assert switch.received() == [[], [sent], []]
    assert switch.counters(2)["unsent"] == 1


def test_nobody_at_the_end_of_a_wire_is_no_trouble_to_others(run):
    switch = run()
    gone = switch.hosts[2]
    (nobody,) = free_ports(1)
    wire = switch.wanted.wires[2]
    assert not switch.configure(
        wires={**switch.wanted.wires, 2: Wire(wire.lport, wire.host, nobody)}
    )
    frames = [frame(EVERYBODY, mac(0), text=b"%d" % number) for number in range(100)]
    switch.hosts[0].send(*frames)
    assert switch.received()[:2] == [[], frames]
    assert switch.configure(wires={**switch.wanted.wires, 2: wire}) == {}
    switch.hosts[0].send(frames[0])
    switch.settle()
    assert gone.received() == frames[:1]


def test_a_host_that_comes_up_later_gets_the_first_frame(run):
    switch = run(ports=[{}, {}])
    first, second = switch.hosts
    port = second.port
    second.close()
    first.send(frame(EVERYBODY, mac(0)))
    while switch.counters(0)["received_frames"] < 1:
        pass
    with closing(Host(1, port)) as again:
        first.send(frame(EVERYBODY, mac(0), text=b"now"))
        while switch.counters(0)["received_frames"] < 2:
            pass
        assert again.received() == [frame(EVERYBODY, mac(0), text=b"now")]


def test_what_strangers_send_is_no_frame(run):
    switch = run()
    with closing(Host(9)) as stranger:
        lport = switch.wanted.wires[0].lport
        stranger.socket.sendto(frame(EVERYBODY, mac(9)), ("127.0.0.1", lport))
        switch.hosts[1].send(frame(EVERYBODY, mac(1)))
        assert [len(frames) for frames in switch.received()] == [1, 0, 1]
        assert switch.addresses() == [(1, mac(1).hex(":"), 1)]
