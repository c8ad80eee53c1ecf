"""The same work through ``/v2`` as through ``/v1``, which counts as the bare one, on one server."""

from __future__ import annotations

import asyncio
import io
import json
import time
import uuid
import zipfile
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

import aiohttp

from labbench.api import TYPE, ask
from labbench.box import Box
from labbench.report import Aim, Figure
from labbench.servers import Server, ours

VPCS = "19021f99-e36f-394d-b4a1-8aaa902ab9cc"
NODES, LISTENERS = 100, 50
LIMIT_SECONDS = 120
AIM = Aim("ratio", 1.5)


class V1:
    """A client of ``/v1``."""

    projects = "/v1/projects"
    id = "vm_id"

    def __init__(self, session: aiohttp.ClientSession, project: str) -> None:
        self.session = session
        self.path = f"{self.projects}/{project}"

    async def add(self, number: int) -> str:
        """Make a virtual PC; returns its id."""
        values = {"name": f"PC{number}", "startup_script": "set pcname %h\n"}
        made = await ask(self.session, "POST", f"{self.path}/{TYPE}/vms", values)
        return str(made["vm_id"])

    async def link(self, ends: Sequence[str]) -> None:
        """Link two of them."""
        places = [{self.id: end, "adapter_number": 0, "port_number": 0} for end in ends]
        await ask(self.session, "POST", f"{self.path}/links", self.ends(places))

    def ends(self, places: list[dict[str, Any]]) -> dict[str, Any]:
        """The body of a new link."""
        return {"ends": places}

    async def start(self) -> None:
        """Start all."""
        await ask(self.session, "POST", f"{self.path}/start")

    async def stop(self) -> None:
        """Stop all."""
        await ask(self.session, "POST", f"{self.path}/stop")

    async def delete(self) -> None:
        """Delete the project."""
        await ask(self.session, "DELETE", self.path)


class V2(V1):
    """A client of ``/v2``."""

    projects = "/v2/projects"
    id = "node_id"

    async def add(self, number: int) -> str:
        """Make a virtual PC of its template; returns its id."""
        place = {"x": number, "y": number}
        made = await ask(self.session, "POST", f"{self.path}/templates/{VPCS}", place)
        return str(made["node_id"])

    def ends(self, places: list[dict[str, Any]]) -> dict[str, Any]:
        """The body of a new link."""
        return {"nodes": places}

    async def start(self) -> None:
        """Start all."""
        await ask(self.session, "POST", f"{self.path}/nodes/start")

    async def stop(self) -> None:
        """Stop all."""
        await ask(self.session, "POST", f"{self.path}/nodes/stop")


Samples = dict[str, list[float]]


def clients(box: Box, quick: bool) -> list[Figure]:
    """A hundred PCs and fifty links by each API; lists, a change, and an event at 50 listeners."""
    samples: Samples = {}
    with ours(box) as server:
        asyncio.run(_measure(server, 2 if quick else 5, samples))
    works = ("create", "link", "start", "stop", "delete", "all")
    figures = [
        Figure(
            benchmark="clients",
            what=f"{NODES} PCs by /v2, {work}",
            unit="s",
            ours=samples[f"V2 {work}"],
            bare=samples[f"V1 {work}"],
            aim=AIM if work == "all" else None,
        )
        for work in works
    ]
    figures.extend(
        Figure(
            benchmark="clients",
            what=f"GET {count} nodes by /v2",
            unit="ms",
            ours=samples[f"GET {count}"],
        )
        for count in (100, 300)
    )
    return [
        *figures,
        Figure(
            benchmark="clients",
            what="PUT in 300 nodes, beside 3",
            unit="ms",
            ours=samples["PUT 300"],
            bare=samples["PUT 3"],
            aim=AIM,
        ),
        Figure(
            benchmark="clients",
            what=f"event at {LISTENERS} websockets",
            unit="ms",
            ours=samples["event"],
        ),
    ]


async def _measure(server: Server, rounds: int, samples: Samples) -> None:
    connector = aiohttp.TCPConnector(limit=0)
    limit = aiohttp.ClientTimeout(total=LIMIT_SECONDS)
    async with aiohttp.ClientSession(server.url, connector=connector, timeout=limit) as session:
        for _ in range(rounds):
            for kind in (V1, V2):
                await _work(await _client(kind, session), samples)
        labs = {count: await _imported(session, count) for count in (3, 100, 300)}
        for count in (100, 300):
            await _lists(labs[count][0], count, rounds * 4, samples)
        for number in range(rounds * 10):
            for count in (3, 300):
                client, nodes = labs[count]
                await _timed(samples, f"PUT {count}", partial(_put, client, nodes[0], number), 1000)
        client, nodes = labs[100]
        await _events(client, nodes[0], rounds * 4, samples)
        for client, _ in labs.values():
            await client.delete()


async def _imported(session: aiohttp.ClientSession, count: int) -> tuple[V2, list[str]]:
    """A project of so many nodes that never run, and their ids."""
    described = {
        "name": f"bench {uuid.uuid4()}",
        "project_id": str(uuid.uuid4()),
        "revision": 9,
        "topology": {
            "nodes": [
                {"node_id": str(uuid.uuid4()), "node_type": "cloud", "name": f"Cloud{number}"}
                for number in range(count)
            ]
        },
    }
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("project.gns3", json.dumps(described))
    client = V2(session, str(uuid.uuid4()))
    async with session.post(f"{client.path}/import", data=content.getvalue()) as answer:
        answer.raise_for_status()
    await ask(session, "POST", f"{client.path}/open")
    async with session.get(f"{client.path}/nodes") as answer:
        return client, [node["node_id"] for node in await answer.json()]


async def _client(kind: type[V1], session: aiohttp.ClientSession) -> Any:
    made = await ask(session, "POST", kind.projects, {"name": f"bench {uuid.uuid4()}"})
    return kind(session, made["project_id"])


async def _timed(
    samples: Samples, name: str, work: Callable[[], Awaitable[Any]], scale: float = 1
) -> Any:
    begun = time.perf_counter()
    result = await work()
    samples.setdefault(name, []).append((time.perf_counter() - begun) * scale)
    return result


async def _work(client: V1, samples: Samples) -> None:
    """Build a lab, run it and remove it, one request after the other."""
    name = type(client).__name__
    begun = time.perf_counter()

    async def create() -> list[str]:
        return [await client.add(number) for number in range(NODES)]

    async def link() -> None:
        for number in range(0, NODES, 2):
            await client.link(nodes[number : number + 2])

    nodes = await _timed(samples, f"{name} create", create)
    await _timed(samples, f"{name} link", link)
    await _timed(samples, f"{name} start", client.start)
    await _timed(samples, f"{name} stop", client.stop)
    await _timed(samples, f"{name} delete", client.delete)
    samples.setdefault(f"{name} all", []).append(time.perf_counter() - begun)


async def _lists(client: V1, count: int, rounds: int, samples: Samples) -> None:
    for _ in range(rounds):
        await _timed(
            samples,
            f"GET {count}",
            partial(ask, client.session, "GET", f"{client.path}/nodes"),
            1000,
        )


async def _put(client: V1, node: str, number: int) -> None:
    await ask(client.session, "PUT", f"{client.path}/nodes/{node}", {"x": number + 1000})


async def _events(client: V1, node: str, rounds: int, samples: Samples) -> None:
    """From a PUT until the last of many websockets has been told."""
    path = f"{client.path}/notifications/ws"
    sockets = [await client.session.ws_connect(path) for _ in range(LISTENERS)]

    async def told(websocket: aiohttp.ClientWebSocketResponse) -> None:
        while "node.updated" not in (await websocket.receive_str()):
            pass

    async def change(number: int) -> None:
        await asyncio.gather(_put(client, node, number), *map(told, sockets))

    for number in range(rounds):
        await _timed(samples, "event", partial(change, 5000 + number), 1000)
    for websocket in sockets:
        await websocket.close()
