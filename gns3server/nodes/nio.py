"""NIOs: the ends of wires, and what a plugin says about each kind."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from marshmallow import Schema

from gns3server.errors import warn_of_old_name
from gns3server.running.machine import Machine


@dataclass(frozen=True, slots=True)
class Nio:
    """One end of a wire, as a client described it.

    :param type: name of its NIO type, such as ``nio_udp``.
    :param values: the other fields of the wire object, by name.
    """

    type: str
    values: Mapping[str, Any]

    def wire(self) -> dict[str, Any]:
        """The object as clients send and get it."""
        return {**self.values, "type": self.type}


@dataclass(frozen=True, slots=True)
class Tunnel:
    """One end of a UDP tunnel.

    :param local: the UDP port that the node binds.
    :param host: where the other end is.
    :param remote: the UDP port there.
    """

    local: int
    host: str
    remote: int


Check = Callable[[Mapping[str, Any], Machine], Awaitable[None]]
OldCheck = Callable[[Mapping[str, Any]], Awaitable[None]]
"""Its form before there were other machines; removed in 0.3."""


@dataclass(frozen=True, kw_only=True)
class NioType:
    """A kind of NIO that a plugin offers to every node type.

    :param name: the wire object's ``type``.
    :param schema: its other fields; ``type`` is added by the core.
    :param local_udp_port: the field that names the UDP port which a node with
        this NIO binds on its machine; the core reserves it.
    :param remote_host: the field that names the host at the other end.
    :param remote_udp_port: the field that names the UDP port there. A type that has these three
        fields and needs no other is a tunnel, which links are made of.
    :param check: awaited with the validated fields and the :class:`Machine` of the node before
        the NIO is taken; raises :class:`~gns3server.errors.Conflict` when it could not work there.
    """

    name: str
    schema: type[Schema]
    local_udp_port: str | None = None
    remote_host: str | None = None
    remote_udp_port: str | None = None
    check: Check | OldCheck | None = None

    def __post_init__(self) -> None:
        # Anything else is not a check, and is refused when its plugin is loaded.
        if callable(self.check) and takes(self.check, 1):
            warn_of_old_name("NioType.check(values)", "check(values, machine)", level=4)

    async def run_check(self, values: Mapping[str, Any], machine: Machine) -> None:
        """Have its plugin check a NIO that is to be plugged in on a machine.

        :raises gns3server.errors.Conflict: it could not work there.
        """
        if self.check is not None:
            arguments = (values,) if takes(self.check, 1) else (values, machine)
            await cast("Callable[..., Awaitable[None]]", self.check)(*arguments)

    @property
    def is_tunnel(self) -> bool:
        """Whether it carries frames over UDP, to any host and port."""
        return None not in self._tunnel_fields

    @property
    def _tunnel_fields(self) -> tuple[str | None, ...]:
        return self.local_udp_port, self.remote_host, self.remote_udp_port

    def end_of(self, tunnel: Tunnel) -> Nio:
        """The NIO that is one end of a tunnel; for types that are one."""
        values = (tunnel.local, tunnel.host, tunnel.remote)
        return Nio(self.name, dict(zip(map(str, self._tunnel_fields), values, strict=True)))

    def tunnel_of(self, nio: Nio) -> Tunnel | None:
        """The tunnel that a NIO of this type is an end of, if the type is one."""
        if not self.is_tunnel:
            return None
        local, host, remote = (nio.values[str(name)] for name in self._tunnel_fields)
        return Tunnel(local, host, remote)

    def udp_port(self, nio: Nio) -> int | None:
        """The UDP port of the node's machine that ``nio`` names, if its type has one."""
        return None if self.local_udp_port is None else nio.values[self.local_udp_port]


def takes(function: Callable[..., Any], count: int) -> bool:
    """Whether a function can be called with this many positional arguments."""
    try:
        inspect.signature(function).bind(*range(count))
    except (TypeError, ValueError):
        return False
    return True
