"""The link panel as a process, with real sockets at both ends of each link."""

from __future__ import annotations

import itertools
import os
import resource
import socket
import time
from collections import Counter
from functools import partial

import pytest
from link_panel import Wire, panel_process
from pcap_files import frames_of, read_file
from waiting import until

from gns3server.links.panel.impairments import generator_for, make_impairment
from gns3server.running.helper_client import HelperFailed
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


async def test_an_end_that_is_away_is_waited_for(panel, wire):
    wanted = wire.wanted()
    wire.second.close()
    assert await panel.state(wanted) == {}
    wire.first.send(*numbered(100))
    await panel.settled(100)
    wire.second.open()
    wire.second.plug_in(wanted["ends"][1]["local_port"])
    wire.first.send(b"frame")
    assert await wire.second.receive() == [b"frame"]


async def test_a_link_that_stays_the_same_loses_nothing_while_others_come_and_go(panel, make_wire):
    wire, other = make_wire("one"), make_wire("other")
    await panel.state(wire.wanted())
    for number in range(20):
        wire.first.send(*numbered(100))
        others = [other.wanted()] if number % 2 else []
        assert await panel.state(wire.wanted(), *others) == {}
        assert await wire.second.receive(100) == numbered(100)


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


async def test_an_end_that_moves_is_followed(panel, make_wire):
    wire, other = make_wire("one"), make_wire("other")
    await panel.state(wire.wanted())
    moved = wire.wanted()
    moved["ends"][1]["remote_port"] = other.second.port
    other.second.plug_in(moved["ends"][1]["local_port"])
    assert await panel.state(moved) == {}
    wire.first.send(b"frame")
    assert await other.second.receive() == [b"frame"]


async def test_a_link_without_a_relay_cannot_be_filtered(panel, wire):
    wanted = wire.wanted(relay=False, filters={"delay": {"latency": 1}})
    message = "a link without a relay can be neither filtered nor suspended"
    assert await panel.state(wanted) == {wire.id: message}


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


# Filters --------------------------------------------------------------------------


async def passed(panel, wire, frames, sent=0):
    """What of these frames the second end gets; none may be kept back for long."""
    got = []
    for begin in range(0, len(frames), 100):
        wire.first.send(*frames[begin : begin + 100])
        sent += len(frames[begin : begin + 100])
        await panel.settled(sent)
        got += wire.second.waiting()
    return got


def surviving(frames, name, seed=7, direction="first", **values):
    """What a filter leaves of frames."""
    return make_impairment(name, values, generator_for(seed, direction, name), Counter())(frames)


async def test_the_same_frames_are_lost_for_the_same_seed_after_a_crash_as_well(tmp_path, wire):
    frames = numbered(1000)
    wanted = wire.wanted(filters={"packet_loss": {"chance": 20}})
    for _ in range(2):
        async with panel_process(tmp_path / "panel") as panel:
            assert await panel.state(wanted) == {}
            assert await passed(panel, wire, frames) == surviving(frames, "packet_loss", chance=20)
            status = await panel.status()
            assert status["ends"][0]["affected"]["packet_loss"] > 100
            panel.process.kill()


async def test_a_change_beside_a_filter_leaves_it_where_it_is_and_the_other_direction_too(
    panel, wire
):
    frames = numbered(600)
    loss = {"packet_loss": {"chance": 20, "direction": "first"}}
    await panel.state(wire.wanted(filters=loss))
    got = await passed(panel, wire, frames[:300])
    other = {"delay": {"latency": 1, "direction": "second"}, "frequency_drop": {"frequency": 0}}
    await panel.state(wire.wanted(filters={**loss, **other}))
    got += await passed(panel, wire, frames[300:], 300)
    assert got == surviving(frames, "packet_loss", chance=20)
    wire.second.send(*frames[:100])
    assert await wire.first.receive(100) == frames[:100]


async def test_every_nth_frame_is_lost_and_bits_are_turned_over(panel, wire):
    frames = numbered(200)
    filters = {"frequency_drop": {"frequency": 4}, "corrupt": {"chance": 50}}
    await panel.state(wire.wanted(filters=filters))
    left = surviving(surviving(frames, "frequency_drop", frequency=4), "corrupt", chance=50)
    assert await passed(panel, wire, frames) == left
    assert set(left) - set(frames)


async def test_no_frame_comes_before_its_delay_or_another_one(panel, wire):
    await panel.state(wire.wanted(filters={"delay": {"latency": 30, "jitter": 10}}))
    frames = numbered(100)
    sent = []
    for frame in frames:
        sent.append(time.monotonic())
        wire.first.send(frame)
    came = [(await wire.second.receive(), time.monotonic()) for _ in frames]
    assert [frame for (frame,), _ in came] == frames
    assert all(at - begun >= 0.020 for (_, at), begun in zip(came, sent, strict=True))


async def test_a_rate_loses_what_its_queue_has_no_room_for(panel, wire):
    # 1,000 bytes take a second, and one may wait.
    await panel.state(wire.wanted(filters={"rate": {"kbit_per_s": 8, "queue_ms": 500}}))
    wire.first.send(*[bytes(1000)] * 3)

    async def come():
        return (await panel.status())["ends"][0]["frames"] == 3

    await until(come)
    end = (await panel.status())["ends"][0]
    assert (end["affected"]["rate"], end["waiting_frames"]) == (2, 1)


async def test_what_waits_is_let_go_in_order_when_the_delay_is_taken_away(panel, wire):
    await panel.state(wire.wanted(filters={"delay": {"latency": 30_000}}))
    frames = numbered(100)
    wire.first.send(*frames[:50])

    async def waiting(count):
        return (await panel.status())["ends"][0]["waiting_frames"] == count

    await until(partial(waiting, 50))
    # A shorter one first, but still too long to wait for.
    await panel.state(wire.wanted(filters={"delay": {"latency": 20_000}}))
    wire.first.send(*frames[50:])
    await until(partial(waiting, 100))
    await panel.state(wire.wanted(filters={}))
    assert await wire.second.receive(100) == frames


async def test_what_waits_comes_soon_when_the_delay_is_made_short(panel, wire):
    await panel.state(wire.wanted(filters={"delay": {"latency": 32_000}}))
    frames = numbered(50)
    wire.first.send(*frames)

    async def waiting():
        return (await panel.status())["ends"][0]["waiting_frames"] == 50

    await until(waiting)
    await panel.state(wire.wanted(filters={"delay": {"latency": 1}}))
    assert await wire.second.receive(50) == frames


async def test_a_suspended_link_carries_nothing_and_goes_on_with_what_comes_later(panel, wire):
    await panel.state(wire.wanted(suspended=True))
    assert await passed(panel, wire, numbered(50)) == []
    await panel.state(wire.wanted())
    wire.first.send(b"frame")
    assert await wire.second.receive() == [b"frame"]
    assert (await panel.status())["ends"][0]["affected"] == {"suspended": 50}


# Captures -------------------------------------------------------------------------


@pytest.fixture(name="path")
def name_file(tmp_path):
    """The file of a capture."""
    return tmp_path / "file.pcap"


def capture(path, **more):
    return {"path": str(path), "max_bytes": 100_000_000, **more}


async def test_a_capture_has_all_frames_of_both_ends_in_order(panel, wire, path):
    assert await panel.state(wire.wanted(capture=capture(path))) == {}
    expected = []
    for frame in numbered(300):
        wire.first.send(frame)
        assert await wire.second.receive() == [frame]
        wire.second.send(frame + b"back")
        assert await wire.first.receive() == [frame + b"back"]
        expected += [frame, frame + b"back"]
    await panel.state(wire.wanted(capture=None))
    assert frames_of(path) == expected


async def test_a_capture_has_what_filters_lose_but_nothing_of_a_suspended_link(panel, wire, path):
    lost = {"frequency_drop": {"frequency": -1}}
    frames = numbered(300)
    await panel.state(wire.wanted(capture=capture(path), filters=lost))
    assert await passed(panel, wire, frames[:100]) == []
    await panel.state(wire.wanted(capture=capture(path), suspended=True))
    assert await passed(panel, wire, frames[100:200], 100) == []
    await panel.state(wire.wanted(capture=capture(path)))
    assert await passed(panel, wire, frames[200:], 200) == frames[200:]
    await panel.state()
    assert frames_of(path) == frames[:100] + frames[200:]


async def test_a_capture_keeps_as_much_of_a_frame_as_is_wanted(panel, wire, path):
    await panel.state(wire.wanted(capture=capture(path, snapshot_length=70)))
    wire.first.send(bytes(60), bytes(1514))
    await wire.second.receive(2)
    await panel.state()
    assert [(each.length, len(each.frame)) for each in read_file(path)] == [(60, 60), (1514, 70)]


@pytest.mark.heavy
@pytest.mark.parametrize("torn", [0, 1, 20])
async def test_a_restarted_panel_appends_to_a_capture_and_cuts_off_what_is_torn(
    tmp_path, wire, path, torn
):
    frames = numbered(40)
    wanted = wire.wanted(capture=capture(path))
    async with panel_process(tmp_path / "panel") as panel:
        await panel.state(wanted)
        assert await passed(panel, wire, frames[:20]) == frames[:20]
        await until(partial(has_size, path, 24 + 20 * 76))
        panel.process.kill()
    with path.open("ab") as stream:
        stream.write(path.read_bytes()[24:][:torn])
    async with panel_process(tmp_path / "panel") as panel:
        assert await panel.state(wanted) == {}
        assert await passed(panel, wire, frames[20:]) == frames[20:]
    # It was asked to end, and has written everything first.
    assert frames_of(path) == frames
    assert not panel.path.exists()


async def has_size(path, size):
    return path.stat().st_size == size


async def test_a_capture_ends_at_its_bound_and_the_link_goes_on(panel, wire, path):
    wanted = wire.wanted(capture=capture(path, max_bytes=24 + 3 * 76 + 75))
    await panel.state(wanted)
    async with panel.following() as stream:
        assert await passed(panel, wire, numbered(10)) == numbered(10)
        reason = f"the file has reached its bound of {24 + 3 * 76 + 75} bytes"
        assert await panel.event() == ("capture_ended", {"link": wire.id, "reason": reason})
        await stream.rest()
    assert frames_of(path) == numbered(3)
    # The same again is no new capture.
    assert await panel.state(wanted) == {}
    assert (await panel.status())["capture"]["ended"] == reason
    assert await passed(panel, wire, numbered(10), 10) == numbered(10)


async def test_a_full_disk_ends_a_capture_with_whole_records_and_the_link_goes_on(
    panel, wire, path
):
    _, hard = resource.prlimit(panel.process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(panel.process.pid, resource.RLIMIT_FSIZE, (1000, hard))
    await panel.state(wire.wanted(capture=capture(path)))
    frames = numbered(100)
    assert await passed(panel, wire, frames) == frames
    event, what = await panel.event()
    assert (event, what) == ("capture_ended", {"link": wire.id, "reason": "File too large"})
    assert frames_of(path) == frames[: (1000 - 24) // 76]
    assert await passed(panel, wire, frames, 100) == frames


async def test_a_removed_file_ends_a_capture_and_the_link_goes_on(panel, wire, path):
    await panel.state(wire.wanted(capture=capture(path)))
    assert await passed(panel, wire, numbered(10)) == numbered(10)
    path.unlink()
    assert await passed(panel, wire, numbered(10), 10) == numbered(10)
    ended = {"link": wire.id, "reason": "the file was removed"}
    assert await panel.event() == ("capture_ended", ended)


async def test_a_file_that_is_no_capture_is_left_as_it_is(panel, wire, path):
    path.write_bytes(b"a diary of somebody else's")
    message = (
        f"{path} cannot be written: there is a file which is not a capture of Ethernet frames in "
        "nanoseconds"
    )
    assert await panel.state(wire.wanted(capture=capture(path))) == {wire.id: message}
    assert path.read_bytes() == b"a diary of somebody else's"
    # The link itself can be had.
    assert await passed(panel, wire, numbered(10)) == numbered(10)
    path.unlink()
    assert await panel.state(wire.wanted(capture=capture(path))) == {}


async def test_a_capture_follows_no_link_and_leads_to_no_pipe(panel, wire, path, tmp_path):
    aim = tmp_path / "aim"
    path.symlink_to(aim)
    reason = f"{path} cannot be written: it is a symbolic link"
    assert await panel.state(wire.wanted(capture=capture(path))) == {wire.id: reason}
    assert not aim.exists()
    path.unlink()
    os.mkfifo(path)
    reason = f"{path} cannot be written: it is not a regular file"
    assert await panel.state(wire.wanted(capture=capture(path))) == {wire.id: reason}


async def test_a_capture_stays_beneath_a_directory_and_makes_what_is_missing(panel, wire, tmp_path):
    project, elsewhere = tmp_path / "project", tmp_path / "elsewhere"
    project.mkdir()
    elsewhere.mkdir()
    (project / "link").symlink_to(elsewhere)

    async def failed(path):
        wanted = wire.wanted(capture=capture(path, beneath=str(project)))
        return (await panel.state(wanted)).get(wire.id, "")

    assert "Not a directory" in await failed(project / "link" / "file.pcap")
    assert "it is not in" in await failed(elsewhere / "file.pcap")
    assert "its name leads elsewhere" in await failed(project / ".." / "elsewhere" / "file.pcap")
    assert await failed(project / "captures" / "file.pcap") == ""
    assert list(elsewhere.iterdir()) == []
    await panel.state()
    assert frames_of(project / "captures" / "file.pcap") == []


async def test_two_captures_never_write_one_file(panel, make_wire, path):
    wires = [make_wire("one"), make_wire("other")]
    failed = await panel.state(*(wire.wanted(capture=capture(path)) for wire in wires))
    assert list(failed.values()) == [f"{path} cannot be written: another capture writes to it"]


# Followers ------------------------------------------------------------------------


async def test_a_follower_gets_the_last_seconds_first_and_then_everything(panel, wire, path):
    await panel.state(wire.wanted(capture=capture(path)))
    frames = numbered(30)
    assert await passed(panel, wire, frames[:10]) == frames[:10]
    async with panel.following() as first:
        assert [each.frame for each in await first.records(10)] == frames[:10]
        assert await passed(panel, wire, frames[10:20], 10) == frames[10:20]
        async with panel.following() as second:
            assert await passed(panel, wire, frames[20:], 20) == frames[20:]
            for stream in (first, second):
                assert [each.frame for each in await stream.records(30)] == frames
            await panel.state(wire.wanted())
            assert [each.frame for each in await second.rest()] == frames
    assert frames_of(path) == frames


async def test_a_follower_that_does_not_read_is_dropped_and_nobody_else_notices(panel, wire, path):
    lost = {"frequency_drop": {"frequency": -1}}
    await panel.state(wire.wanted(capture=capture(path), filters=lost))
    frames = numbered(400, 65507)
    async with panel.following() as stuck, panel.following() as stream:
        for number, frame in enumerate(frames, 1):
            wire.first.send(frame)
            await stream.records(number)
        assert [each.frame for each in await stream.records(400)] == frames
        assert (await panel.status())["capture"]["followers"] == 1
        assert len(await stuck.rest()) < 400
    await panel.state()
    assert [each.frame for each in read_file(path)] == frames


async def test_what_cannot_be_followed_is_said(panel, wire):
    await panel.state(wire.wanted())
    for link, message in (
        ("other", "there is no such link"),
        (wire.id, "this link is not being captured"),
        ([1], "there is no such link"),
    ):
        with pytest.raises(HelperFailed, match=message):
            await panel.call("follow", link=link)


# Links without a relay ------------------------------------------------------------


def may_sniff():
    """Whether this process may see what passes an interface."""
    try:
        socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0).close()
    except PermissionError:
        return False
    return True


@pytest.mark.skipif(not may_sniff(), reason="this user may not see what passes an interface")
async def test_a_direct_link_is_captured_without_being_touched(panel, wire, make_wire, path):
    other = make_wire("other")
    wire.first.plug_in(wire.second.port)
    wire.second.plug_in(wire.first.port)
    assert await panel.state(wire.wanted(relay=False, capture=capture(path)), other.wanted()) == {}
    expected = []
    for length in (0, 60, 1514, 65507):
        wire.first.send(bytes([1]) * length)
        assert await wire.second.receive() == [bytes([1]) * length]
        wire.second.send(bytes([2]) * length)
        assert await wire.first.receive() == [bytes([2]) * length]
        expected += [bytes([1]) * length, bytes([2]) * length]
        # What passes elsewhere is not seen.
        other.first.send(b"elsewhere")
        await other.second.receive()
    assert (await panel.status())["sniffed"] == {"receive_lost": 0}
    # What has arrived when a capture ends is in it, even what comes faster than it is looked at.
    for _ in range(100):
        wire.first.send(b"last")
        await wire.second.receive()
    await panel.state(other.wanted())
    assert frames_of(path) == [*expected, *[b"last"] * 100]


async def test_who_lacks_the_right_is_told_what_would_help(tmp_path, wire, path):
    without = ("setpriv", "--bounding-set=-net_raw", "--inh-caps=-net_raw") if may_sniff() else ()
    async with panel_process(tmp_path / "panel", *without) as panel:
        wanted = wire.wanted(relay=False, capture=capture(path))
        assert await panel.state(wanted) == {
            wire.id: "a link without a relay can only be captured with the right CAP_NET_RAW, "
            "which this process does not have: give the server that right, or have the link "
            "relayed (set its path; if it is two NIOs that match, delete it, and make a link "
            "between the same ports)"
        }
        assert not path.exists()
        # Which it is, at once.
        assert await panel.state(wire.wanted(capture=capture(path))) == {}
        assert await passed(panel, wire, numbered(10)) == numbered(10)


# What nobody should ask for -------------------------------------------------------


async def test_a_link_that_cannot_be_is_refused_and_others_are_not(panel, make_wire):
    wire, other = make_wire("one"), make_wire("other")
    for change, message in (
        ({"ends": [{}, {}]}, "'local_port' must be a whole number from 1 to 65535"),
        ({"filters": {"smoke": {}}}, "there is no filter 'smoke'"),
        ({"host": "192.0.2.1"}, "of 192.0.2.1 cannot be used: Cannot assign requested address"),
        ({"capture": capture("/")}, "Is a directory"),
        ({"capture": capture("/\ud800")}, "cannot be written"),
        ({"capture": capture("/" + "a" * 5000)}, "File name too long"),
    ):
        failed = await panel.state({**wire.wanted(), **change}, other.wanted())
        assert [*failed] == [wire.id]
        assert message in failed[wire.id]
        other.first.send(b"frame")
        assert await other.second.receive() == [b"frame"]


async def test_a_state_that_is_none_changes_nothing(panel, wire):
    await panel.state(wire.wanted())
    states: list[object] = [None, {}, [1], [{"id": "x"}, {"id": "x"}]]
    for links in states:
        with pytest.raises(HelperFailed, match=r"'links' must be|each link must|two links"):
            await panel.call("state", number=1, links=links)
    wire.first.send(b"frame")
    assert await wire.second.receive() == [b"frame"]


async def test_a_link_whose_new_wish_is_wrong_stays_as_it_was(panel, wire):
    await panel.state(wire.wanted(filters={"frequency_drop": {"frequency": 2}}))
    assert wire.id in await panel.state(wire.wanted(filters={"smoke": {}}))
    frames = numbered(10)
    assert await passed(panel, wire, frames) == surviving(frames, "frequency_drop", frequency=2)


async def test_the_status_tells_what_has_become_of_frames(panel, wire):
    await panel.state(wire.wanted())
    await passed(panel, wire, numbered(10))
    status = await panel.status()
    granted = status["ends"][0].pop("receive_buffer")
    assert granted >= 65536
    assert status["ends"][0] == {
        "frames": 10,
        "bytes": 600,
        "affected": {},
        "unsent": 0,
        "waiting_frames": 0,
        "waiting_bytes": 0,
        "receive_lost": 0,
    }
    assert (status["relayed"], status["sniffed"], status["capture"]) == (True, None, None)
