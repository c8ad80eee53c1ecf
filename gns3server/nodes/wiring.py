"""What is plugged into a node: its NIOs, and the UDP ports that they name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gns3server.errors import Conflict
from gns3server.nodes.nio import Nio
from gns3server.ports import Holder, Use

if TYPE_CHECKING:
    from gns3server.nodes.node import Node


class Wiring:
    """The NIOs of one node, by adapter and port; see :class:`~gns3server.nodes.node.Node`."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self.nios: dict[tuple[int, int], Nio] = {}

    async def add(self, adapter: int, port: int, nio: Nio) -> None:
        """Plug a NIO in, replacing the one that is there. A running node gets it at its next start.

        :raises Conflict: the type does not fit the node, the port is taken, or
            the NIO type's own check refuses.
        """
        place = self._place(adapter, port)
        if nio.type not in self._node.type.nio_types:
            takes = ", ".join(self._node.type.nio_types) or "none at all"
            raise Conflict(
                f"NIO of type {nio.type} is not supported by VM {self._node.name!r}: "
                f"it takes {takes}."
            )
        nio_type = self._node.project.nio_type(nio.type)
        if nio_type.check is not None:
            await nio_type.check(nio.values)
        await self._replace(place, nio, nio_type.udp_port(nio))

    async def remove(self, adapter: int, port: int) -> None:
        """Unplug what is there; nothing there is fine.

        :raises Conflict: the node has no such adapter or port.
        """
        place = self._place(adapter, port)
        if place in self.nios:
            await self._replace(place, None, None)

    def freed_udp_ports(self) -> list[int]:
        """The allocated ports that are free again when this node is gone."""
        udp = self._node.project.machine.ports.udp
        return [
            port
            for port in {port for port, _ in self.udp_ports()}
            if all(h.use is not Use.NIO or h.node_id == self._node.id for h in udp.holders(port))
        ]

    def udp_ports(self) -> list[tuple[int, Holder]]:
        """The UDP ports that this node's NIOs name, each with its NIO's hold on it."""
        named = []
        for place, nio in self.nios.items():
            port = self._node.project.nio_type(nio.type).udp_port(nio)
            if port is not None:
                named.append((port, self._holder(place)))
        return named

    def _place(self, adapter: int, port: int) -> tuple[int, int]:
        """Where a NIO goes that a request wants at this adapter and port.

        :raises Conflict: the node has no such adapter or port.
        """
        if self._node.type.adapters is None:
            adapter = 0
        elif adapter >= self._node.type.adapters:
            raise Conflict(
                f"VM {self._node.name!r} has no adapter {adapter}: its adapters are numbered "
                f"0 to {self._node.type.adapters - 1}."
            )
        if port >= self._node.type.ports:
            raise Conflict(
                f"VM {self._node.name!r} has no port {port} on adapter {adapter}: "
                f"ports are numbered 0 to {self._node.type.ports - 1}."
            )
        return adapter, port

    async def _replace(self, place: tuple[int, int], nio: Nio | None, udp_port: int | None) -> None:
        udp, holder = self._node.project.machine.ports.udp, self._holder(place)
        old = self.nios.get(place)
        old_port = self._node.project.nio_type(old.type).udp_port(old) if old else None
        if udp_port is not None and udp_port != old_port:
            udp.hold(udp_port, holder)
        freed = self._freed_with(old_port, holder) if old_port != udp_port else None
        try:
            await self._node.project.records.save_nio(self._node.id, place, nio, freed)
        except BaseException:
            if udp_port is not None and udp_port != old_port:
                udp.release(udp_port, holder)
            raise
        if nio is None:
            self.nios.pop(place, None)
        else:
            self.nios[place] = nio
        if old_port is not None and old_port != udp_port:
            udp.release(old_port, holder)
        if freed is not None:
            udp.release_where(self._node.project.id, use=Use.ALLOCATED, port=freed)

    def _freed_with(self, port: int | None, holder: Holder) -> int | None:
        """``port``, if its allocation ends with this NIO: no other NIO names it (contract 2.3)."""
        if port is None:
            return None
        others = self._node.project.machine.ports.udp.holders(port) - {holder}
        return None if any(other.use is Use.NIO for other in others) else port

    def _holder(self, place: tuple[int, int]) -> Holder:
        return Holder(self._node.project.id, Use.NIO, self._node.id, f"{place[0]}/{place[1]}")
