"""NIOs: the ends of wires, and what a plugin says about each kind of them."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from marshmallow import Schema

from gns3server.errors import Conflict


@dataclass(frozen=True, slots=True)
class Nio:
    """One end of a wire, as a client described it.

    :param type: name of its NIO type, as ``nio_udp``.
    :param values: the other fields of the wire object, by name.
    """

    type: str
    values: Mapping[str, Any]

    def wire(self) -> dict[str, Any]:
        """The object as clients send and get it."""
        return {**self.values, "type": self.type}


@dataclass(frozen=True, kw_only=True)
class NioType:
    """A kind of NIO that a plugin offers to every node type.

    :param name: the wire object's ``type``.
    :param schema: its other fields; ``type`` is added by the core.
    :param local_udp_port: the field that names the UDP port which a node with
        this NIO binds on this machine; the core reserves it.
    :param check: awaited with the validated fields before the NIO is taken;
        raises :class:`~gns3server.errors.Conflict` when it could not work here.
    """

    name: str
    schema: type[Schema]
    local_udp_port: str | None = None
    check: Callable[[Mapping[str, Any]], Awaitable[None]] | None = None

    def udp_port(self, nio: Nio) -> int | None:
        """The UDP port of this machine that ``nio`` names, if its type has one."""
        return None if self.local_udp_port is None else nio.values[self.local_udp_port]


async def resolve_ipv4(host: str) -> str:
    """The IPv4 address of ``host`` in dotted form.

    An emulator may take addresses only and silently replace a name by 127.0.0.1
    (contract 5.6), so names are resolved before they reach one.

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
