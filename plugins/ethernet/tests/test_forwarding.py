"""What the program does with frames: it learns, floods, and sends nothing back."""

from __future__ import annotations

import pytest
from ethernet_program import EVERYBODY, frame, mac


def test_a_frame_to_an_unknown_address_goes_to_all_others(run):
    switch = run()
    sent = frame(mac(9), switch.hosts[0].mac)
    switch.hosts[0].send(sent)
    assert switch.received() == [[], [sent], [sent]]


def test_an_address_is_learned_from_the_frames_that_it_sends(run):
    switch = run()
    first, second, _ = switch.hosts
    first.send(frame(EVERYBODY, first.mac))
    switch.received()
    assert switch.addresses() == [(1, first.mac.hex(":"), 0)]
    sent = frame(first.mac, second.mac)
    second.send(sent)
    assert switch.received() == [[sent], [], []]


@pytest.mark.parametrize("to", [EVERYBODY, bytes.fromhex("01005e000001")])
def test_a_frame_to_a_group_goes_to_all_others(run, to):
    switch = run()
    sent = frame(to, switch.hosts[1].mac)
    switch.hosts[1].send(sent, sent)
    assert switch.received() == [[sent, sent], [], [sent, sent]]


def test_the_address_of_a_group_is_never_learned(run):
    switch = run()
    switch.hosts[0].send(frame(mac(9), EVERYBODY))
    switch.settle()
    assert switch.addresses() == []


def test_a_frame_never_goes_back_to_where_it_came_from(run):
    switch = run()
    host = switch.hosts[0]
    # A hub may be there, with two hosts that talk to each other.
    host.send(frame(mac(7), mac(8)), frame(mac(8), mac(7)))
    received = switch.received()
    assert received[0] == []
    assert received[1] == received[2] == [frame(mac(7), mac(8))]


def test_an_address_moves_with_its_host(run):
    switch = run()
    first, second, third = switch.hosts
    first.send(frame(EVERYBODY, mac(7)))
    switch.received()
    second.send(frame(EVERYBODY, mac(7)))
    switch.received()
    assert switch.addresses() == [(1, mac(7).hex(":"), 1)]
    third.send(frame(mac(7), third.mac))
    assert switch.received() == [[], [frame(mac(7), third.mac)], []]


def test_an_address_that_is_silent_for_too_long_is_forgotten(run):
    switch = run(ageing=0)
    first, second, _ = switch.hosts
    first.send(frame(EVERYBODY, first.mac))
    switch.received()
    assert switch.addresses() == []
    sent = frame(first.mac, second.mac)
    second.send(sent)
    assert switch.received() == [[sent], [], [sent]]


def test_all_addresses_are_forgotten_on_demand(run):
    switch = run()
    first, second, _ = switch.hosts
    first.send(frame(EVERYBODY, first.mac))
    switch.received()
    assert switch.call("flush") is None
    assert switch.addresses() == []
    second.send(frame(first.mac, second.mac))
    assert [len(frames) for frames in switch.received()] == [1, 0, 1]


def test_no_more_addresses_are_kept_than_there_is_room_for(run):
    switch = run(ports=[{}, {}])
    host = switch.hosts[0]
    for start in range(0, 9000, 100):
        host.send(*(frame(host.mac, mac(number)) for number in range(start, start + 100)))
        switch.received()
    assert len(switch.addresses()) == 8192


def test_frames_that_come_faster_than_a_wake_up_takes_arrive_in_order(run):
    switch = run(ports=[{}, {}])
    first, second = switch.hosts
    second.send(frame(EVERYBODY, second.mac))
    switch.received()
    frames = [frame(second.mac, first.mac, text=b"%d" % number) for number in range(200)]
    first.send(*frames)
    assert switch.received() == [[], frames]


def test_a_hub_sends_everything_to_all_others(run):
    hub = run("hub")
    first, second, _ = hub.hosts
    first.send(frame(EVERYBODY, first.mac))
    assert [len(frames) for frames in hub.received()] == [0, 1, 1]
    sent = frame(first.mac, second.mac)
    second.send(sent)
    assert hub.received() == [[sent], [], [sent]]


def test_everything_is_counted(run):
    switch = run(ports=[{}, {}])
    first, second = switch.hosts
    first.send(frame(EVERYBODY, first.mac), frame(EVERYBODY, first.mac, text=b"x" * 100))
    second.send(frame(first.mac, second.mac))
    switch.settle()
    assert switch.counters(0) == {
        "port_number": 0,
        "name": "e0",
        "wired": True,
        "received_frames": 2,
        "received_bytes": 64 + 114,
        "sent_frames": 1,
        "sent_bytes": 64,
        "malformed": 0,
        "wrong_vlan": 0,
        "limited": 0,
        "unsent": 0,
    }
