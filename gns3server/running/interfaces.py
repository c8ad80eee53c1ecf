"""The network interfaces of this machine. All functions block but those that are awaited."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping


def list_interfaces() -> list[Mapping[str, str]]:
    """Every interface: its name, which is its id as well, and its first IPv4 address or ``""``."""
    # Imported when used: a start must not pay for it.
    import psutil

    addresses = psutil.net_if_addrs()
    return [
        {
            "id": name,
            "name": name,
            "ip_address": next(
                (a.address for a in addresses.get(name, ()) if a.family == socket.AF_INET), ""
            ),
        }
        for name in psutil.net_if_stats()
    ]


async def is_interface_up(name: str) -> bool:
    """Whether this machine has an interface of that name, switched on (NET-03).

    A TAP interface that no program has opened yet counts: it is switched on,
    though nothing can pass through it.

    :param name: of the interface.
    """

    def look() -> bool:
        import psutil

        found = psutil.net_if_stats().get(name)
        # Not its "isup", which also wants somebody at the other end.
        return found is not None and "up" in found.flags.split(",")

    return await asyncio.to_thread(look)
