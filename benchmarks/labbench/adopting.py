"""How long a killed server takes to come back while its nodes run on."""

from __future__ import annotations

import asyncio
import time
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp

from labbench.api import Lab, ask
from labbench.box import Box
from labbench.report import Aim, Figure
from labbench.servers import Server, start_ours

COUNT = 100


def restart(box: Box, quick: bool) -> list[Figure]:
    """From exec to the first 200 with 100 PCs running, and with the same PCs stopped, in turn."""
    home = box.directory("ours")
    server = start_ours(box, home)
    server.wait_first_answer()
    lab_id, nodes = asyncio.run(_build(server))
    running, stopped = [], []
    try:
        for _ in range(2 if quick else 7):
            server, seconds = _again(box, home, server)
            stopped.append(seconds)
            asyncio.run(_all(server, lab_id, nodes, "start"))
            server, seconds = _again(box, home, server)
            running.append(seconds)
            asyncio.run(_all(server, lab_id, nodes, "stop"))
    finally:
        server.stop()
    compared = partial(Figure, benchmark="restart", unit="ms", ours=running, bare=stopped)
    what = f"restart, {COUNT} PCs running / stopped"
    return [
        compared(what=what, aim=Aim("ratio", 3)),
        compared(what=f"{what}: more", aim=Aim("difference", 2000)),
    ]


def _again(box: Box, home: Path, server: Server) -> tuple[Server, float]:
    """Kill a server and start the next; also return the milliseconds to its first answer."""
    server.process.kill()
    server.process.wait()
    begun = time.perf_counter()
    successor = start_ours(box, home, server.port)
    successor.wait_first_answer()
    return successor, (time.perf_counter() - begun) * 1000


async def _build(server: Server) -> tuple[str, list[dict[str, Any]]]:
    async with aiohttp.ClientSession(server.url) as session:
        project = await ask(session, "POST", "/v1/projects", {"name": "benchmark"})
        lab = Lab(session, project["project_id"])
        return lab.project, await lab.add_pairs(COUNT)


async def _all(server: Server, project: str, nodes: list[dict[str, Any]], verb: str) -> None:
    async with aiohttp.ClientSession(server.url) as session:
        lab = Lab(session, project)
        shown = [await ask(session, "GET", lab.node_path(node["vm_id"])) for node in nodes]
        expected = {"start": "stopped", "stop": "started"}[verb]
        if any(node["status"] != expected for node in shown):
            raise RuntimeError(f"not all nodes are {expected} after a restart")
        await lab.all(verb, nodes)
