"""How tests wait: for a notification if there is one, and never for a fixed time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable


async def until(condition: Callable[[], Awaitable[bool]], limit: float = 30.0) -> None:
    """Check repeatedly a condition that nothing reports: of a file, or of another process."""
    async with asyncio.timeout(limit):
        while True:
            if await condition():
                return
            await asyncio.sleep(0.05)


async def settled() -> None:
    """Let everything on the loop run on until it waits for something outside."""
    for _ in range(20):
        await asyncio.sleep(0)
