"""VLANs are kept apart, and frames have the tags that each port wants."""

from __future__ import annotations

import pytest
from ethernet_program import EVERYBODY, frame, mac, tag

ACCESS_10 = {"vlan": 10}
ACCESS_20 = {"vlan": 20}
TRUNK = {"type": "dot1q", "vlan": 1}
QINQ = {"type": "qinq", "vlan": 100, "ethertype": "0x88A8"}


def test_frames_stay_in_their_vlan(run):
    switch = run(ports=[ACCESS_10, ACCESS_20, ACCESS_10, ACCESS_20])
    first = switch.hosts[0]
    first.send(frame(EVERYBODY, first.mac))
    assert [len(frames) for frames in switch.received()] == [0, 0, 1, 0]
    # The address is known in the other VLAN only: this does not get there.
    switch.hosts[1].send(frame(first.mac, mac(1)))
    assert [len(frames) for frames in switch.received()] == [0, 0, 0, 1]


def test_one_address_may_be_in_two_vlans(run):
    switch = run(ports=[ACCESS_10, ACCESS_20])
    for host in switch.hosts:
        host.send(frame(EVERYBODY, mac(7)))
    switch.settle()
    assert switch.addresses() == [(10, mac(7).hex(":"), 0), (20, mac(7).hex(":"), 1)]


def test_a_trunk_has_tags_but_for_its_own_vlan(run):
    switch = run(ports=[ACCESS_10, {}, TRUNK])
    for host in switch.hosts[:2]:
        host.send(frame(EVERYBODY, host.mac))
    tagged = frame(EVERYBODY, mac(0), tag(10))
    assert switch.received() == [[], [], [tagged, frame(EVERYBODY, mac(1))]]


def test_what_comes_by_a_trunk_goes_to_the_vlan_of_its_tag(run):
    switch = run(ports=[ACCESS_10, {}, TRUNK])
    trunk = switch.hosts[2]
    trunk.send(frame(EVERYBODY, mac(8), tag(10)), frame(EVERYBODY, mac(9)))
    # A tag of the VLAN that has none there is no mistake.
    trunk.send(frame(EVERYBODY, mac(9), tag(1)))
    plain = frame(EVERYBODY, mac(9))
    assert switch.received() == [[frame(EVERYBODY, mac(8))], [plain, plain], []]
    switch.hosts[0].send(frame(mac(8), mac(0)))
    assert switch.received() == [[], [], [frame(mac(8), mac(0), tag(10))]]


def test_a_vlan_that_only_trunks_have_goes_from_trunk_to_trunk_with_its_priority(run):
    switch = run(ports=[ACCESS_10, TRUNK, TRUNK])
    sent = frame(EVERYBODY, mac(1), tag(0xA000 | 4094))
    switch.hosts[1].send(sent)
    assert switch.received() == [[], [], [sent]]


def test_a_priority_is_no_vlan(run):
    switch = run(ports=[ACCESS_10, ACCESS_10, TRUNK])
    switch.hosts[0].send(frame(EVERYBODY, mac(0), tag(0xE000)))
    plain = frame(EVERYBODY, mac(0))
    assert switch.received() == [[], [plain], [frame(EVERYBODY, mac(0), tag(10))]]


@pytest.mark.parametrize("vlan", [10, 20, 4095])
@pytest.mark.parametrize("ethertype", ["8100", "88A8"])
def test_an_access_port_takes_no_tag(run, vlan, ethertype):
    switch = run(ports=[ACCESS_10, ACCESS_10, TRUNK])
    switch.hosts[0].send(frame(EVERYBODY, mac(0), tag(vlan, ethertype)))
    assert switch.received() == [[], [], []]
    assert switch.counters(0)["wrong_vlan"] == 1
    assert switch.addresses() == []


def test_no_frame_is_in_vlan_4095(run):
    switch = run(ports=[TRUNK, TRUNK])
    switch.hosts[0].send(frame(EVERYBODY, mac(0), tag(4095)))
    assert switch.received() == [[], []]
    assert switch.counters(0)["wrong_vlan"] == 1


def test_frames_of_a_qinq_port_have_its_tag_around_them_at_trunks(run):
    switch = run(ports=[QINQ, TRUNK, QINQ, {"type": "qinq", "vlan": 101, "ethertype": "0x88A8"}])
    for tags in ((), (tag(10),), (tag(7, "88A8"), tag(10)), (tag(0),), (tag(4095),)):
        switch.hosts[0].send(frame(EVERYBODY, mac(0), *tags))
        outside = frame(EVERYBODY, mac(0), tag(100, "88A8"), *tags)
        assert switch.received() == [[], [outside], [frame(EVERYBODY, mac(0), *tags)], []]


@pytest.mark.parametrize("tags", [(), (tag(10),)])
def test_the_tag_around_a_frame_is_taken_off_where_it_comes_out(run, tags):
    switch = run(ports=[QINQ, TRUNK, ACCESS_10])
    for ethertype in ("88A8", "8100"):
        switch.hosts[1].send(frame(EVERYBODY, mac(1), tag(100, ethertype), *tags))
        assert switch.received() == [[frame(EVERYBODY, mac(1), *tags)], [], []]
    switch.hosts[0].send(frame(mac(1), mac(0), *tags))
    assert switch.received() == [[], [frame(mac(1), mac(0), tag(100, "88A8"), *tags)], []]


def test_trunks_carry_frames_with_two_tags_as_they_are(run):
    switch = run(ports=[TRUNK, TRUNK, {}])
    sent = frame(EVERYBODY, mac(0), tag(100, "88A8"), tag(10))
    switch.hosts[0].send(sent)
    assert switch.received() == [[], [sent], []]
    assert switch.addresses() == [(100, mac(0).hex(":"), 0)]


@pytest.mark.parametrize("size", [14, 17])
def test_a_qinq_port_does_not_look_at_tags(run, size):
    switch = run(ports=[QINQ, QINQ])
    sent = frame(EVERYBODY, mac(0), tag(10))[:size]
    switch.hosts[0].send(sent)
    assert switch.received() == [[], [sent]]
