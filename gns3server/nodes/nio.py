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
    :param check: awaited with the validated fields and the :class:`Machine` of the node before
        the NIO is taken; raises :class:`~gns3server.errors.Conflict` when it could not work there.
    """

    name: str
    schema: type[Schema]
    local_udp_port: str | None = None
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
