"""Requests per second and their 99th percentile, beside a bare aiohttp server."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from labbench.api import new_lab
from labbench.box import Box
from labbench.report import Aim, Figure
from labbench.servers import HERE, HOST, Server, bare, ours

BARE = "bare hello"
AIMS = {"GET version": 0.5, "GET one VM": 0.3}


@dataclass(slots=True)
class Target:
    """Something to request, and the results of each round."""

    server: Server
    path: str
    rates: list[float] = field(default_factory=list)
    p99s: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    async def measure(self, box: Box, home: Path, connections: int, seconds: float) -> None:
        """Put load on it from a separate process."""
        argv = [sys.executable, str(HERE / "load.py"), HOST, str(self.server.port), self.path]
        argv += [str(connections), str(seconds)]
        before = self.server.cpu_seconds()
        with box.spawn(argv, home, stdout=subprocess.PIPE) as process:
            output, _ = await asyncio.to_thread(process.communicate)
        result = json.loads(output)
        self.rates.append(result["rate"])
        self.p99s.append(result["p99"])
        self.cpu.append((self.server.cpu_seconds() - before) * 1e6 / result["answers"])


def requests(box: Box, quick: bool) -> list[Figure]:
    """GET version and GET one VM over 1 and 64 connections; targets take turns in each round."""
    with ours(box) as us, bare(box) as them:
        return asyncio.run(_measure(box, us, them, quick))


async def _measure(box: Box, us: Server, them: Server, quick: bool) -> list[Figure]:
    figures = []
    home = box.directory("load")
    async with new_lab(us) as lab:
        node = (await lab.add_node("PC"))["vm_id"]
        for connections in (1, 64):
            targets = {
                BARE: Target(them, "/"),
                "GET version": Target(us, "/v1/version"),
                "GET one VM": Target(us, lab.node_path(node)),
            }
            await _rounds(box, home, list(targets.values()), connections, quick)
            figures += _figures(targets, connections)
    return figures


async def _rounds(
    box: Box, home: Path, targets: list[Target], connections: int, quick: bool
) -> None:
    for number in range(3 if quick else 9):
        first = number % len(targets)
        for target in targets[first:] + targets[:first]:
            await target.measure(box, home, connections, 0.4 if quick else 1.0)


def _figures(targets: dict[str, Target], connections: int) -> list[Figure]:
    figures = []
    them = targets[BARE]
    plural = "connection" if connections == 1 else "connections"
    for name, least in AIMS.items():
        us = targets[name]
        what = f"{name}, {connections} {plural}"
        figures += [
            Figure(
                benchmark="requests",
                what=what,
                unit="1/s",
                ours=us.rates,
                bare=them.rates,
                aim=Aim("ratio", least, at_least=True),
            ),
            Figure(
                benchmark="requests", what=f"{what}, p99", unit="ms", ours=us.p99s, bare=them.p99s
            ),
            Figure(
                benchmark="requests",
                what=f"{what}, processor time",
                unit="us",
                ours=us.cpu,
                bare=them.cpu,
            ),
        ]
    return figures
