"""The network of this machine: its interfaces, and the addresses of other hosts.

All functions block, except those that are awaited.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Mapping
from functools import partial

from gns3server.errors import Conflict
from gns3server.running.threads import SeparateThreads

LOOKUP_SECONDS = 6.0
"""How long a lookup may take. Resolvers ask the second name server after five (resolv.conf(5))."""

MOST_LOOKUPS = 32
"""Names that are looked up at the same time; further ones wait."""


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


class Resolver:
    """Finds the addresses of hosts, apart from all other work: name servers may not answer.

    The system's resolver cannot be interrupted, and waits for ten seconds and more.

    :param ready: how many threads are started now.
    :raises OSError: they cannot be started.
    """

    def __init__(self, ready: int = 0) -> None:
        self._threads = SeparateThreads("lookup", MOST_LOOKUPS, ready=ready)

    def close(self) -> None:
        """Begin no more lookups, and wait for none."""
        self._threads.close()

    async def resolve_ipv4(self, host: str) -> str:
        """The IPv4 address of ``host`` in dotted form.

        An emulator may accept addresses only and silently replace a name with 127.0.0.1
        (contract 5.6), so names are resolved before they reach an emulator.

        :raises Conflict: the name has no IPv4 address, or no name server answers in time.
        """
        try:
            return str(ipaddress.IPv4Address(host))
        except ValueError:
            pass
        try:
            return await self._threads.run(partial(_look_up, host), key=host, limit=LOOKUP_SECONDS)
        except TimeoutError as error:
            raise Conflict(
                f"Host {host!r} was not found, because no name server has answered within "
                f"{LOOKUP_SECONDS:g} seconds: give the address, or correct the name servers of "
                "the server's machine (/etc/resolv.conf)."
            ) from error
        except (OSError, UnicodeError, ValueError) as error:
            raise Conflict(
                f"Host {host!r} has no IPv4 address that this server can find ({error}): "
                "check the name, or give the address."
            ) from error


async def resolve_ipv4(host: str) -> str:
    """Find one address, as plugins of 0.1 do; see :meth:`Resolver.resolve_ipv4`."""
    return await Resolver().resolve_ipv4(host)


def _look_up(host: str) -> str:
    found = socket.getaddrinfo(host, None, family=socket.AF_INET, type=socket.SOCK_DGRAM)
    return str(found[0][4][0])
