"""What is plugged into a node: its NIOs, and the UDP ports that they name."""

from __future__ import annotations

from collections.abc import Collection
from functools import partial

from gns3server.errors import Conflict
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
        self.links: dict[Place, str] = {}
        """By place, the link that has one of its ends there. A NIO there is part of the link."""
        self.suspended: set[Place] = set()
        """Where there is an end of a link that carries no frames."""
        self._started_with: dict[Place, Nio] = {}

    def freed_udp_ports(self) -> list[int]:
        """The allocated ports that are free again once this node is gone."""
        udp = self._project.machine.ports.udp
        return [
            port
            for port in {port for port, _ in self.udp_ports()}
            if all(h.use is not Use.NIO or h.node_id == self._node_id for h in udp.holders(port))
        ]

    def udp_ports(self) -> list[tuple[int, Holder]]:
        """The UDP ports that this node's NIOs name, each with its NIO's hold on it.

        Ports of links are not among them: those are held by the links.
        """
        named = []
        for place, nio in self.nios.items():
            port = self._port(nio)
            if port is not None and place not in self.links:
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
        self._project.note_wire(change, self._node_id, place, self.nios.get(place), nio)
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

    def join(self, place: Place, link_id: str, nio: Nio | None, *, suspended: bool) -> None:
        """Take in the end of a link.

        :param nio: what is plugged in for it; ``None`` where nothing can be.
        :param suspended: the link carries no frames.
        """
        self.links[place] = link_id
        (self.suspended.add if suspended else self.suspended.discard)(place)
        self._plug(place, nio)

    def part(self, place: Place) -> None:
        """Forget the end of a link."""
        del self.links[place]
        self.suspended.discard(place)
        self._plug(place, None)

    def check_unlinked(self, place: Place, title: str) -> None:
        """Refuse to change a NIO that is part of a link.

        :param title: the node, for the message.
        :raises Conflict: it is; the message names the link.
        """
        link_id = self.links.get(place)
        if link_id is not None:
            raise Conflict(
                f"Port {place[1]} on adapter {place[0]} of {title} is an end of link {link_id}: "
                "delete that link first."
            )

    def note_start(self) -> None:
        """Note that the node is started with what is plugged in now."""
        self._started_with = dict(self.nios)

    def note_adoption(self, ports: Collection[int]) -> None:
        """Note which UDP ports the node has bound, which an earlier server has started."""
        self._started_with = {
            place: nio for place, nio in self.nios.items() if self._port(nio) in ports
        }

    def is_started_with(self, place: Place, nio: Nio | None) -> bool:
        """Whether this was plugged in when the node was started."""
        return self._started_with.get(place) == nio

    def _plug(self, place: Place, nio: Nio | None) -> None:
        if nio is None:
            self.nios.pop(place, None)
        else:
            self.nios[place] = nio

    def _port(self, nio: Nio | None) -> int | None:
        return None if nio is None else self._project.nio_type(nio.type).udp_port(nio)

    def _holder(self, place: Place) -> Holder:
        return Holder(self._project.id, Use.NIO, self._node_id, f"{place[0]}/{place[1]}")
