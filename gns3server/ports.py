"""Console and UDP port pools: which port belongs to whom.

A port is reserved as long as anybody *holds* it. What a client allocated, what
a NIO or a console names and what a running process has bound are separate
holds on the same port, so that changing a NIO or a console never frees a port
that a process still has.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from enum import Enum

from gns3server.errors import Conflict


class Use(Enum):
    """What a port is held for."""

    ALLOCATED = "allocated for a client"
    CONSOLE = "console"
    NIO = "NIO"
    LINK = "link"
    RUNNING = "running process"


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a port: a project, and the node in it unless the port is only allocated.

    :param detail: tells apart several holds of one node (which adapter and port); for a link, its
        id.
    """

    project_id: str
    use: Use
    node_id: str | None = None
    detail: str = ""

    def describe(self) -> str:
        """The holder in words, for an error message."""
        if self.use is Use.LINK:
            return f"link {self.detail}"
        if self.node_id is None:
            return f"project {self.project_id}"
        return f"the {self.use.value} of VM {self.node_id}"


class PortPool:
    """The ports of one transport protocol on one machine.

    :param kind: ``"TCP"`` or ``"UDP"``.
    :param first: lowest port that is handed out.
    :param last: highest port that is handed out, inclusive.
    :param companions: distances at which some emulator binds a second port
        beside its own; a port is never handed out while one at such a
        distance, above or below, is reserved.
    :raises Conflict: the range is empty.
    """

    def __init__(self, kind: str, first: int, last: int, companions: Iterable[int] = ()) -> None:
        if last < first:
            raise Conflict(f"The {kind} port range {first}-{last} ends before it starts.")
        self.kind = kind
        self.first = first
        self.last = last
        self._distances = sorted({d for c in companions for d in (c, -c) if c})
        self._holders: dict[int, set[Holder]] = {}
        self._companion_holders: dict[int, set[Holder]] = {}
        self._allocating = asyncio.Lock()

    def __len__(self) -> int:
        """How many ports are reserved."""
        return len(self._holders)

    @property
    def reserved(self) -> frozenset[int]:
        """The ports that somebody holds, or that are bound as companions of others."""
        return frozenset(self._holders) | frozenset(self._companion_holders)

    def holders(self, port: int) -> frozenset[Holder]:
        """Everybody who holds ``port``."""
        return frozenset(self._holders.get(port, ()))

    async def allocate(
        self,
        holder: Holder,
        can_bind: Callable[[str, int], Awaitable[bool]],
        *,
        highest: bool = False,
    ) -> int:
        """Reserve the lowest port that nobody holds and no other process has bound.

        :param can_bind: asks the machine, with the kind, whether a process could bind a port.
        :param highest: reserve the highest instead.
        :raises Conflict: the whole range is taken.
        """
        numbers = range(self.first, self.last + 1)
        # One after the other: whether a lower port is free shows only when it was asked for.
        async with self._allocating:
            for port in reversed(numbers) if highest else numbers:
                if self._may_hand_out(port) and await self._try(port, holder, can_bind):
                    return port
        raise Conflict(
            f"No free {self.kind} port is left between {self.first} and {self.last}: "
            "delete nodes or close projects, or widen the range in the settings."
        )

    async def _try(
        self, port: int, holder: Holder, can_bind: Callable[[str, int], Awaitable[bool]]
    ) -> bool:
        # Reserved meanwhile: nobody else may take it while the machine is asked.
        self.hold_bound(port, holder)
        free = False
        try:
            free = await can_bind(self.kind, port)
        finally:
            if not free:
                self.release(port, holder)
        return free

    def _may_hand_out(self, port: int) -> bool:
        return (
            port not in self._holders
            and port not in self._companion_holders
            and all(port + distance not in self._holders for distance in self._distances)
        )

    def hold(self, port: int, holder: Holder) -> None:
        """Reserve exactly this port, inside the range or outside.

        A TCP port belongs to one node. A UDP port belongs to one project, and
        only one node at a time can run on it. What a link holds no NIO and no other link can name.

        :raises Conflict: somebody else holds it.
        """
        for other in self._holders.get(port, ()):
            if self._clash(other, holder):
                raise self._taken(port, other)
        if holder.use is Use.RUNNING:
            for other in self._companion_holders.get(port, ()):
                if other.node_id != holder.node_id:
                    raise self._taken(port, other)
        self.hold_bound(port, holder)

    def _clash(self, other: Holder, holder: Holder) -> bool:
        same_node = other.project_id == holder.project_id and other.node_id == holder.node_id
        if self.kind == "TCP":
            return not same_node
        if other.project_id != holder.project_id:
            return True
        if Use.LINK in (other.use, holder.use) and Use.RUNNING not in (other.use, holder.use):
            return other != holder
        return other.use is Use.RUNNING and holder.use is Use.RUNNING and not same_node

    def _taken(self, port: int, other: Holder) -> Conflict:
        return Conflict(
            f"{self.kind} port {port} already in use on this host: "
            f"it is reserved for {other.describe()}. Choose another port."
        )

    def hold_bound(self, port: int, holder: Holder) -> None:
        """Reserve a port that the holder already has; never refused."""
        self._holders.setdefault(port, set()).add(holder)

    def hold_companion(self, port: int, holder: Holder) -> None:
        """Note that a running process may bind ``port`` besides the ones it asked for.

        Never refused: when the port is taken the emulator does without it.
        """
        self._companion_holders.setdefault(port, set()).add(holder)

    def release(self, port: int, holder: Holder) -> None:
        """Give up one hold; harmless when there is none."""
        for table in (self._holders, self._companion_holders):
            holders = table.get(port)
            if holders is not None:
                holders.discard(holder)
                if not holders:
                    del table[port]

    def release_where(
        self,
        project_id: str,
        *,
        use: Use | None = None,
        port: int | None = None,
        node_id: str | None = None,
    ) -> None:
        """Give up every hold of a project that matches all given arguments."""
        for number in [port] if port is not None else [*self._holders, *self._companion_holders]:
            everybody = self._holders.get(number, set()) | self._companion_holders.get(
                number, set()
            )
            for holder in everybody:
                if (
                    holder.project_id == project_id
                    and use in (None, holder.use)
                    and node_id in (None, holder.node_id)
                ):
                    self.release(number, holder)


class Ports:
    """The pools of one machine, by the protocol's name in lower case."""

    def __init__(self, tcp: PortPool, udp: PortPool) -> None:
        self.tcp = tcp
        self.udp = udp

    def pool(self, kind: str) -> PortPool:
        """The pool of ``"tcp"`` or ``"udp"``."""
        return self.tcp if kind == "tcp" else self.udp

    def release_project(self, project_id: str) -> None:
        """Give up everything a project holds."""
        self.tcp.release_where(project_id)
        self.udp.release_where(project_id)


def can_bind(kind: str, port: int) -> bool:
    """Whether a new process could bind ``port`` on all addresses now; see :func:`try_port`.

    :raises OSError: there is no file descriptor left to find that out.
    """
    try:
        try_port(kind, port)
    except OSError as error:
        if error.errno in (errno.EMFILE, errno.ENFILE):
            raise
        return False
    return True


def try_port(kind: str, port: int, family: socket.AddressFamily = socket.AF_INET) -> None:
    """Bind ``port`` on all addresses of a family, and release it.

    TCP is tried with address reuse, as emulators do, so that connections that
    linger after a console was closed are no obstacle. UDP is tried without:
    there, reuse would hide a port that another process has.

    :param kind: ``"TCP"`` or ``"UDP"``.
    :raises OSError: it cannot be bound now.
    """
    transport = socket.SOCK_STREAM if kind == "TCP" else socket.SOCK_DGRAM
    with socket.socket(family, transport) as probe:
        if family == socket.AF_INET6:
            probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if kind == "TCP":
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("", port))
