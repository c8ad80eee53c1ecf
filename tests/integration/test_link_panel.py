"""The link panel as a process, with real sockets at both ends of each link."""

from __future__ import annotations

import itertools

import pytest
from link_panel import Wire, panel_process
from pcap_files import frames_of

from gns3server.testing.port_blocks import claimed_ports


@pytest.fixture(name="ports")
def claim_ports():
    """Ports that nobody uses."""
    with claimed_ports() as block:
        yield iter(range(block.first, block.last + 1))


@pytest.fixture(name="make_wire")
def offer_make_wire(ports):
    """Makes wires, of an id for instance."""
    made = []

    def make(link_id="a-link"):
        made.append(Wire([*itertools.islice(ports, 4)], link_id))
        return made[-1]

    yield make
    for wire in made:
        wire.close()


@pytest.fixture(name="wire")
def make_one_wire(make_wire):
    """A wire that is called ``a-link``."""
    return make_wire()


@pytest.fixture(name="panel")
async def run_panel(tmp_path):
    """A panel without links."""
    async with panel_process(tmp_path / "panel") as panel:
        yield panel


def numbered(count, size=60):
    """Frames that can be told apart."""
    return [number.to_bytes(4, "big") + bytes(size - 4) for number in range(count)]


# Relays ---------------------------------------------------------------------------


async def test_frames_of_every_length_pass_in_both_directions_and_in_order(panel, wire):
    assert await panel.state(wire.wanted()) == {}
    frames = [
        bytes([length % 251]) * length for length in (0, 1, 60, 60, 60, 61, 1514, 9000, 65507)
    ]
    wire.first.send(*frames)
    assert await wire.second.receive(len(frames)) == frames
    wire.second.send(*reversed(frames))
    assert await wire.first.receive(len(frames)) == [*reversed(frames)]


async def test_an_end_that_comes_later_gets_the_first_frame_sent_after_that(panel, ports, wire):
    wanted = wire.wanted()
    port = wanted["ends"][1]["remote_port"]
    wire.second.close()
    assert await panel.state(wanted) == {}
    wire.first.send(*numbered(100))
    # The answer comes after the frames have been refused.
    assert (await panel.status())["relayed"]
    wire.second.__init__(port)
    wire.second.plug_in(wanted["ends"][1]["local_port"])
    frames = []
    while b"here" not in frames:
        wire.first.send(b"here")
        frames += await wire.second.receive()


async def test_a_link_that_stays_the_same_loses_nothing_while_others_come_and_go(panel, make_wire):
    wire, other = make_wire("one"), make_wire("other")
    await panel.state(wire.wanted())
    frames = numbered(2000)
    for number in range(0, 2000, 100):
        wire.first.send(*frames[number : number + 100])
        others = [other.wanted()] if number % 200 else []
        assert await panel.state(wire.wanted(), *others) == {}
    assert await wire.second.receive(len(frames)) == frames


async def test_a_link_that_is_not_named_any_more_gives_its_ports_up(panel, make_wire):
    wire, other = make_wire("one"), make_wire("other")
    assert await panel.state(wire.wanted()) == {}
    clash = {**other.wanted(), "ends": wire.wanted()["ends"]}
    failed = await panel.state(wire.wanted(), clash)
    port = clash["ends"][0]["local_port"]
    assert failed == {
        "other": f"UDP port {port} of 127.0.0.1 cannot be used: Address already in use"
    }
    assert await panel.state(clash) == {}
    wire.first.send(b"frame")
    assert await wire.second.receive() == [b"frame"]


# Captures -------------------------------------------------------------------------


async def test_a_capture_has_all_frames_of_both_ends_in_order(panel, wire, tmp_path):
    path = tmp_path / "file.pcap"
    capture = {"path": str(path), "max_bytes": 10_000_000}
    assert await panel.state(wire.wanted(capture=capture)) == {}
    expected = []
    for frame in numbered(300):
        wire.first.send(frame)
        assert await wire.second.receive() == [frame]
        wire.second.send(frame + b"back")
        assert await wire.first.receive() == [frame + b"back"]
        expected += [frame, frame + b"back"]
    await panel.state(wire.wanted(capture=None))
    assert frames_of(path) == expected


async def test_a_panel_ends_when_it_has_no_link_and_nobody_calls(panel, wire):
    await panel.state(wire.wanted())
    panel.hang_up()
    wire.first.send(b"frame")
    assert await wire.second.receive() == [b"frame"]
    await panel.connect()
    await panel.state()
    panel.hang_up()
    assert await panel.ended() == 0
    assert not panel.path.exists()
