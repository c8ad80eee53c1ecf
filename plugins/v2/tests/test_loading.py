"""Project files of other servers, and nodes that are parked."""

from __future__ import annotations

import copy
import json
import uuid
from pathlib import Path

import pytest

ROUTER, PC, SWITCH = (str(uuid.uuid4()) for _ in range(3))
PROPERTIES = {"platform": "c3660", "chassis": "3660", "slot0": "Leopard-2FE", "ram": 192}


def file_node(node_id, kind, name, **more):
    """A node as files of other servers have it."""
    return {
        "compute_id": "vm",
        "console": 5000,
        "console_type": "telnet",
        "console_auto_start": False,
        "custom_adapters": [],
        "first_port_name": None,
        "height": 45,
        "label": {"rotation": 0, "style": "fill: #000000", "text": name, "x": 2, "y": -25},
        "locked": False,
        "name": name,
        "node_id": node_id,
        "node_type": kind,
        "port_name_format": "Ethernet{0}",
        "port_segment_size": 0,
        "properties": {},
        "symbol": ":/symbols/router.svg",
        "template_id": None,
        "width": 66,
        "x": -100,
        "y": 50,
        "z": 1,
        "of_tomorrow": {"kept": True},
        **more,
    }


def link(one, other, **more):
    """A link as files have it."""
    ends = [
        {"node_id": node, "adapter_number": adapter, "port_number": 0, "label": {"text": "e"}}
        for node, adapter in (one, other)
    ]
    return {"link_id": str(uuid.uuid4()), "nodes": ends, "filters": {}, "suspend": False, **more}


def read_json(path):
    """What a file holds."""
    return json.loads(path.read_text())


@pytest.fixture
def document():
    """A lab with a router that nothing here can run."""
    return {
        "name": "from elsewhere",
        "project_id": str(uuid.uuid4()),
        "revision": 9,
        "type": "topology",
        "version": "2.2.99",
        "zoom": 90,
        "of_tomorrow": [1, 2],
        "topology": {
            "computes": [],
            "drawings": [
                {"drawing_id": str(uuid.uuid4()), "svg": "<svg/>", "x": 3, "y": 4, "z": 2}
            ],
            "links": [
                link((ROUTER, 1), (PC, 0), filters={"bpf": ["icmp"]}),
            ],
            "nodes": [
                file_node(ROUTER, "dynamips", "R1", properties=PROPERTIES, console=5001),
                file_node(PC, "vpcs", "PC1", x=7),
            ],
        },
    }


@pytest.fixture
def place(tmp_path):
    """Writes a project file; tells its path."""

    def write(document):
        folder = tmp_path / "lab"
        folder.mkdir()
        path = folder / "lab.gns3"
        path.write_text(document if isinstance(document, str) else json.dumps(document))
        return {"path": str(path)}

    return write


@pytest.mark.statement("V2-29")
async def test_a_file_is_opened_with_what_cannot_run_here_parked(client, document, place):
    shown = await client.post("/projects/load", place(document))
    project = f"/projects/{shown['project_id']}"
    assert (shown["project_id"], shown["name"]) == (document["project_id"], "from elsewhere")
    assert shown["zoom"] == 90
    nodes = {node["name"]: node for node in await client.get(f"{project}/nodes")}
    router = nodes["R1"]
    assert (router["node_id"], router["node_type"], router["status"]) == (
        ROUTER,
        "dynamips",
        "stopped",
    )
    assert (router["x"], router["y"], router["properties"]) == (-100, 50, PROPERTIES)
    assert {(p["adapter_number"], p["port_number"]) for p in router["ports"]} >= {(1, 0)}
    assert nodes["PC1"]["x"] == 7
    (joined,) = await client.get(f"{project}/links")
    assert joined["filters"] == {"bpf": ["icmp"]}
    assert [end["node_id"] for end in joined["nodes"]] == [ROUTER, PC]
    assert len(await client.get(f"{project}/drawings")) == 1
    refused = await client.post(f"{project}/nodes/{ROUTER}/start", expect=409)
    assert "no plugin of this server offers its type" in refused["message"]
    moved = await client.put(f"{project}/nodes/{ROUTER}", {"x": 0, "properties": {"ram": 256}})
    assert moved["properties"] == {**PROPERTIES, "ram": 256}
    assert (moved["width"], moved["height"]) == (66, 45)
    changed = await client.put(f"{project}/nodes/{ROUTER}", {"symbol": ":/symbols/hub.svg"})
    assert (changed["width"], changed["height"]) == (70, 42)


@pytest.mark.statement("V2-30")
async def test_what_a_file_says_is_written_back(client, document, place):
    path = place(document)
    shown = await client.post("/projects/load", path)
    project = f"/projects/{shown['project_id']}"
    await client.post(f"{project}/close", expect=204)
    written = read_json(Path(shown["path"], "project.gns3"))
    before = {node["node_id"]: node for node in document["topology"]["nodes"]}
    after = {node["node_id"]: node for node in written["topology"]["nodes"]}
    assert after[ROUTER] == before[ROUTER]
    assert after[PC]["of_tomorrow"] == before[PC]["of_tomorrow"]
    assert written["of_tomorrow"] == [1, 2]
    assert written["topology"]["links"][0]["filters"] == {"bpf": ["icmp"]}
    closed = {node["node_id"]: node for node in await client.get(f"{project}/nodes")}
    assert closed[ROUTER]["properties"] == PROPERTIES
    assert len(await client.get(f"{project}/links")) == 1
    await client.post("/projects/load", path)
    assert len(await client.get(f"{project}/nodes")) == 2


def broken(document, change):
    """A copy of a document that something is wrong with."""
    new = copy.deepcopy(document)
    change(new)
    return new


@pytest.mark.statement("V2-31")
@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.pop("topology"),
        lambda d: d.update(revision=2),
        lambda d: d.update(project_id="../../etc"),
        lambda d: d["topology"]["nodes"].append(d["topology"]["nodes"][0]),
        lambda d: d["topology"]["nodes"][0].update(node_id="../x"),
        lambda d: d["topology"]["nodes"][0].update(node_type="../x"),
        lambda d: d["topology"]["nodes"][0].update(x=10**30),
        lambda d: d["topology"]["links"][0]["nodes"][0].update(node_id=str(uuid.uuid4())),
        lambda d: d["topology"].update(nodes="many"),
    ],
)
async def test_a_broken_file_leaves_nothing_behind(client, document, place, change):
    await client.post("/projects/load", place(broken(document, change)), expect=409)
    assert await client.get("/projects") == []


async def test_files_that_are_none_are_refused(client, tmp_path, place, gns3_serving):
    await client.post("/projects/load", {"path": str(tmp_path / "none.gns3")}, expect=404)
    await client.post("/projects/load", {"path": str(tmp_path)}, expect=404)
    await client.post("/projects/load", place("{" * 10_000), expect=409)
