"""What it costs to have every answered change on disk, beside the same server without syncs."""

from __future__ import annotations

import asyncio
import os
import time
from contextlib import ExitStack

from labbench import servers
from labbench.api import Lab, new_lab
from labbench.box import Box
from labbench.report import Aim, Figure
from labbench.servers import Server

MEMORY = "/dev/shm"
"""A file system in memory: a sync does nothing there, and everything else is the same."""

AT_ONCE = 50


def creation(box: Box, quick: bool) -> list[Figure]:
    """Nodes created one after the other and 50 at once, on disk and in memory, in turn."""
    if os.stat(box.path).st_dev == os.stat(MEMORY).st_dev:
        raise RuntimeError(
            f"{box.path} is in memory as well: name a directory on a disk with --dir"
        )
    with ExitStack() as stack:
        ours = stack.enter_context(servers.ours(box))
        unsafe = stack.enter_context(servers.ours(stack.enter_context(Box(MEMORY))))
        return asyncio.run(_measure(ours, unsafe, 5 if quick else 15))


async def _measure(ours: Server, unsafe: Server, rounds: int) -> list[Figure]:
    one: dict[str, list[float]] = {"ours": [], "unsafe": []}
    many: dict[str, list[float]] = {"ours": [], "unsafe": []}
    async with new_lab(ours) as our_lab, new_lab(unsafe) as unsafe_lab:
        for number in range(rounds + 1):
            for name, lab in (("ours", our_lab), ("unsafe", unsafe_lab)):
                alone, together = await _round(lab)
                # The first round only warms up.
                if number:
                    one[name].append(alone)
                    many[name].append(together)
    return [
        _figure("one VM created", one, 3),
        _figure(f"{AT_ONCE} VMs created at once", many, 1.5),
    ]


async def _round(lab: Lab) -> tuple[float, float]:
    """Milliseconds for one of ten created in turn, and for 50 created at once."""
    begun = time.perf_counter()
    nodes = [await lab.add_node(f"PC {number}") for number in range(10)]
    alone = (time.perf_counter() - begun) / len(nodes)
    begun = time.perf_counter()
    nodes += await asyncio.gather(*[lab.add_node(f"PC {number}") for number in range(AT_ONCE)])
    together = time.perf_counter() - begun
    await lab.all("delete", nodes)
    return alone * 1000, together * 1000


def _figure(what: str, samples: dict[str, list[float]], bound: float) -> Figure:
    return Figure(
        benchmark="durability",
        what=f"{what}, beside no sync",
        unit="ms",
        ours=samples["ours"],
        bare=samples["unsafe"],
        aim=Aim("ratio", bound),
    )
