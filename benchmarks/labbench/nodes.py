"""A hundred nodes at once, beside a bare loop; and what twenty cost while idle."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

import psutil

from labbench.api import Lab, new_lab
from labbench.box import Box
from labbench.consoles import prompts
from labbench.report import Aim, Figure
from labbench.servers import HERE, Server, ours

Node = dict[str, Any]
SETTLE_SECONDS = 2.0


def hundred(box: Box, quick: bool) -> list[Figure]:
    """100 nodes: created and linked, started all at once, stopped, deleted; then the same bare."""
    samples: dict[str, list[float]] = {}
    with ours(box) as server:
        for _ in range(2 if quick else 7):
            asyncio.run(_round(box, server, 100, samples))
    return [
        Figure(
            benchmark="nodes",
            what="100 PCs, start to last prompt",
            unit="s",
            ours=samples["start"],
            bare=samples["bare up"],
            aim=Aim("ratio", 1.5),
        ),
        Figure(
            benchmark="nodes",
            what="100 PCs, stop",
            unit="s",
            ours=samples["stop"],
            bare=samples["bare down"],
        ),
        Figure(
            benchmark="nodes", what="100 PCs, create and link", unit="s", ours=samples["create"]
        ),
        Figure(benchmark="nodes", what="100 PCs, delete", unit="s", ours=samples["delete"]),
    ]


async def _round(box: Box, server: Server, count: int, samples: dict[str, list[float]]) -> None:
    async def timed(name: str, work: Awaitable[Any]) -> Any:
        begun = time.perf_counter()
        result = await work
        samples.setdefault(name, []).append(time.perf_counter() - begun)
        return result

    async with new_lab(server) as lab:
        nodes: list[Node] = await timed("create", lab.add_pairs(count))
        await timed("start", _start(lab, nodes))
        commands = _command_lines(server, nodes)
        await timed("stop", lab.all("stop", nodes))
        await timed("delete", lab.all("delete", nodes))
    result = await asyncio.to_thread(_bare_round, box, commands)
    samples.setdefault("bare up", []).append(result["up"])
    samples.setdefault("bare down", []).append(result["down"])


async def _start(lab: Lab, nodes: list[Node]) -> None:
    await asyncio.gather(lab.all("start", nodes), prompts([node["console"] for node in nodes]))


def _command_lines(server: Server, nodes: list[Node]) -> list[Node]:
    """The commands that our server has started, for the bare loop.

    There each PC serves its console by itself: nobody else does.
    """
    consoles = {node["vm_id"]: node["console"] for node in nodes}
    found = []
    for process in psutil.Process(server.process.pid).children():
        console = consoles.get(Path(process.cwd()).name)
        if console is not None:
            argv = [*process.cmdline(), "-p", str(console), "-F"]
            found.append({"argv": argv, "console": console})
    if len(found) != len(nodes):
        raise RuntimeError(f"{len(found)} processes of {len(nodes)} nodes")
    return found


def _bare_round(box: Box, commands: list[Node]) -> dict[str, float]:
    home = box.directory("bare-nodes")
    for number, command in enumerate(commands):
        command["cwd"] = str(home / str(number))
        (home / str(number)).mkdir()
    argv = [sys.executable, "-m", "labbench.bare_loop"]
    extra = {"PYTHONPATH": str(HERE.parent)}
    pipe = subprocess.PIPE
    with box.spawn(argv, home, extra, stdin=pipe, stdout=pipe) as process:
        output, _ = process.communicate(json.dumps(commands).encode())
    result: dict[str, float] = json.loads(output)
    return result


def idle(box: Box, quick: bool) -> list[Figure]:
    """Processor time of twenty idle nodes, and of the server beside them."""
    with ours(box) as server:
        nodes, own = asyncio.run(_idle(server, 20, 3.0 if quick else 10.0))
    return [
        Figure(benchmark="idle", what="20 idle PCs, each", unit="% core", ours=[nodes / 20]),
        Figure(benchmark="idle", what="server with 20 idle PCs", unit="% core", ours=[own]),
    ]


async def _idle(server: Server, count: int, seconds: float) -> tuple[float, float]:
    async with new_lab(server) as lab:
        nodes = await lab.add_pairs(count)
        await lab.all("start", nodes)
        await asyncio.sleep(SETTLE_SECONDS)
        main = psutil.Process(server.process.pid)
        emulators = main.children(recursive=True)
        before = _cpu(emulators), _cpu([main])
        begun = time.perf_counter()
        await asyncio.sleep(seconds)
        passed = time.perf_counter() - begun
        after = _cpu(emulators), _cpu([main])
    used = [100 * (end - start) / passed for start, end in zip(before, after, strict=True)]
    return used[0], used[1]


def _cpu(processes: list[psutil.Process]) -> float:
    """Seconds of processor time that processes have used, without their children."""
    total = 0.0
    for process in processes:
        times = process.cpu_times()
        total += times.user + times.system
    return total
