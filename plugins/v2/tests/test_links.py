"""Links, and nodes that run."""

from __future__ import annotations

import shlex

import pytest
from v2_client import ends_of, put_in_order


@pytest.fixture
async def pair(client, project):
    """Two virtual PCs."""
    return [await client.vpcs(project) for _ in range(2)]


@pytest.mark.statement("V2-21")
async def test_a_link_has_labels_at_both_ends_and_is_told(client, project, pair):
    async with client.listening(project) as stream:
        made = await client.post(f"{project}/links", {"nodes": ends_of(pair)})
        assert await stream.wait_for("link.created") == made
        assert [end["label"]["text"] for end in made["nodes"]] == ["0/0", "0/0"]
        assert (made["suspend"], made["filters"], made["link_style"]) == (False, {}, {})
        path = f"{project}/links/{made['link_id']}"
        label = {"text": "here", "x": 1, "y": 2, "rotation": 0, "style": "fill: red"}
        nodes = [*ends_of(pair[:1], label=label), *ends_of(pair[1:])]
        changed = await client.put(path, {"nodes": nodes, "link_style": {"width": 3}}, expect=201)
        assert await stream.wait_for("link.updated") == changed
        assert changed["nodes"][0]["label"] == label
        assert changed["nodes"][1]["label"] == made["nodes"][1]["label"]
        assert await client.get(path) == changed
        assert await client.get(f"{project}/links") == [changed]
        node = pair[0]["node_id"]
        assert await client.get(f"{project}/nodes/{node}/links") == [changed]
        await client.delete(f"{project}/nodes/{node}")
        await stream.wait_for("link.deleted")
        await stream.wait_for("node.deleted")
    await client.get(path, expect=404)


@pytest.mark.statement("V2-21")
async def test_a_link_that_is_deleted_frees_its_ports(client, project, pair):
    made = await client.post(f"{project}/links", {"nodes": ends_of(pair)})
    path = f"{project}/links/{made['link_id']}"
    async with client.listening(project) as stream:
        assert await client.delete(path) == b""
        await stream.wait_for("link.deleted", link_id=made["link_id"])
    await client.delete(path, expect=404)
    await client.post(f"{project}/links", {"nodes": ends_of(pair)})


@pytest.mark.statement("V2-22")
async def test_a_port_that_is_taken_or_not_there_is_refused(client, project, pair):
    await client.post(f"{project}/links", {"nodes": ends_of(pair)})
    await client.post(f"{project}/links", {"nodes": ends_of(pair)}, expect=409)
    nowhere = [{**end, "port_number": 7} for end in ends_of(pair)]
    await client.post(f"{project}/links", {"nodes": nowhere}, expect=404)
    await client.get(f"{project}/links/no-id", expect=404)


@pytest.mark.statement("V2-14", "V2-39")
async def test_nodes_start_and_stop_one_by_one_and_all_at_once(client, project, pair):
    await client.post(f"{project}/links", {"nodes": ends_of(pair)})
    path = f"{project}/nodes/{pair[0]['node_id']}"
    async with client.listening(project) as stream:
        assert (await client.post(f"{path}/start", expect=200))["status"] == "started"
        told = await stream.wait_for("node.updated", status="started")
        assert told == await client.get(path)
        assert shlex.split(told["command_line"])[0].endswith("vpcs")
        assert (await client.post(f"{path}/reload", expect=200))["status"] == "started"
        assert (await client.post(f"{path}/stop", expect=200))["status"] == "stopped"
    await client.post(f"{project}/nodes/start", expect=204)
    assert {node["status"] for node in await client.get(f"{project}/nodes")} == {"started"}
    await client.post(f"{project}/nodes/reload", expect=204)
    assert {node["status"] for node in await client.get(f"{project}/nodes")} == {"started"}
    assert await client.post(f"{project}/nodes/stop", expect=204) == b""
    for node in await client.get(f"{project}/nodes"):
        assert (node["status"], node["command_line"]) == ("stopped", "")


async def test_what_cannot_start_is_told(client, project):
    node = await client.vpcs(project)
    await client.post(f"{project}/nodes/{node['node_id']}/start", expect=409)
    async with client.listening(project) as stream:
        await client.post(f"{project}/nodes/start", expect=204)
        assert "connected" in (await stream.wait_for("log.error"))["message"]


@pytest.fixture
async def link(client, project, pair):
    """The path of a link between two virtual PCs that run."""
    made = await client.post(f"{project}/links", {"nodes": ends_of(pair)})
    await client.post(f"{project}/nodes/start", expect=204)
    return f"{project}/links/{made['link_id']}"


@pytest.mark.statement("V2-32")
async def test_filters_and_suspension_are_taken_as_clients_send_them(client, project, link):
    described = {each["type"]: each for each in await client.get(f"{link}/available_filters")}
    assert {"frequency_drop", "packet_loss", "delay", "corrupt", "rate"} <= described.keys()
    assert [p["maximum"] for p in described["delay"]["parameters"]] == [32767, 32767]
    # A desktop client names all types, with zeros for those that are off.
    sent = {"frequency_drop": [0], "packet_loss": [20], "delay": [10, 2], "corrupt": [0]}
    async with client.listening(project) as stream:
        changed = await client.put(link, {"filters": {**sent, "bpf": [""]}}, expect=201)
        assert (await stream.wait_for("link.updated"))["filters"] == changed["filters"]
    assert changed["filters"] == {"packet_loss": [20], "delay": [10, 2]}
    suspended = await client.put(link, {"suspend": True}, expect=201)
    assert (suspended["suspend"], suspended["filters"]) == (True, changed["filters"])
    again = await client.put(link, {"suspend": False, "filters": {}}, expect=201)
    assert (again["suspend"], again["filters"]) == (False, {})
    kept = await client.put(link, {"filters": {"bpf": ["icmp"]}}, expect=201)
    assert kept["filters"] == {"bpf": ["icmp"]}
    await client.put(link, {"filters": {"packet_loss": [200]}}, expect=400)


@pytest.mark.statement("V2-07")
async def test_changes_of_a_link_that_race_are_carried_out_in_order(client, link):
    for last in (True, False):
        puts = [{"suspend": number % 2 == last} for number in range(11)]
        answers = await put_in_order(client, link, puts, expect=201)
        assert [answer["suspend"] for answer in answers] == [put["suspend"] for put in puts]
        assert (await client.get(link))["suspend"] is not last
    losses = [{"filters": {"packet_loss": [number]}} for number in (5, 0, 7, 0)]
    await put_in_order(client, link, losses, expect=201)
    assert (await client.get(link))["filters"] == {}


@pytest.mark.statement("V2-33")
async def test_a_capture_is_a_file_and_a_stream(client, project, link):
    started = await client.post(
        f"{link}/start_capture",
        {"capture_file_name": "PC1_to_PC2.pcap", "data_link_type": "DLT_EN10MB"},
    )
    assert started["capturing"] is True
    assert started["capture_file_name"] == "PC1_to_PC2.pcap"
    async with client.session.get(f"{client.url}/v2{link}/pcap") as answer:
        header = await answer.content.readexactly(24)
        assert header[:4] in (b"\xd4\xc3\xb2\xa1", b"\x4d\x3c\xb2\xa1")
        stopped = await client.post(f"{link}/stop_capture")
        await answer.content.read()
    assert (stopped["capturing"], stopped["capture_file_name"]) == (False, "PC1_to_PC2.pcap")
    assert stopped["capture_file_path"] == started["capture_file_path"]
    await client.get(f"{link}/pcap", expect=409)
    await client.post(f"{link}/start_capture", {"capture_file_name": "PC1_to_PC2.pcap"})
