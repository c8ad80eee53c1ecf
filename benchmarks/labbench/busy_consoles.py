"""What consoles cost beside the rest: answers of the server meanwhile, and memory."""

from __future__ import annotations

import asyncio
import time

import psutil

from labbench.api import Lab, ask, new_lab
from labbench.box import Box
from labbench.consoles import prompts
from labbench.report import Figure
from labbench.servers import HOST, Server, ours
from labbench.terminals import p99

TIMES = 50
MOST_BYTES = 1 << 24
SETTLE_SECONDS = 2.0
MB = 1e6


def busy(box: Box, quick: bool) -> list[Figure]:
    """GET version while ``?`` is shown fifty times; memory of the processes with 100 PCs."""
    with ours(box) as server:
        loaded, idle, rates = asyncio.run(_answers(server, 2 if quick else 9))
    memory: dict[str, list[float]] = {"server": [], "console server": []}
    for _ in range(1 if quick else 3):
        with ours(box) as server:
            for name, size in asyncio.run(_memory(server)).items():
                memory[name].append(size)
    return [
        Figure(
            benchmark="busy",
            what="GET version, p99, while ? is shown 50 times",
            unit="ms",
            ours=loaded,
            bare=idle,
        ),
        Figure(benchmark="busy", what="? of VPCS 50 times", unit="MB/s", ours=rates),
        *(
            Figure(benchmark="busy", what=f"memory with 100 PCs, {name}", unit="MB", ours=sizes)
            for name, sizes in memory.items()
        ),
    ]


async def _answers(server: Server, rounds: int) -> tuple[list[float], list[float], list[float]]:
    """The p99 of GET version in each round, with output and without; and the output's rate."""
    loaded, idle, rates = [], [], []
    async with new_lab(server) as lab:
        nodes = await lab.add_pairs(2)
        await lab.all("start", nodes)
        await prompts([node["console"] for node in nodes])
        for number in range(rounds):
            showing = asyncio.create_task(_show(nodes[0]["console"], number))
            samples = []
            while not showing.done():
                samples.append(await _version(lab))
            rates.append(await showing)
            loaded.append(p99(samples))
            idle.append(p99([await _version(lab) for _ in samples]))
    return loaded, idle, rates


async def _version(lab: Lab) -> float:
    """Milliseconds that an answer takes."""
    begun = time.perf_counter()
    await ask(lab.session, "GET", "/v1/version")
    return (time.perf_counter() - begun) * 1000


async def _show(port: int, number: int) -> float:
    """Have all commands listed many times; returns the megabytes that were shown each second."""
    reader, writer = await asyncio.open_connection(HOST, port, limit=MOST_BYTES)

    async def shown(commands: bytes, mark: bytes) -> int:
        writer.write(commands + b"echo " + mark + b"\r")
        # Once in the echo of the command, and once in what it shows.
        return len(await reader.readuntil(mark)) + len(await reader.readuntil(mark))

    try:
        await shown(b"", b"begin %d" % number)
        begun = time.perf_counter()
        count = await shown(b"?\r" * TIMES, b"end %d" % number)
        return count / MB / (time.perf_counter() - begun)
    finally:
        writer.close()


async def _memory(server: Server) -> dict[str, float]:
    """The proportional memory of the server and of the console server, in MB."""
    async with new_lab(server) as lab:
        nodes = await lab.add_pairs(100)
        await lab.all("start", nodes)
        await prompts([node["console"] for node in nodes])
        await asyncio.sleep(SETTLE_SECONDS)
        main = psutil.Process(server.process.pid)
        (helper,) = (
            each
            for each in main.children()
            if "gns3server.consoles.console_server" in each.cmdline()
        )
        return {
            "server": main.memory_full_info().pss / MB,
            "console server": helper.memory_full_info().pss / MB,
        }
