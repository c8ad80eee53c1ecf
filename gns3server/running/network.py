"""The network of this machine: its interfaces, and the addresses of other hosts.

All functions block, except those that are awaited.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Mapping

from gns3server.errors import Conflict


def list_interfaces() -> list[Mapping[str, str]]:
    """Every interface: its name, which is also its id, and its first IPv4 address or ``""``."""
    # Imported when used: it would slow down the start.
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
    """Whether this machine has an interface of that name that is switched on (NET-03).

    A TAP interface that no program has opened yet counts: it is switched on,
    though nothing can pass through it.

    :param name: of the interface.
    """

    def look() -> bool:
        import psutil

        found = psutil.net_if_stats().get(name)
        # Not psutil's "isup", which also requires something at the other end.
        return found is not None and "up" in found.flags.split(",")

    return await asyncio.to_thread(look)


async def resolve_ipv4(host: str) -> str:
    """The IPv4 address of ``host`` in dotted form.

    An emulator may accept addresses only and silently replace a name with 127.0.0.1
    (contract 5.6), so names are resolved before they reach an emulator.

    :raises Conflict: the name has no IPv4 address.
    """
    try:
        return str(ipaddress.IPv4Address(host))
    except ValueError:
        pass
    try:
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host, None, family=socket.AF_INET, type=socket.SOCK_DGRAM)
    except (OSError, UnicodeError, ValueError) as error:
        raise Conflict(
            f"Host {host!r} has no IPv4 address that this server can find ({error}): "
            "check the name, or give the address."
        ) from error
    return str(found[0][4][0])
