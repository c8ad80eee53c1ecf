"""Links that the link panel relays: filtered, suspended, captured, and outliving the server."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import struct
from pathlib import Path

import aiohttp
import pytest
from api_calls import ID, PROJECT, new_project, new_toy, take
from link_calls import (
    ask_for_link,
    connect,
    emulated,
    end,
    id_of,
    links,
    pair,
    passes,
    told,
    wires,
)

pytestmark = pytest.mark.heavy

FRAME = b"\x00\x50\x79\x66\x68\x01" + b"\x00\x50\x79\x66\x68\x00" + b"\x08\x00" + b"hello" * 10


@pytest.fixture
async def toys(make_toy):
    """The paths of two toys."""
    return [await make_toy(name=name) for name in ("one", "two")]


@pytest.fixture
async def link(client, project, toys):
    """The path of a relayed link between them."""
    made = await connect(client, project, *toys, path="relayed")
    return f"{project}/links/{made['link_id']}"


@pytest.fixture
def panel_pid(lab, project):
    """Tells the process id of the project's link panel."""
    return lambda: lab.projects.get(id_of(project)).wires.panel_pid


async def put(client, link, values, status=200):
    answer = await client.put(link, values)
    assert answer.status == status, answer.body
    return answer.json if status == 200 else answer.json["message"]


async def capture(client, link, status=201, **values):
    answer = await client.post(f"{link}/capture", values)
    assert answer.status == status, answer.body
    return answer.json if status == 201 else answer.json["message"]


async def stop_capture(client, link):
    assert (await client.delete(f"{link}/capture")).status == 204


def frames_of(data: bytes) -> list[bytes]:
    """The frames of a pcap file with nanosecond stamps."""
    assert struct.unpack_from("=I", data)[0] == 0xA1B23C4D
    frames, at = [], 24
    while at < len(data):
        _, _, size, _ = struct.unpack_from("=IIII", data, at)
        frames.append(data[at + 16 : at + 16 + size])
        at += 16 + size
    return frames


async def file_of(client, project, name):
    """What is in a capture's file."""
    path = Path((await client.get(project)).json["path"]) / "captures" / name
    return frames_of(path.read_bytes())


# What is between the ends -----------------------------------------------------------------


async def test_auto_relays_what_cannot_be_rewired_while_it_runs(client, project, toys):
    made = await connect(client, project, *toys, path="auto")
    assert (made["wanted_path"], made["path"]) == ("auto", "relayed")
    async with emulated(client, project, *toys) as (one, other):
        await passes(one, other, FRAME)


async def test_the_panel_s_ports_come_from_the_top_of_the_range(server, client, link, project):
    settings = server.settings.server
    rports = {nio["rport"] for (nio,) in (await wires(client, project)).values()}
    assert max(rports) == settings.udp_end_port_range
    assert all(map(server.ports.udp.holders, rports))
    assert (await client.delete(link)).status == 204
    assert len(server.ports.udp) == 0


async def test_a_relayed_link_passes_frames_both_ways(client, project, toys, link):
    async with emulated(client, project, *toys) as (one, other):
        for _ in range(3):
            await passes(one, other, FRAME)


async def test_the_panel_is_there_while_it_is_needed(server, client, project, toys, panel_pid):
    assert panel_pid() is None
    first = await connect(client, project, *toys, path="relayed")
    pid = panel_pid()
    assert pid is not None
    second = await connect(client, project, *[end(toy, 1) for toy in toys], path="relayed")
    assert panel_pid() == pid
    for made in (first, second):
        assert (await client.delete(f"{project}/links/{made['link_id']}")).status == 204
    assert (await client.post(f"{project}/close")).status == 204
    assert server.processes() == {}


async def test_the_path_of_a_link_is_changed(server, client, project, toys, link):
    direct = await put(client, link, {"path": "direct"})
    assert (direct["wanted_path"], direct["path"]) == ("direct", "direct")
    assert len(server.ports.udp) == 2
    async with emulated(client, project, *toys) as (one, other):
        await passes(one, other, FRAME)
    assert (await put(client, link, {"path": "relayed"}))["path"] == "relayed"
    async with emulated(client, project, *toys) as (one, other):
        await passes(one, other, FRAME)


async def test_a_running_node_takes_another_path_at_its_next_start(client, project, toys, link):
    assert (await client.post(f"{toys[0]}/start")).status == 204
    assert (await client.get(link)).json["at_next_start"] == []
    changed = await put(client, link, {"path": "direct"})
    assert changed["at_next_start"] == [id_of(toys[0])]
    assert (await put(client, link, {"path": "relayed"}))["at_next_start"] == []


HOT = """
import dataclasses
@hookimpl
def gns3_node_types(_plain=gns3_node_types):
    return [dataclasses.replace(_plain()[0], capabilities=frozenset({"hot_wiring"}))]
async def wire_changed(self, adapter, port, nio):
    await self.project.publish("toy.wired", nio.wire())
ToyNode.wire_changed = wire_changed
"""


async def test_a_link_of_nodes_that_can_be_rewired_is_moved_over_and_back(
    gns3_serving, faulty_plugin
):
    toy = faulty_plugin(HOT, name="toy", source="toy_emulator.py")
    async with gns3_serving(plugins=[toy]) as server:
        client, project = server.client, await new_project(server.client)
        toys = [await new_toy(client, project) for _ in range(2)]
        assert (await client.post(f"{toys[0]}/start")).status == 204
        made = await connect(client, project, *toys, path="auto")
        link, top = f"{project}/links/{made['link_id']}", server.settings.server.udp_end_port_range
        assert made["path"] == "direct"
        async with told(client, project) as events:
            shown = await put(client, link, {"filters": {"delay": {"latency": 1}}})
            assert (shown["path"], shown["at_next_start"]) == ("relayed", [])
            (_, updated), *wired = await take(events, 3)
            assert updated == shown
            assert {event["rport"] for _, event in wired} == {top, top - 1}
            assert (await put(client, link, {"filters": {"delay": None}}))["path"] == "direct"
            _, *wired = await take(events, 3)
            assert {event["rport"] for _, event in wired} == {e["lport"] for _, e in wired}
        assert len(server.ports.udp) == 2
        assert (await capture(client, link, file="a"))["path"] == "relayed"
        await stop_capture(client, link)
        assert (await client.get(link)).json["path"] == "direct"


async def test_the_setting_says_what_new_links_are(gns3_serving, make_entry_point):
    toy = make_entry_point("toy", "toy_emulator")
    async with gns3_serving(plugins=[toy], link_path="direct") as server:
        client, project = server.client, await new_project(server.client)
        toys = [await new_toy(client, project) for _ in range(2)]
        answer = await client.post(f"{project}/links", {"ends": [end(toy) for toy in toys]})
        assert (answer.json["wanted_path"], answer.json["path"]) == ("direct", "direct")


async def test_a_port_of_the_panel_that_a_stranger_has(server, client, project, toys, monkeypatch):
    async def can_bind(kind, port):
        return True

    top = server.settings.server.udp_end_port_range
    monkeypatch.setattr(server.running.server.machine, "can_bind", can_bind)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        stranger.bind(("127.0.0.1", top))
        answer = await ask_for_link(client, project, *toys, path="relayed")
        assert answer.status == 409
        assert f"UDP port {top}" in answer.json["message"]
        assert await links(client, project) == []
        assert len(server.ports.udp) == 0
        made = await connect(client, project, *toys, path="direct")
        held, path = len(server.ports.udp), f"{project}/links/{made['link_id']}"
        async with told(client, project) as events:
            changed = await client.put(path, {"path": "auto", "suspended": True})
            assert changed.status == 409
            assert f"UDP port {top}" in changed.json["message"]
            (_, tried), (_, undone) = await take(events, 2)
        assert (tried["path"], undone) == ("relayed", made)
        assert (await client.get(path)).json == made
        assert len(server.ports.udp) == held


# Filters ------------------------------------------------------------------------------------


async def test_the_filters_are_listed(client, project):
    answer = await client.get(f"{project}/links/filters")
    assert answer.status == 200
    listed = {each["type"]: each for each in answer.json}
    assert set(listed) == {"frequency_drop", "packet_loss", "corrupt", "rate", "delay"}
    for each in listed.values():
        assert each["description"].endswith(".")
    (chance,) = listed["packet_loss"]["parameters"]
    assert (chance["name"], chance["unit"], chance["minimum"], chance["maximum"]) == (
        "chance",
        "%",
        0,
        100,
    )


async def test_filters_are_added_changed_and_taken_away(client, project, link):
    async with told(client, project) as events:
        shown = await put(client, link, {"filters": {"delay": {"latency": 10}}})
        assert shown["filters"] == {"delay": {"latency": 10, "jitter": 0, "direction": "both"}}
        assert await anext(events) == ("link.updated", shown)
        shown = await put(client, link, {"filters": {"packet_loss": {"chance": 5}}})
        assert set(shown["filters"]) == {"delay", "packet_loss"}
        shown = await put(client, link, {"filters": {"delay": {"latency": 20}}})
        assert shown["filters"]["delay"]["latency"] == 20
        shown = await put(client, link, {"filters": {"packet_loss": None}, "seed": 5})
        assert (set(shown["filters"]), shown["seed"]) == ({"delay"}, 5)
        assert await put(client, link, {}) == shown
        assert [action for action, _ in await take(events, 3)] == ["link.updated"] * 3


@pytest.mark.parametrize(
    ("filters", "said"),
    [
        ({"bogus": {"chance": 5}}, "no filter 'bogus'"),
        ({"bogus": None}, "no filter 'bogus'"),
        ({"packet_loss": {"chance": 101}}, "from 0 to 100"),
        ({"packet_loss": {}}, "'chance' of the filter 'packet_loss' is missing"),
        ({"packet_loss": {"chance": 5, "direction": "up"}}, "both, first, second"),
        ({"packet_loss": 5}, "packet_loss"),
        (5, "filters"),
        (None, "filters"),
    ],
)
async def test_unfit_filters_change_nothing(client, link, filters, said):
    before = await put(client, link, {"filters": {"packet_loss": {"chance": 1}}})
    assert said in await put(client, link, {"suspended": True, "filters": filters}, status=400)
    assert (await client.get(link)).json == before


async def test_a_filter_works_at_once(client, project, toys, link):
    async with emulated(client, project, *toys) as (one, other):
        await passes(one, other, FRAME)
        await put(client, link, {"filters": {"packet_loss": {"chance": 100, "direction": "first"}}})
        await one.send(b"lost")
        # What comes after it passes, so the panel has taken it.
        await other.send(FRAME)
        assert await one.get() == FRAME
        await put(client, link, {"filters": {"packet_loss": None}})
        await passes(one, other, FRAME)


async def test_a_suspended_link_carries_nothing(client, project, toys, link):
    async with emulated(client, project, *toys) as (one, other):
        assert (await put(client, link, {"suspended": True}))["suspended"] is True
        for wire in (one, other):
            await wire.send(b"lost")
        # The panel is told something else after it has taken these.
        await put(client, link, {"seed": 1})
        assert (await put(client, link, {"suspended": False}))["suspended"] is False
        await passes(one, other, FRAME)


async def test_a_direct_link_says_what_would_help(client, project, toys):
    made = await connect(client, project, *toys)
    path = f"{project}/links/{made['link_id']}"
    for values in ({"suspended": True}, {"filters": {"delay": {"latency": 1}}}):
        message = await put(client, path, values, status=409)
        assert "set its path to auto or relayed" in message
        assert (await client.get(path)).json == made
        shown = await put(client, path, {**values, "path": "auto"})
        assert shown["path"] == "relayed"
        await put(client, path, {"suspended": False, "filters": {"delay": None}, "path": "direct"})


async def test_a_pair_of_nios_says_what_would_help(client, project, toys):
    await pair(client, project, *toys)
    (found,) = await links(client, project)
    path = f"{project}/links/{found['link_id']}"
    for values in (
        {"suspended": True},
        {"filters": {"delay": {"latency": 1}}},
        {"path": "relayed"},
    ):
        message = await put(client, path, values, status=409)
        assert "make a link between the same ports" in message
    assert await put(client, path, {"suspended": False, "filters": {}, "path": "direct"}) == found


async def test_a_link_begins_filtered_and_suspended(client, project, toys):
    filters = {"packet_loss": {"chance": 100}}
    made = await connect(client, project, *toys, path="auto", filters=filters, suspended=True)
    assert (made["suspended"], set(made["filters"])) == (True, {"packet_loss"})
    answer = await ask_for_link(
        client, project, *[end(toy, 1) for toy in toys], path="direct", suspended=True
    )
    assert answer.status == 409


# Captures -----------------------------------------------------------------------------------


async def test_a_capture_is_a_file_of_the_project(client, project, toys, link):
    async with emulated(client, project, *toys) as (one, other), told(client, project) as events:
        shown = await capture(client, link, file="uplink")
        assert shown["capture"] == {
            "file": "captures/uplink.pcap",
            "snapshot_length": 262144,
            "max_bytes": 2**30,
        }
        assert await anext(events) == ("link.updated", shown)
        await passes(one, other, FRAME)
        await stop_capture(client, link)
        action, ended = await anext(events)
        assert (action, ended["capture"]) == ("link.updated", None)
        assert await file_of(client, project, "uplink.pcap") == [FRAME, FRAME]
        answer = await client.get(f"{project}/files/captures/uplink.pcap")
        assert frames_of(answer.body) == [FRAME, FRAME]
        await stop_capture(client, link)


async def test_a_name_that_is_taken_is_not_overwritten_unless_asked_for(client, project, link):
    await capture(client, link, file="a.pcap")
    assert "captures/a.pcap already" in await capture(client, link, 409, file="b.pcap")
    await stop_capture(client, link)
    message = await capture(client, link, 409, file="a")
    assert "captures/a.pcap is there already" in message
    assert (await client.get(link)).json["capture"] is None
    await capture(client, link, file="a", overwrite=True)
    await stop_capture(client, link)
    directory = Path((await client.get(project)).json["path"]) / "captures"
    assert [entry.name for entry in directory.iterdir()] == ["a.pcap"]
    (directory / "b.pcap").mkdir()
    assert "is a directory" in await capture(client, link, 409, file="b", overwrite=True)


async def test_a_file_stays_if_what_would_overwrite_it_does_not_begin(
    client, project, link, read_only_records
):
    directory = Path((await client.get(project)).json["path"]) / "captures"
    directory.mkdir()
    (directory / "a.pcap").write_bytes(b"ours")
    async with read_only_records(project):
        await capture(client, link, 507, file="a", overwrite=True)
    assert (directory / "a.pcap").read_bytes() == b"ours"
    assert [entry.name for entry in directory.iterdir()] == ["a.pcap"]


async def test_two_links_do_not_write_one_file(client, project, toys, link):
    made = await connect(client, project, *[end(toy, 1) for toy in toys], path="relayed")
    await capture(client, link, file="a")
    other = f"{project}/links/{made['link_id']}"
    message = await capture(client, other, 409, file="a", overwrite=True)
    assert "Another link" in message
    await capture(client, other, file="b")


async def test_a_capture_without_a_name_gets_one(client, project, link):
    first = (await capture(client, link))["capture"]["file"]
    await stop_capture(client, link)
    second = (await capture(client, link))["capture"]["file"]
    assert (first, second) == ("captures/one_to_two.pcap", "captures/one_to_two-2.pcap")


@pytest.mark.parametrize(
    "values",
    [
        {"file": "../a"},
        {"file": "a/b"},
        {"file": ""},
        {"file": "."},
        {"file": ".hidden"},
        {"file": "x" * 101},
        {"file": "a\0"},
        {"file": "a\nb"},
        {"snapshot_length": 0},
        {"snapshot_length": 262145},
        {"max_bytes": 10},
        {"overwrite": 1},
        {"unknown": 1},
    ],
)
async def test_unfit_captures_are_refused(client, project, link, values):
    assert (await client.post(f"{link}/capture", values)).status == 400
    assert (await client.get(link)).json["capture"] is None


async def test_a_capture_never_leaves_the_project(client, project, link, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    directory = Path((await client.get(project)).json["path"])
    (directory / "captures").symlink_to(outside)
    answer = await client.post(f"{link}/capture", {"file": "a"})
    assert answer.status == 500
    assert "captures" in answer.json["message"]
    (directory / "captures").unlink()
    (directory / "captures").mkdir()
    (directory / "captures" / "b.pcap").symlink_to(outside / "b.pcap")
    assert (await client.post(f"{link}/capture", {"file": "b"})).status == 409
    assert list(outside.iterdir()) == []
    assert (await client.get(link)).json["capture"] is None


async def test_a_capture_that_is_full_ends_and_says_so(client, project, toys, link):
    async with emulated(client, project, *toys) as (one, other):
        await capture(client, link, file="small", max_bytes=4096)
        async with told(client, project) as events:
            while (await client.get(link)).json["capture"] is not None:
                await passes(one, other, FRAME * 10)
            assert (await anext(events))[1]["capture"] is None
            action, error = await anext(events)
        assert action == "log.error"
        assert "has ended" in error["message"]
        answer = await client.get(f"{project}/files/captures/small.pcap")
        assert len(answer.body) <= 4096


async def follow(session, server, link):
    """Begin to follow a capture."""
    return await session.get(f"{server.url}{link}/capture")


async def test_any_number_of_readers_get_a_capture_from_the_header_on(
    server, client, project, toys, link
):
    async with emulated(client, project, *toys) as (one, other), aiohttp.ClientSession() as session:
        await capture(client, link, file="a")
        await passes(one, other, FRAME)
        readers = [await follow(session, server, link) for _ in range(3)]
        assert {reader.headers["Content-Type"] for reader in readers} == {
            "application/vnd.tcpdump.pcap"
        }
        await passes(one, other, b"later")
        await stop_capture(client, link)
        for reader in readers:
            assert frames_of(await reader.read()) == [FRAME, FRAME, b"later", b"later"]


async def test_what_is_not_captured_cannot_be_followed(client, link):
    answer = await client.get(f"{link}/capture")
    assert answer.status == 409
    assert "start a capture first" in answer.json["message"]
    assert (await client.get(link.replace(id_of(link), ID) + "/capture")).status == 404


@pytest.mark.parametrize("end_of_it", ["delete", "close"])
async def test_followers_are_let_go_with_what_they_follow(server, client, link, project, end_of_it):
    async with aiohttp.ClientSession() as session:
        await capture(client, link, file="a")
        reader = await follow(session, server, link)
        if end_of_it == "delete":
            assert (await client.delete(link)).status == 204
        else:
            assert (await client.post(f"{project}/close")).status == 204
        assert frames_of(await reader.read()) == []


async def test_a_pair_of_nios_is_captured_where_the_machine_allows_it(client, project, toys):
    await pair(client, project, *toys)
    (found,) = await links(client, project)
    path = f"{project}/links/{found['link_id']}"
    answer = await client.post(f"{path}/capture", {"file": "pair"})
    if answer.status == 409:
        assert "CAP_NET_RAW" in answer.json["message"]
        assert "make a link between the same ports" in answer.json["message"]
        assert (await client.get(path)).json == found
        return
    assert answer.json["capture"]["file"] == "captures/pair.pcap"
    async with emulated(client, project, *toys) as (one, other):
        await passes(one, other, FRAME)
    await stop_capture(client, path)
    assert await file_of(client, project, "pair.pcap") == [FRAME, FRAME]


async def test_a_captured_pair_that_is_parted_is_captured_no_more(client, project, toys, panel_pid):
    await pair(client, project, *toys)
    (found,) = await links(client, project)
    answer = await client.post(f"{project}/links/{found['link_id']}/capture", {"file": "pair"})
    if answer.status == 409:
        pytest.skip("no raw sockets here")
    assert (await client.delete(f"{toys[0]}/adapters/0/ports/0/nio")).status == 204
    assert await links(client, project) == []
    await pair(client, project, toys[0], toys[1], "1/0")


# Kills --------------------------------------------------------------------------------------


async def test_a_panel_that_is_killed_comes_back_with_all_it_did(
    client, project, toys, link, panel_pid
):
    await put(client, link, {"filters": {"packet_loss": {"chance": 100, "direction": "second"}}})
    await capture(client, link, file="a")
    async with emulated(client, project, *toys) as (one, other), told(client, project) as events:
        await one.send(FRAME)
        assert await other.get() == FRAME
        os.kill(panel_pid(), signal.SIGKILL)
        action, error = await anext(events)
        assert action == "log.error"
        assert "link panel has ended by itself" in error["message"]
        got = asyncio.ensure_future(other.get())
        while not got.done():
            await one.send(b"again")
            await client.get("/v1/version")
        assert got.result() == b"again"
        await other.send(b"lost")
        await put(client, link, {"filters": {"packet_loss": None}})
        await other.send(b"not lost")
        assert await one.get() == b"not lost"
    await stop_capture(client, link)
    frames = await file_of(client, project, "a.pcap")
    # What had not been written, or came before the file was open again, is not in it.
    assert frames[-2:] == [b"lost", b"not lost"]


async def test_a_link_goes_on_when_its_server_is_killed(serve):
    filters = {"packet_loss": {"chance": 100, "direction": "second"}}
    async with serve() as server:
        client = server.client
        await new_project(client, project_id=ID)
        toys = [await new_toy(client, PROJECT) for _ in range(2)]
        made = await connect(client, PROJECT, *toys, path="relayed", filters=filters)
        link = f"{PROJECT}/links/{made['link_id']}"
        await capture(client, link, file="a")
        before = (await client.get(link)).json
        async with emulated(client, PROJECT, *toys) as (one, other):
            await one.send(b"before")
            assert await other.get() == b"before"
            await server.kill()
            for number in range(20):
                await one.send(b"%d" % number)
                assert await other.get() == b"%d" % number
            await other.send(b"lost")
            async with serve() as second:
                client = second.client
                assert (await client.get(link)).json == before
                await put(client, link, {"filters": {"packet_loss": None}})
                await passes(one, other, b"after")
                await stop_capture(client, link)
                numbers = [b"%d" % number for number in range(20)]
                assert await file_of(client, PROJECT, "a.pcap") == [
                    b"before",
                    *numbers,
                    b"lost",
                    b"after",
                    b"after",
                ]


async def test_a_server_that_ends_leaves_no_panel(serving):
    async with serving() as server:
        client = server.client
        await new_project(client, project_id=ID)
        toys = [await new_toy(client, PROJECT) for _ in range(2)]
        made = await connect(client, PROJECT, *toys, path="relayed")
    assert server.processes() == {}
    async with serving() as server:
        client = server.client
        assert await links(client, PROJECT) == [made]
        async with emulated(client, PROJECT, *toys) as (one, other):
            got = asyncio.ensure_future(other.get())
            while not got.done():
                await one.send(FRAME)
                await client.get("/v1/version")
            assert got.result() == FRAME


async def test_a_project_that_moves_takes_its_links_along(client, toys, link, tmp_path, panel_pid):
    project = link.partition("/links/")[0]
    await capture(client, link, file="a")
    pid = panel_pid()
    async with emulated(client, project, *toys) as (one, other):
        await passes(one, other, FRAME)
        assert (await client.put(project, {"path": str(tmp_path / "new")})).status == 200
        await passes(one, other, b"moved")
    assert panel_pid() == pid
    await stop_capture(client, link)
    assert (await file_of(client, project, "a.pcap"))[-2:] == [b"moved", b"moved"]
    assert (await links(client, project))[0]["capture"] is None
