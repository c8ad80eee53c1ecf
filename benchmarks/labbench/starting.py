"""How long a start takes, and how much memory the server uses while idle."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

import aiohttp
import psutil

from labbench.api import Lab, ask
from labbench.box import Box
from labbench.report import Aim, Figure
from labbench.servers import Server, bare, closing_server, ours, start_bare, start_ours

IMPORT_BARE = "from aiohttp import web"
IMPORT_OURS = """\
import gns3server.__main__, gns3server.app
from importlib.metadata import entry_points
for point in entry_points(group="gns3server.plugins"):
    point.load()
"""
TIMED = "import time; begun = time.perf_counter()\n{}\nprint(time.perf_counter() - begun)"
SETTLE_SECONDS = 1.0
PROJECTS = 200


def first_answer(box: Box, quick: bool) -> list[Figure]:
    """Time from exec to the first 200, in turn; the records already exist, as on most days."""
    start_us = partial(start_ours, box, box.directory("ours"))
    start_them = partial(start_bare, box, box.directory("bare"))
    # Bytecode, page cache and our server's records are there after the first start.
    _time_start(start_us)
    _time_start(start_them)
    us, them = [], []
    for _ in range(5 if quick else 15):
        us.append(_time_start(start_us))
        them.append(_time_start(start_them))
    return [
        Figure(
            benchmark="start",
            what="exec to first 200",
            unit="ms",
            ours=[start.wall for start in us],
            bare=[start.wall for start in them],
            aim=Aim("ratio", 1.4),
        ),
        Figure(
            benchmark="start",
            what="processor time of it",
            unit="ms",
            ours=[start.cpu for start in us],
            bare=[start.cpu for start in them],
        ),
    ]


def first_answer_with_projects(box: Box, quick: bool) -> list[Figure]:
    """Time from exec to the first 200 with many projects left open by a killed server."""
    home = box.directory("ours")
    with closing_server(start_ours(box, home)) as server:
        server.wait_first_answer()
        asyncio.run(_make_projects(server))
        server.process.kill()
    start_us = partial(start_ours, box, home)
    start_them = partial(start_bare, box, box.directory("bare"))
    us, them = [], []
    for _ in range(3 if quick else 7):
        us.append(_time_start(start_us).wall)
        them.append(_time_start(start_them).wall)
    return [
        Figure(
            benchmark="projects",
            what=f"exec to first 200, {PROJECTS} projects",
            unit="ms",
            ours=us,
            bare=them,
            aim=Aim("ratio", 2),
        )
    ]


async def _make_projects(server: Server) -> None:
    async with aiohttp.ClientSession(server.url) as session:
        for _ in range(PROJECTS):
            project = await ask(session, "POST", "/v1/projects", {"name": "benchmark"})
            await Lab(session, project["project_id"]).add_node("PC")


class Start(NamedTuple):
    """Milliseconds until the first answer: on the clock, and of processor time."""

    wall: float
    cpu: float


def _time_start(start: Callable[[], Server]) -> Start:
    begun = time.perf_counter()
    with closing_server(start()) as server:
        server.wait_first_answer()
        return Start((time.perf_counter() - begun) * 1000, server.cpu_seconds() * 1000)


def imports(box: Box, quick: bool) -> list[Figure]:
    """Time to import everything that a start imports, with plugins, in a new interpreter."""
    home = box.directory("imports")

    def measure(code: str) -> float:
        argv = [sys.executable, "-c", TIMED.format(code)]
        with box.spawn(argv, home, stdout=subprocess.PIPE) as process:
            output, _ = process.communicate()
        return float(output) * 1000

    us, them = [], []
    for _ in range(5 if quick else 11):
        us.append(measure(IMPORT_OURS))
        them.append(measure(IMPORT_BARE))
    return [Figure(benchmark="import", what="import", unit="ms", ours=us, bare=them)]


@dataclass(slots=True)
class Memory:
    """Megabytes of a server: all that is resident, and the part shared with no other process."""

    resident: list[float] = field(default_factory=list)
    own: list[float] = field(default_factory=list)

    def take(self, server: Server) -> None:
        """Take a sample."""
        used = psutil.Process(server.process.pid).memory_full_info()
        self.resident.append(used.rss / 2**20)
        self.own.append(used.uss / 2**20)


def memory(box: Box, quick: bool) -> list[Figure]:
    """Resident memory of an idle server after one request."""
    us, them = Memory(), Memory()
    for _ in range(1 if quick else 3):
        with ours(box) as our_server, bare(box) as their_server:
            time.sleep(SETTLE_SECONDS)
            us.take(our_server)
            them.take(their_server)
    return [
        Figure(
            benchmark="memory",
            what="resident memory, idle",
            unit="MB",
            ours=us.resident,
            bare=them.resident,
            aim=Aim("difference", 10),
        ),
        Figure(benchmark="memory", what="of it unshared", unit="MB", ours=us.own, bare=them.own),
    ]
