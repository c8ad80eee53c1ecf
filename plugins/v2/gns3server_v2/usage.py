"""How busy the machine is, for those who look at it all the time."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Mapping
from typing import Any

FRESH_SECONDS = 1.0
"""How long an answer is good for."""


class Usage:
    """The load of this machine, measured off the loop, and no more than once a second."""

    def __init__(self) -> None:
        self._measured = float("-inf")
        self._values: Mapping[str, Any] = {}
        self._lock = asyncio.Lock()

    async def now(self) -> Mapping[str, float]:
        """Percentages of processor and memory in use, as pings tell them."""
        values = await self.all()
        return {name: values[name] for name in ("cpu_usage_percent", "memory_usage_percent")}

    async def all(self) -> Mapping[str, Any]:
        """All that is known of the load."""
        async with self._lock:
            if time.monotonic() - self._measured > FRESH_SECONDS:
                self._values = await asyncio.to_thread(_measure)
                self._measured = time.monotonic()
        return self._values


def _measure() -> Mapping[str, Any]:
    # Imported when used: it would slow down the start.
    import psutil

    memory, swap = psutil.virtual_memory(), psutil.swap_memory()
    processors = psutil.cpu_count() or 1
    return {
        "memory_total": memory.total,
        "memory_free": memory.available,
        "memory_used": memory.used,
        "swap_total": swap.total,
        "swap_free": swap.free,
        "swap_used": swap.used,
        "cpu_usage_percent": round(psutil.cpu_percent()),
        "memory_usage_percent": round(memory.percent),
        "swap_usage_percent": round(swap.percent),
        "disk_usage_percent": round(psutil.disk_usage("/").percent),
        "load_average_percent": [round(100 * load / processors) for load in os.getloadavg()],
    }
