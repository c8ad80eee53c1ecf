"""A loop of wires: floods are limited, and that is told."""

from __future__ import annotations

from typing import Any

import pytest
from ethernet_program import EVERYBODY, frame, mac
from gns3server_ethernet.switch.flooding import BURST, CALM, REPEAT, FloodLimit


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
    # Both still do what they are for.
    one.hosts[0].send(frame(mac(7), mac(0)))
    assert len(other.call("counters")) == 3
    assert b"flooding is limited to 100 frames a second" in one.log()


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
