"""The yardstick for starting nodes: an asyncio loop that spawns them and waits for their prompts.

Run as a module; reads `[{"argv": [...], "cwd": "...", "console": 1234}, ...]` from its input.
"""

from __future__ import annotations

import asyncio
import ctypes
import json
import sys
import time
from typing import Any

from labbench.consoles import prompts

PR_SET_TIMERSLACK = 29  # linux/prctl.h
TIMER_SLACK_NS = 5_000_000
"""The timer slack that our server gives to its virtual PCs."""


async def spawn(node: dict[str, Any]) -> asyncio.subprocess.Process:
    """Start one node."""
    return await asyncio.create_subprocess_exec(
        *node["argv"],
        cwd=node["cwd"],
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )


async def up(nodes: list[dict[str, Any]]) -> list[asyncio.subprocess.Process]:
    """Start all nodes at once, and return when the last shows its prompt."""
    waiting = asyncio.create_task(prompts([node["console"] for node in nodes]))
    prctl = ctypes.CDLL(None).prctl
    prctl(PR_SET_TIMERSLACK, ctypes.c_ulong(TIMER_SLACK_NS), 0, 0, 0)
    try:
        return await asyncio.gather(*[spawn(node) for node in nodes])
    finally:
        prctl(PR_SET_TIMERSLACK, ctypes.c_ulong(0), 0, 0, 0)
        await waiting


async def down(processes: list[asyncio.subprocess.Process]) -> None:
    """End all of them and wait until they are gone."""
    for process in processes:
        process.terminate()
    await asyncio.gather(*[process.wait() for process in processes])


async def main() -> None:
    """Print how long starting and ending took, in seconds, as JSON."""
    nodes = json.load(sys.stdin)
    begun = time.perf_counter()
    processes = await up(nodes)
    are_up = time.perf_counter()
    await down(processes)
    print(json.dumps({"up": are_up - begun, "down": time.perf_counter() - are_up}))


if __name__ == "__main__":
    asyncio.run(main())
