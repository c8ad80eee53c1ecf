"""The ends of links at their nodes: whether they fit there, and what is plugged in for them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gns3server.errors import Conflict, LabError, NotFound
from gns3server.links.link import LinkEnd
from gns3server.nodes import lifecycle
from gns3server.nodes.nio import Nio, NioType, Tunnel
from gns3server.nodes.node import Node
from gns3server.nodes.node_type import HOT_WIRING
from gns3server.nodes.parked import ParkedNode
from gns3server.nodes.project_base import ProjectBase, ProjectServices
from gns3server.nodes.states import NodeState
from gns3server.nodes.wiring import Place
from gns3server.storage.link_rows import RELAYED, LinkEndRow, LinkRow

log = logging.getLogger(__name__)


def end_of(row: LinkEndRow) -> LinkEnd:
    """Where the end of a stored link is plugged in."""
    return LinkEnd(row.node_id, row.adapter, row.port)


@dataclass(frozen=True, slots=True)
class Plug:
    """One end of a link, at its node.

    :param nio: what is plugged in there; ``None`` if the node cannot take anything now.
    """

    node: Node
    place: Place
    nio: Nio | None

    @property
    def is_new(self) -> bool:
        """Whether the node does not have it plugged in yet."""
        return self.node.nios.get(self.place) != self.nio

    @property
    def is_hot(self) -> bool:
        """Whether the node takes up what is plugged in while it runs."""
        return HOT_WIRING in self.node.type.capabilities

    @property
    def at_next_start(self) -> bool:
        """Whether the node runs, and takes this up only when it is started again."""
        return (
            self.node.state is not NodeState.STOPPED
            and not self.is_hot
            and not self.node.wiring.is_started_with(self.place, self.nio)
        )

    async def ask(self) -> None:
        """Ask the node whether it takes this.

        :raises gns3server.errors.LabError: it does not.
        """
        if self.nio is not None:
            await lifecycle.check_nio(self.node, self.nio)
            await self.node.calls.run("wire_changing", *self.place, self.nio)

    async def ask_to_part(self) -> None:
        """Ask the node whether this may be unplugged.

        :raises gns3server.errors.LabError: it may not.
        """
        if self.nio is not None:
            self.node.calls.check()
            await self.node.calls.run("wire_changing", *self.place, None)

    async def apply(self) -> None:
        """Have the node apply that this is plugged in.

        :raises gns3server.errors.LabError: it has failed to.
        """
        if self.nio is not None:
            await self.node.calls.run("wire_changed", *self.place, self.nio)

    async def part(self) -> None:
        """Have the node apply that this is unplugged.

        :raises gns3server.errors.LabError: it has failed to.
        """
        if self.nio is not None:
            await self.node.calls.run("wire_changed", *self.place, None)

    async def part_anyway(self) -> None:
        """Have the node apply that this is unplugged, whatever its plugin says."""
        try:
            await self.part()
        except LabError as error:
            log.warning("%s has not taken up that a link is gone: %s", self.node.title, error)


class Ends:
    """Finds the ends of a project's links at its nodes.

    :param find: finds a node of the project by its id.
    """

    def __init__(
        self,
        project: ProjectBase,
        services: ProjectServices,
        find: Callable[[str], Node | None],
    ) -> None:
        self._project = project
        self._shared = services
        self.find = find

    def node(self, end: LinkEnd) -> Node:
        """The node of an end.

        :raises NotFound: there is no such node.
        :raises Conflict: it is another project's.
        """
        node = self.find(end.node_id)
        if node is not None:
            return node
        owner = self._shared.node_ids.get(end.node_id)
        if owner not in (None, self._project.id):
            raise Conflict(
                f"VM {end.node_id} is in project {owner}, and a link joins nodes of one project."
            )
        raise NotFound(
            f"Project {self._project.id} has no VM with the id {end.node_id!r:.80}: check the id, "
            "or create the VM first."
        )

    def check(self, ends: Sequence[LinkEnd]) -> tuple[LinkEnd, LinkEnd]:
        """The two ends of a link that is to be made, as they are kept.

        :raises NotFound: there is no such node.
        :raises Conflict: they cannot be those of a link.
        """
        one, other = (self._check(end) for end in ends)
        if one.node_id == other.node_id:
            title = self.node(one).title
            raise Conflict(f"A link joins two nodes, and both ends are at {title}: name another.")
        return one, other

    def _check(self, end: LinkEnd) -> LinkEnd:
        node = self.node(end)
        node.calls.check()
        if isinstance(node, ParkedNode):
            place = end.place
        else:
            place = lifecycle.place_of(node, *end.place)
            if self.tunnel_type(node) is None:
                takes = ", ".join(node.type.nio_types) or "no NIO"
                raise Conflict(
                    f"{node.title} takes no UDP tunnel, so no link can end there: it takes {takes}."
                )
        node.wiring.check_unlinked(place, node.title)
        if place in node.nios:
            raise Conflict(
                f"Port {place[1]} on adapter {place[0]} of {node.title} has a NIO already: "
                "remove it first."
            )
        return LinkEnd(node.id, *place)

    def plugs(self, link: LinkRow) -> tuple[Plug, Plug]:
        """What is plugged in for a link, at its nodes."""
        one, other = link.ends
        return self._plug(link, one, other), self._plug(link, other, one)

    def _plug(self, link: LinkRow, here: LinkEndRow, there: LinkEndRow) -> Plug:
        end = end_of(here)
        node, nio = self.node(end), None
        kind = self.tunnel_type(node)
        if kind is not None:
            relay = here.relay if link.path == RELAYED else None
            remote = there.local if relay is None else relay
            nio = kind.end_of(Tunnel(here.local, self._project.machine.address, remote))
        return Plug(node, end.place, nio)

    def tunnel_type(self, node: Node) -> NioType | None:
        """The NIO type that links plug into a node; ``None`` if it takes none."""
        offered = self._shared.registry.nio_types
        kinds = [offered[name] for name in node.type.nio_types if name in offered]
        return next((kind for kind in kinds if kind.is_tunnel), None)

    def tunnel(self, nio: Nio | None) -> Tunnel | None:
        """The tunnel that a NIO is an end of, if it is one."""
        kind = None if nio is None else self._shared.registry.nio_types.get(nio.type)
        return None if nio is None or kind is None else kind.tunnel_of(nio)
