"""How tests wait: for what tells of itself if that is possible, and never for some time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable


async def until(condition: Callable[[], Awaitable[bool]], limit: float = 30.0) -> None:
    """Look again and again at what tells nobody of its changes: a file, another process."""
    async with asyncio.timeout(limit):
        while True:
            if await condition():
                return
            await asyncio.sleep(0.05)


async def settled() -> None:
    """Let everything on the loop that can go on go on, where it waits for nothing outside."""
    for _ in range(20):
        await asyncio.sleep(0)
