"""A loop of wires: floods are limited, and that is told."""

from __future__ import annotations

from typing import Any

import pytest
from ethernet_program import EVERYBODY, frame, mac
from gns3server_ethernet.switch.flooding import BURST, CALM, REPEAT, FloodLimit
from gns3server_ethernet.switch.port import Port
from gns3server_ethernet.switch.vlan import MOVES_SECONDS, PLAIN, REST_SECONDS, Entry, Restless
from gns3server_ethernet.switch.wanted import WantedPort


def settled(*bridges):
    """Wait until no frame goes round any more."""
    before, now = None, bridges[0].call("counters")
    while before != now:
        for bridge in bridges:
            # An answer is given after all that has come until then.
            bridge.call("counters")
        before, now = now, bridges[0].call("counters")


@pytest.mark.parametrize("kind", ["switch", "hub"])
def test_a_loop_of_two_wires_is_limited_and_told(run, kind):
    # Ports 1 and 2 of each lead to the other; a host is at port 0.
    limit = 100
    one = run(kind, name="one", flood_limit=limit)
    other = run(kind, name="other", flood_limit=limit)
    for here, there in ((one, other), (other, one)):
        wires = dict(here.wanted.wires)
        for port in (1, 2):
            wires[port] = wires[port]._replace(rport=there.wanted.wires[port].lport)
        here.configure(wires=wires)
    one.call("listen")
    one.hosts[0].send(frame(EVERYBODY, mac(0)))
    told = one.line()
    assert told["event"] == "flood_limited"
    values = told["with"]
    assert (values["over"], values["limit"]) == (False, limit)
    assert set(values["ports"]) <= {0, 1, 2}
    assert values["dropped"] >= 1
    # Frames to an address that has come back through the loop do not go round for ever.
    other.hosts[0].send(frame(mac(0), mac(1)))
    other.settle()
    settled(one, other)
    # Both still do what they are for.
    one.hosts[0].send(frame(mac(7), mac(0)))
    assert len(other.call("counters")) == 3
    assert b"flooding is limited to 100 frames a second" in one.log()


def test_an_address_whose_frames_come_back_through_a_loop_is_not_believed(run):
    switch = run()
    first, second, third = switch.hosts
    for host in (first, second, third):
        host.send(frame(EVERYBODY, mac(7)))
        switch.received()
    # A host may be moved, and be moved back.
    assert switch.addresses() == [(1, mac(7).hex(":"), 2)]
    first.send(frame(EVERYBODY, mac(7)))
    switch.received()
    assert switch.addresses() == []
    first.send(frame(EVERYBODY, mac(7)))
    second.send(frame(mac(7), second.mac))
    assert [len(frames) for frames in switch.received()] == [1, 1, 2]
    assert switch.addresses() == [(1, second.mac.hex(":"), 1)]
    # Whoever forgets all addresses, since the loop is gone, need not wait.
    switch.call("flush")
    first.send(frame(EVERYBODY, mac(7)))
    switch.settle()
    assert switch.addresses() == [(1, mac(7).hex(":"), 0)]


def test_an_address_that_stays_where_it_is_is_believed_again():
    here, there = (Port(WantedPort(number, f"e{number}")) for number in (1, 2))
    restless = Restless(here, 10.0)
    assert not restless.rests(there, 14.0)
    assert not restless.rests(there, 14.0 + REST_SECONDS - 0.5)
    assert restless.rests(there, 14.0 + REST_SECONDS)


def test_an_address_that_moves_now_and_then_is_believed():
    ports = [Port(WantedPort(number, f"e{number}")) for number in (1, 2)]
    entry = Entry(ports[0], PLAIN, 10.0)
    times = [10.0 + (MOVES_SECONDS + 0.5) * number for number in range(100)]
    assert all(entry.move(ports[n % 2], PLAIN, now) for n, now in enumerate(times))


def test_frames_to_known_addresses_are_not_limited(run):
    switch = run(flood_limit=1)
    first, second, third = switch.hosts
    second.send(frame(EVERYBODY, second.mac))
    third.send(frame(EVERYBODY, third.mac))
    switch.received()
    frames = [frame(second.mac, first.mac, text=b"%d" % number) for number in range(100)]
    first.send(*frames)
    assert switch.received()[1] == frames
    assert switch.counters(2)["limited"] == 1


class Told:
    """Keeps what is told."""

    def __init__(self):
        self.values: list[Any] = []
        self.limit = FloodLimit(self.values.append)


@pytest.fixture
def told():
    """A limit of 100 frames a second, and what it tells."""
    told = Told()
    told.limit.set(100)
    return told


def test_a_burst_passes_and_then_the_rate(told):
    limit = told.limit
    assert [limit.allow(10.0, 1) for _ in range(int(100 * BURST) + 1)][-2:] == [True, False]
    assert limit.active
    # An eighth of a second later there is room for twelve more.
    assert [limit.allow(10.125, 1) for _ in range(13)] == [True] * 12 + [False]
    # However long nothing comes, there is no more room than for a burst.
    assert sum(limit.allow(1000.0, 1) for _ in range(100)) == 100 * BURST


def test_what_is_limited_is_told_once_then_each_minute_and_at_its_end(told):
    limit = told.limit
    for _ in range(25):
        limit.allow(10.0, 3)
    limit.tick(10.0)
    first = {"over": False, "limit": 100, "dropped": 5, "ports": [3]}
    assert told.values == [first]
    for second in range(int(REPEAT)):
        for _ in range(101):
            limit.allow(10.0 + second, 4)
        limit.tick(10.0 + second)
    assert told.values == [first]
    limit.tick(10.0 + REPEAT)
    assert [(one["over"], one["ports"]) for one in told.values[1:]] == [(False, [3, 4])]
    limit.tick(10.0 + REPEAT + CALM)
    assert told.values[-1]["over"]
    assert not limit.active
