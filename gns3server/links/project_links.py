"""The links of one project: which ones there are, and how they come and go.

Callers hold the locks of all nodes that a link joins.
"""

from __future__ import annotations

import logging
import secrets
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial

from gns3server.errors import Conflict, LabError, NotFound
from gns3server.events import Event
from gns3server.links.link import LinkEnd, LinkView
from gns3server.links.pairs import Pairs
from gns3server.nodes import lifecycle
from gns3server.nodes.nio import Nio, NioType, Tunnel
from gns3server.nodes.node import Node
from gns3server.nodes.node_type import HOT_WIRING
from gns3server.nodes.parked import ParkedNode
from gns3server.nodes.project_base import ProjectBase, ProjectServices
from gns3server.nodes.states import NodeState
from gns3server.nodes.wiring import Place
from gns3server.ports import Holder, Use
from gns3server.storage.change import ProjectChange
from gns3server.storage.link_rows import AUTO, DIRECT, RELAYED, LinkEndRow, LinkRow

log = logging.getLogger(__name__)

SEED_BITS = 31
"""How long the seed of a link is: any client can keep such a number exactly."""


@dataclass(frozen=True, slots=True)
class Plug:
    """One end of a link, at its node.

    :param nio: what is plugged in there; ``None`` if the node cannot take anything now.
    """

    node: Node
    place: Place
    nio: Nio | None

    @property
    def at_next_start(self) -> bool:
        """Whether the node runs, and takes this up only when it is started again."""
        return (
            self.node.state is not NodeState.STOPPED
            and HOT_WIRING not in self.node.type.capabilities
            and not self.node.wiring.is_started_with(self.place, self.nio)
        )


def nothing_else(_change: ProjectChange, _link_id: str) -> None:
    """Add nothing to what is stored with a new link."""


class ProjectLinks:
    """The links of a project.

    :param project: the project.
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
        self._find_node = find
        self._links: dict[str, LinkRow] = {}
        self.pairs = Pairs(project.id, project.machine.address)

    # Reading -------------------------------------------------------------------------

    def __iter__(self) -> Iterator[LinkView]:
        """All links in the order in which they were made, then all pairs of NIOs."""
        yield from [self._view(link) for link in self._links.values()]
        yield from self.pairs

    def find(self, link_id: str) -> LinkView | None:
        """A link, or a pair of NIOs, by its id."""
        link = self._links.get(link_id)
        return self.pairs.get(link_id) if link is None else self._view(link)

    def get(self, link_id: str) -> LinkView:
        """A link, or a pair of NIOs, by its id.

        :raises NotFound: there is none.
        """
        found = self.find(link_id)
        if found is None:
            raise NotFound(
                f"Project {self._project.id} has no link with the id {link_id!r:.80}: check the "
                "id; a link goes with each of its nodes, and a pair of NIOs with each of the two."
            )
        return found

    def neighbours(self, node_id: str) -> set[str]:
        """The nodes that links join to a node."""
        node = self._find_node(node_id)
        links = () if node is None else node.wiring.links.values()
        ends = {end.node_id for link_id in links for end in self._links[link_id].ends}
        return ends - {node_id}

    # Coming and going ----------------------------------------------------------------

    async def create(
        self,
        ends: Sequence[LinkEnd],
        *,
        link_id: str | None = None,
        wanted_path: str = AUTO,
        seed: int | None = None,
        join: Callable[[ProjectChange, str], None] = nothing_else,
    ) -> LinkView:
        """Make a link, and plug both ends in: all of it, or nothing.

        :param wanted_path: what is to be between the ends.
        :param seed: where the random numbers of its filters begin; random by default.
        :param join: given the change and the id of the link, adds to what is stored.
        :raises NotFound: there is no such node.
        :raises Conflict: a port does not exist, is taken or takes no link, or the id is taken.
        :raises StorageFailed: it could not be written.
        """
        one, other = self._check_ends(ends)
        new_id = link_id or str(uuid.uuid4())
        if self.find(new_id) is not None:
            raise Conflict(f"The link id {new_id} is taken in this project: choose another id.")
        with ExitStack() as undo:
            rows = [await self._reserve(new_id, end, undo) for end in (one, other)]
            link = LinkRow(
                id=new_id,
                ends=(rows[0], rows[1]),
                wanted=wanted_path,
                path=DIRECT,
                suspended=False,
                filters={},
                seed=secrets.randbits(SEED_BITS) if seed is None else seed,
            )
            plugs = self._plugs(link)
            for plug in plugs:
                await self._ask(plug)
            async with self._project.change() as change:
                change.save_link(link)
                change.then(partial(self._take_in, link, plugs))
                change.tell(self._event("created", self._view(link, plugs)))
                join(change, link.id)
            undo.pop_all()
        try:
            for plug in plugs:
                await self._apply(plug, plug.nio)
        except BaseException:
            await self._take_back(link)
            raise
        return self._view(link)

    async def _take_back(self, link: LinkRow) -> None:
        """Remove a link that one of its nodes has failed to take up."""
        async with self._project.change(fact=True) as change:
            self._remove(change, link)
        for plug in self._plugs(link):
            await self._apply_anyway(plug)

    async def delete(self, link_id: str) -> None:
        """Unplug both ends of a link, and forget it.

        :raises NotFound: there is no such link.
        :raises Conflict: one of its nodes refuses.
        :raises StorageFailed: it could not be written.
        """
        view = self.get(link_id)
        link = self._links.get(link_id)
        if link is None:
            await self._delete_pair(view)
            return
        plugs = self._plugs(link)
        for plug in plugs:
            if plug.nio is not None:
                plug.node.calls.check()
                await plug.node.calls.run("wire_changing", *plug.place, None)
        async with self._project.change() as change:
            self._remove(change, link)
        for plug in plugs:
            await self._apply(plug, None)

    async def _delete_pair(self, pair: LinkView) -> None:
        nodes = [(self._node(end), end.place) for end in pair.ends]
        for node, place in nodes:
            node.calls.check()
            await node.calls.run("wire_changing", *place, None)
        async with self._project.change() as change:
            for node, place in nodes:
                node.wiring.replace(change, place, None)
        for node, place in nodes:
            await node.calls.run("wire_changed", *place, None)

    def forget_node(self, change: ProjectChange, node: Node) -> list[Plug]:
        """Have a change forget the links of a node that is being deleted.

        :returns: the other ends, to be given to :meth:`unplug` once the change is made.
        """
        left = []
        for link_id in list(node.wiring.links.values()):
            link = self._links[link_id]
            self._remove(change, link)
            left += [plug for plug in self._plugs(link) if plug.node is not node]
        for place, nio in node.nios.items():
            if place not in node.wiring.links:
                self.note_wire(change, node.id, place, nio, None)
        return left

    async def unplug(self, plugs: Sequence[Plug]) -> None:
        """Have nodes apply that links are gone, whatever their plugins say."""
        for plug in plugs:
            await self._apply_anyway(plug)

    def note_wire(
        self, change: ProjectChange, node_id: str, place: Place, old: Nio | None, new: Nio | None
    ) -> None:
        """Have a change tell of the pairs that end and begin with a NIO."""
        end = LinkEnd(node_id, *place)
        gone, made = self.pairs.replace(end, self._tunnel(old), self._tunnel(new), change)
        for pair in gone:
            change.remove_link(pair.id)
            change.tell(self._event("deleted", pair))
        for pair in made:
            change.tell(self._event("created", pair))

    # Opening -------------------------------------------------------------------------

    async def restore(self, links: Sequence[LinkRow]) -> None:
        """Bring back links, and find the pairs, once all nodes are there and no run is adopted."""
        for link in links:
            if None in [self._find_node(end.node_id) for end in link.ends]:
                log.error("link %s is left out: one of its nodes is open elsewhere", link.id)
                continue
            self._take_in(link, self._plugs(link))
        for link in list(self._links.values()):
            await self._hold(link)

    def restore_pairs(self, node: Node) -> None:
        """Find the pairs that the NIOs of a restored node belong to."""
        for place, nio in node.nios.items():
            tunnel = self._tunnel(nio)
            if tunnel is not None and place not in node.wiring.links:
                self.pairs.add(LinkEnd(node.id, *place), tunnel)

    async def _hold(self, link: LinkRow) -> None:
        """Reserve the ports of a restored link; if one is taken meanwhile, it gets another."""
        udp, holder = self._project.machine.ports.udp, self._holder(link.id)
        ends = []
        for end in link.ends:
            try:
                udp.hold(end.local, holder)
                ends.append(end)
            except Conflict as error:
                local = await self._project.machine.allocate_port("udp", holder)
                log.warning("link %s gets UDP port %d instead: %s", link.id, local, error)
                ends.append(replace(end, local=local))
        new = replace(link, ends=(ends[0], ends[1]))
        if new != link:
            async with self._project.change() as change:
                change.save_link(new)
                change.then(partial(self._take_in, new, self._plugs(new)))

    # Its parts -----------------------------------------------------------------------

    def _check_ends(self, ends: Sequence[LinkEnd]) -> tuple[LinkEnd, LinkEnd]:
        """The ends as they are kept.

        :raises Conflict: they cannot be those of a link.
        """
        one, other = (self._check_end(end) for end in ends)
        if one.node_id == other.node_id:
            title = self._node(one).title
            raise Conflict(f"A link joins two nodes, and both ends are at {title}: name another.")
        return one, other

    def _check_end(self, end: LinkEnd) -> LinkEnd:
        node = self._node(end)
        node.calls.check()
        if isinstance(node, ParkedNode):
            place = end.place
        else:
            place = lifecycle.place_of(node, *end.place)
            if self._tunnel_type(node) is None:
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

    def _node(self, end: LinkEnd) -> Node:
        node = self._find_node(end.node_id)
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

    async def _reserve(self, link_id: str, end: LinkEnd, undo: ExitStack) -> LinkEndRow:
        machine, holder = self._project.machine, self._holder(link_id)
        local = await machine.allocate_port("udp", holder)
        undo.callback(machine.ports.udp.release, local, holder)
        return LinkEndRow(node_id=end.node_id, adapter=end.adapter, port=end.port, local=local)

    def _holder(self, link_id: str) -> Holder:
        return Holder(self._project.id, Use.LINK, detail=link_id)

    def _plugs(self, link: LinkRow) -> tuple[Plug, Plug]:
        """What is plugged in for a link, at its nodes."""
        one, other = link.ends
        return self._plug(link, one, other), self._plug(link, other, one)

    def _plug(self, link: LinkRow, here: LinkEndRow, there: LinkEndRow) -> Plug:
        node, nio = self._node(LinkEnd(here.node_id, here.adapter, here.port)), None
        kind = self._tunnel_type(node)
        if kind is not None:
            remote = here.relay if link.path == RELAYED and here.relay else there.local
            nio = kind.end_of(Tunnel(here.local, self._project.machine.address, remote))
        return Plug(node, (here.adapter, here.port), nio)

    def _tunnel_type(self, node: Node) -> NioType | None:
        """The NIO type that links plug into a node; ``None`` if it takes none."""
        offered = self._shared.registry.nio_types
        kinds = [offered[name] for name in node.type.nio_types if name in offered]
        return next((kind for kind in kinds if kind.is_tunnel), None)

    def _tunnel(self, nio: Nio | None) -> Tunnel | None:
        kind = None if nio is None else self._shared.registry.nio_types.get(nio.type)
        return None if nio is None or kind is None else kind.tunnel_of(nio)

    async def _ask(self, plug: Plug) -> None:
        """Ask a node whether it takes what is to be plugged in."""
        if plug.nio is not None:
            await lifecycle.check_nio(plug.node, plug.nio)
            await plug.node.calls.run("wire_changing", *plug.place, plug.nio)

    async def _apply(self, plug: Plug, nio: Nio | None) -> None:
        """Have a node apply what is plugged in now."""
        if plug.nio is not None:
            await plug.node.calls.run("wire_changed", *plug.place, nio)

    async def _apply_anyway(self, plug: Plug) -> None:
        try:
            await self._apply(plug, None)
        except LabError as error:
            log.warning("%s has not taken up that a link is gone: %s", plug.node.title, error)

    def _remove(self, change: ProjectChange, link: LinkRow) -> None:
        change.remove_link(link.id)
        change.tell(self._event("deleted", self._view(link)))
        change.then(partial(self._take_out, link))

    def _take_in(self, link: LinkRow, plugs: Sequence[Plug]) -> None:
        self._links[link.id] = link
        for plug in plugs:
            plug.node.wiring.join(plug.place, link.id, plug.nio)

    def _take_out(self, link: LinkRow) -> None:
        del self._links[link.id]
        udp, holder = self._project.machine.ports.udp, self._holder(link.id)
        for end in link.ends:
            self._node(LinkEnd(end.node_id, end.adapter, end.port)).wiring.part(
                (end.adapter, end.port)
            )
            for port in (end.local, end.relay):
                if port is not None:
                    udp.release(port, holder)

    def _view(self, link: LinkRow, plugs: Sequence[Plug] = ()) -> LinkView:
        """A link as clients see it.

        :param plugs: its ends, if they are not plugged in yet.
        """
        waiting = [plug.node.id for plug in plugs or self._plugs(link) if plug.at_next_start]
        one, other = (LinkEnd(end.node_id, end.adapter, end.port) for end in link.ends)
        return LinkView(
            id=link.id,
            project_id=self._project.id,
            ends=(one, other),
            wanted_path=link.wanted,
            path=link.path,
            suspended=link.suspended,
            filters=link.filters,
            seed=link.seed,
            at_next_start=tuple(waiting),
        )

    def _event(self, word: str, view: LinkView) -> Event:
        return Event("link", word, self._project.id, view)
