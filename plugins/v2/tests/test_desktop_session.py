"""A session of a desktop client, with exactly its requests in its order.

It believes events where that client does: nodes, links and their states are what the stream of the
project has told, and lists are read only when a project is opened.
"""

from __future__ import annotations

import asyncio
import uuid
from contextlib import asynccontextmanager
from typing import Any

import pytest
from v2_client import SWITCH, VPCS

LABEL = "font-family: TypeWriter;font-size: 10.0;font-weight: bold;fill: #000000;"
KINDS = {"node": "node_id", "link": "link_id", "drawing": "drawing_id"}


class Canvas:
    """What a desktop client shows of a project: only what it was told."""

    def __init__(self, stream):
        self.stream = stream
        self.shown: dict[str, dict[str, Any]] = {kind: {} for kind in KINDS}

    def load(self, kind, objects):
        """Show what a list holds."""
        self.shown[kind] = {each[KINDS[kind]]: each for each in objects}

    def take(self, told):
        """Show what a message tells."""
        kind, _, word = told["action"].partition(".")
        if kind not in KINDS:
            return
        event, own = told["event"], self.shown[kind]
        key = event[KINDS[kind]]
        if kind == "link" and word == "created":
            # A link whose nodes it does not know is dropped, and never seen.
            known = self.shown["node"]
            assert all(end["node_id"] in known and "label" in end for end in event["nodes"])
        if word == "deleted":
            own.pop(key, None)
        elif word == "created" or key in own:
            own[key] = {**own.get(key, {}), **event}

    async def until(self, condition):
        """Take messages until something is shown."""
        while not condition(self):
            told = await self.stream.next()
            assert told is not None, self.stream.actions
            self.take(told)

    def node(self, name):
        """A node by its name, if it is shown."""
        return next((n for n in self.shown["node"].values() if n["name"] == name), None)

    @property
    def states(self):
        """The state of each node that can be started."""
        return {
            node["status"]
            for node in self.shown["node"].values()
            if node["node_type"] != "ethernet_switch"
        }


class Desktop:
    """The client: what it does when people click."""

    def __init__(self, client):
        self.client = client
        self.project = ""

    async def begin(self):
        """Start the client."""
        for _ in range(2):
            assert (await self.client.get("/version"))["version"] == "2.2.49"
        for path in ("templates", "computes", "projects", "appliances", "symbols"):
            await self.client.get(f"/{path}")

    async def new_project(self, name):
        """Make a project."""
        project_id = str(uuid.uuid4())
        made = await self.client.post(
            "/projects", {"name": name, "path": None, "project_id": project_id, "grid_size": 75}
        )
        self.project = f"/projects/{made['project_id']}"

    async def open_project(self, canvas):
        """Open a project, which may be open already."""
        await self.client.post(f"{self.project}/open")
        for kind in KINDS:
            canvas.load(kind, await self.client.get(f"{self.project}/{kind}s"))

    async def drop(self, canvas, template, x, name):
        """Drop a device on the canvas."""
        body = {"x": x, "y": 0, "compute_id": "local"}
        await self.client.post(f"{self.project}/templates/{template}", body)
        await canvas.until(lambda canvas: canvas.node(name))
        node = canvas.node(name)
        label = {**node["label"], "style": LABEL, "x": 5, "y": -25}
        values = {
            key: node[key] for key in ("node_type", "compute_id", "node_id", "name", "symbol")
        }
        values |= {"x": x, "y": 0, "z": 1, "label": label, "properties": {}, "custom_adapters": []}
        await self.client.put(f"{self.project}/nodes/{node['node_id']}", values)
        await canvas.until(lambda canvas: canvas.node(name)["label"]["x"] == 5)

    async def draw_link(self, canvas, *ends):
        """Draw a link between two ports, given by name and number."""
        nodes = []
        for name, port in ends:
            node = canvas.node(name)
            place = {"adapter_number": 0, "port_number": port}
            label = {"text": f"e{port}", "style": LABEL, "x": 1, "y": 2, "rotation": 0}
            nodes.append({"node_id": node["node_id"], **place, "label": label})
        before = set(canvas.shown["link"])
        link = {"nodes": nodes, "filters": {}, "link_style": {}, "suspend": False}
        await self.client.post(f"{self.project}/links", link)
        await canvas.until(lambda canvas: set(canvas.shown["link"]) - before)
        (link_id,) = set(canvas.shown["link"]) - before
        for _ in range(2):
            path = f"{self.project}/links/{link_id}"
            await self.client.put(path, {"nodes": nodes}, expect=201)
        return link_id


@asynccontextmanager
async def listening(client, desktop):
    """The canvas of the client's project."""
    async with client.listening(desktop.project) as stream:
        yield Canvas(stream)


async def type_at(node, text, until):
    """Type at the console of a node by telnet, until it shows something."""
    reader, writer = await asyncio.open_connection(node["console_host"], node["console"])
    shown = b""

    async def wait_for(words):
        nonlocal shown
        while words not in shown:
            piece = await reader.read(4096)
            assert piece, shown
            shown += piece

    await wait_for(b"> ")
    writer.write(text)
    await wait_for(until)
    writer.close()
    await writer.wait_closed()


async def same_as_listed(client, desktop, canvas):
    """Whether the client shows what the server has."""
    for kind, key in KINDS.items():
        listed = await client.get(f"{desktop.project}/{kind}s")
        assert canvas.shown[kind] == {each[key]: each for each in listed}


@pytest.mark.statement("V2-38")
async def test_a_whole_session(client):
    desktop = Desktop(client)
    async with client.listening():
        await desktop.begin()
        await desktop.new_project("session")
        async with listening(client, desktop) as canvas:
            await desktop.open_project(canvas)
            await draw_and_run(client, desktop, canvas)
            await change_links(client, desktop, canvas)
            await go_back(client, desktop, canvas)
        await pass_on(client, desktop)


async def draw_and_run(client, desktop, canvas):
    """Three devices, two links, a ping."""
    await desktop.drop(canvas, VPCS, -100, "PC1")
    await desktop.drop(canvas, VPCS, 100, "PC2")
    await desktop.drop(canvas, SWITCH, 0, "Switch1")
    for port in (0, 1):
        await desktop.draw_link(canvas, (f"PC{port + 1}", 0), ("Switch1", port))
    assert canvas.node("Switch1")["status"] == "started"
    await client.post(f"{desktop.project}/nodes/start", expect=204)
    await canvas.until(lambda canvas: canvas.states == {"started"})
    await type_at(canvas.node("PC1"), b"ip 10.0.0.1/24\r", b"10.0.0.1")
    await type_at(canvas.node("PC2"), b"ip 10.0.0.2/24\r", b"10.0.0.2")
    await type_at(canvas.node("PC1"), b"ping 10.0.0.2 -c 2\r", b"10.0.0.2 icmp_seq=1")
    await same_as_listed(client, desktop, canvas)


async def change_links(client, desktop, canvas):
    """A filter, a suspension, and a capture."""
    link_id = next(iter(canvas.shown["link"]))
    path = f"{desktop.project}/links/{link_id}"
    filters = {"frequency_drop": [0], "packet_loss": [10], "delay": [0, 0], "corrupt": [0]}
    await client.get(f"{path}/available_filters")
    await client.put(path, {"filters": filters}, expect=201)
    await canvas.until(lambda canvas: canvas.shown["link"][link_id]["filters"])
    await client.put(path, {"suspend": True}, expect=201)
    await canvas.until(lambda canvas: canvas.shown["link"][link_id]["suspend"])
    await client.put(path, {"suspend": False, "filters": {}}, expect=201)
    await client.post(
        f"{path}/start_capture",
        {"capture_file_name": "PC1_Ethernet0_to_Switch1.pcap", "data_link_type": "DLT_EN10MB"},
    )
    await canvas.until(lambda canvas: canvas.shown["link"][link_id]["capturing"])
    await client.post(f"{path}/stop_capture")
    await canvas.until(lambda canvas: not canvas.shown["link"][link_id]["capturing"])
    await same_as_listed(client, desktop, canvas)


async def go_back(client, desktop, canvas):
    """A snapshot, a deletion, and back again."""
    snapshot = await client.post(f"{desktop.project}/snapshots", {"name": "as it was"})
    node = canvas.node("PC2")
    await client.delete(f"{desktop.project}/nodes/{node['node_id']}")
    await canvas.until(lambda canvas: canvas.node("PC2") is None)
    assert len(canvas.shown["link"]) == 1
    await client.post(f"{desktop.project}/snapshots/{snapshot['snapshot_id']}/restore")
    await canvas.until(lambda canvas: "snapshot.restored" in canvas.stream.actions)
    await desktop.open_project(canvas)
    assert canvas.node("PC2")["node_id"] == node["node_id"]
    assert len(canvas.shown["link"]) == 2


async def pass_on(client, desktop):
    """A copy, an archive that goes out and comes back, and the end."""
    copy = await client.post(f"{desktop.project}/duplicate", {"name": "copy"})
    content = await client.get(f"{desktop.project}/export?include_images=no&include_snapshots=no")
    imported = f"/projects/{uuid.uuid4()}"
    path = f"{imported}/import?name=imported"
    await client.send("POST", path, data=content, expect=201)
    await client.post(f"{imported}/open")
    assert len(await client.get(f"{imported}/nodes")) == 3
    for project in (imported, f"/projects/{copy['project_id']}"):
        await client.delete(project)
    await client.post(f"{desktop.project}/close", expect=204)
    await client.post(f"{desktop.project}/close", expect=404)
    await client.delete(desktop.project)
    assert await client.get("/projects") == []
