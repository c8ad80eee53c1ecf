"""Many nodes that come and go for a long time, in front of many listeners."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import psutil

from labbench.api import TYPE, Lab, ask, new_lab
from labbench.box import Box
from labbench.servers import HERE, Server, closing_server, start_ours
from labbench.soak_probe import PATH

NODES, LISTENERS, WORKERS = 100, 50, 10
LISTEN_EVENTS = 400
"""After about how many events a listener hangs up and another takes its place."""

GROWTH = 1.1
"""How much growth since the end of the first third still counts as flat; for small numbers,
:data:`SLACK`.
"""

SLACK = 4


@dataclass(frozen=True, slots=True)
class Sample:
    """What the server needed at one moment, with all nodes running and no request under way.

    :param resident: memory in MB.
    :param objects: how many the garbage collector tracks.
    """

    minutes: float
    requests: int
    events: int
    resident: float
    descriptors: int
    threads: int
    tasks: int
    objects: int
    emulators: int

    HEADINGS = (
        *("min", "requests", "events", "RSS MB", "descriptors"),
        *("threads", "tasks", "objects", "emulators"),
    )

    def row(self) -> tuple[str, ...]:
        """The cells of its line."""
        return (
            f"{self.minutes:.1f}",
            f"{self.requests:,}",
            f"{self.events:,}",
            f"{self.resident:.1f}",
            *map(str, (self.descriptors, self.threads, self.tasks)),
            f"{self.objects:,}",
            str(self.emulators),
        )


def line(cells: Iterable[str]) -> str:
    """Cells below their headings."""
    return "".join(cell.rjust(13) for cell in cells)


@dataclass(slots=True)
class Soak:
    """One run, up to now."""

    server: Server
    lab: Lab
    rng: random.Random
    begun: float = field(default_factory=time.monotonic)
    requests: int = 0
    events: int = 0
    samples: list[Sample] = field(default_factory=list)

    async def churn(self, nodes: list[dict[str, Any]], seconds: float) -> None:
        """Change and restart nodes for a while; all are running at the end."""
        await asyncio.gather(*(self._work(nodes[n::WORKERS], seconds) for n in range(WORKERS)))

    async def _work(self, nodes: list[dict[str, Any]], seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            node = self.rng.choice(nodes)
            path = self.lab.node_path(node["vm_id"])
            kind = self.rng.randrange(4)
            if kind == 0:
                body = {"name": f"PC {self.rng.randrange(1000)}", "startup_script": "echo on\n"}
                await self._ask("PUT", path, body)
                await self._ask("POST", f"{path}/reload")
            elif kind == 1:
                await self._ask("POST", f"{path}/stop")
                await self._ask("POST", f"{path}/start")
            elif kind == 2:
                await self._replace(path, node)
            else:
                await self._ask("GET", path)

    async def _replace(self, path: str, node: dict[str, Any]) -> None:
        """Delete a node and make it again; its wire is gone with it, so it gets a new one."""
        await self._ask("DELETE", path)
        body = {"name": node["name"], "vm_id": node["vm_id"]}
        await self._ask("POST", f"{self.lab.path}/{TYPE}/vms", body)
        port = (await self._ask("POST", f"{self.lab.path}/ports/udp"))["udp_port"]
        nio = {"type": "nio_udp", "lport": port, "rhost": "127.0.0.1", "rport": port}
        await self._ask("POST", f"{path}/adapters/0/ports/0/nio", nio)
        await self._ask("POST", f"{path}/start")

    async def _ask(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        self.requests += 1
        return await ask(self.lab.session, method, path, body)

    async def listen(self) -> None:
        """Listen, hang up now and then, and listen again."""
        while True:
            left = self.rng.randint(1, 2 * LISTEN_EVENTS)
            async with self.lab.session.get(f"{self.lab.path}/notifications") as stream:
                while left:
                    line = await stream.content.readline()
                    if b"ping" not in line:
                        self.events, left = self.events + 1, left - 1

    async def sample(self) -> None:
        """Take a sample of the server."""
        counts = await ask(self.lab.session, "GET", PATH)
        process = psutil.Process(self.server.process.pid)
        self.samples.append(
            Sample(
                minutes=(time.monotonic() - self.begun) / 60,
                requests=self.requests,
                events=self.events,
                resident=process.memory_info().rss / 1e6,
                descriptors=process.num_fds(),
                emulators=len(process.children(recursive=True)),
                **counts,
            )
        )

    def grown(self) -> list[str]:
        """The values that are not flat: higher at the end than at the end of the first third."""
        then, now = self.samples[len(self.samples) // 3], self.samples[-1]
        names = ("resident", "descriptors", "threads", "tasks", "objects")
        bounds = {name: getattr(then, name) for name in names}
        return [
            name
            for name, bound in bounds.items()
            if getattr(now, name) > max(GROWTH * bound, bound + SLACK)
        ]


async def soak(box: Box, minutes: float, seed: int) -> Soak:
    """Let a server work for this many minutes, in ten parts with a sample after each."""
    async with _probed_server(box) as server, new_lab(server) as lab:
        run = Soak(server, lab, random.Random(seed))
        nodes = await lab.add_pairs(NODES)
        await lab.all("start", nodes)
        async with _tasks(run.listen() for _ in range(LISTENERS)):
            await run.sample()
            for _ in range(10):
                await run.churn(nodes, minutes * 6)
                await run.sample()
                print(line(run.samples[-1].row()), flush=True)
        return run


@asynccontextmanager
async def _probed_server(box: Box) -> AsyncIterator[Server]:
    site = box.directory("site")
    info = site / "soak-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: soak\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[gns3server.plugins]\nsoak = labbench.soak_probe\n")
    extra = {"PYTHONPATH": f"{HERE.parent}:{site}"}
    with closing_server(start_ours(box, box.directory("soak"), extra=extra)) as server:
        await asyncio.to_thread(server.wait_first_answer)
        yield server


@asynccontextmanager
async def _tasks(work: Iterable[Any]) -> AsyncIterator[None]:
    """Run work in the background; one failure ends it all."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(job) for job in work]
            yield
            for task in tasks:
                task.cancel()
    except* aiohttp.ClientError as errors:
        raise RuntimeError("a listener was cut off") from errors
