"""What is plugged into a node: its NIOs, and the UDP ports that they name."""

from __future__ import annotations

from functools import partial

from gns3server.nodes.nio import Nio
from gns3server.nodes.project_base import ProjectBase
from gns3server.ports import Holder, Use
from gns3server.storage.change import ProjectChange
from gns3server.storage.rows import NioRow

Place = tuple[int, int]
"""Adapter and port."""


class Wiring:
    """The NIOs of one node, and its holds on the machine's ports that they name."""

    def __init__(self, project: ProjectBase, node_id: str) -> None:
        self._project = project
        self._node_id = node_id
        self.nios: dict[Place, Nio] = {}

    def freed_udp_ports(self) -> list[int]:
        """The allocated ports that are free again once this node is gone."""
        udp = self._project.machine.ports.udp
        return [
            port
            for port in {port for port, _ in self.udp_ports()}
            if all(h.use is not Use.NIO or h.node_id == self._node_id for h in udp.holders(port))
        ]

    def udp_ports(self) -> list[tuple[int, Holder]]:
        """The UDP ports that this node's NIOs name, each with its NIO's hold on it."""
        named = []
        for place, nio in self.nios.items():
            port = self._port(nio)
            if port is not None:
                named.append((port, self._holder(place)))
        return named

    def replace(self, change: ProjectChange, place: Place, nio: Nio | None) -> None:
        """Have a change plug a NIO in, or unplug what is there.

        :raises Conflict: the port that the NIO names is taken.
        """
        udp, holder = self._project.machine.ports.udp, self._holder(place)
        new_port, old_port = self._port(nio), self._port(self.nios.get(place))
        change.save_nio(self._node_id, place, None if nio is None else NioRow(nio.type, nio.values))
        change.then(partial(self._plug, place, nio))
        if new_port == old_port:
            return
        if new_port is not None:
            udp.hold(new_port, holder)
            change.undo(partial(udp.release, new_port, holder))
        if old_port is not None:
            change.then(partial(udp.release, old_port, holder))
            # An allocation ends with the last NIO that names it (contract 2.3).
            if all(other.use is not Use.NIO for other in udp.holders(old_port) - {holder}):
                change.free_port(old_port)
                change.then(
                    partial(udp.release_where, self._project.id, use=Use.ALLOCATED, port=old_port)
                )

    def _plug(self, place: Place, nio: Nio | None) -> None:
        if nio is None:
            self.nios.pop(place, None)
        else:
            self.nios[place] = nio

    def _port(self, nio: Nio | None) -> int | None:
        return None if nio is None else self._project.nio_type(nio.type).udp_port(nio)

    def _holder(self, place: Place) -> Holder:
        return Holder(self._project.id, Use.NIO, self._node_id, f"{place[0]}/{place[1]}")
