"""The links of one project: which ones there are, and how they come, change and go.

Callers hold the locks of all nodes that a link joins.
"""

from __future__ import annotations

import logging
import secrets
import uuid
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from gns3server.errors import Conflict, InvalidRequest, LabError, NotFound
from gns3server.events import Event, LogEntry
from gns3server.links.captures import Captures, view_of
from gns3server.links.ends import Ends, Plug, end_of
from gns3server.links.filters import FILTERS, check_filters
from gns3server.links.for_panel import link_for_panel, pair_for_panel
from gns3server.links.link import LinkEnd, LinkView
from gns3server.links.pairs import Pairs
from gns3server.links.reserving import LinkPorts
from gns3server.links.service import LinkPanel
from gns3server.nodes.nio import Nio
from gns3server.nodes.node import Node
from gns3server.nodes.project_base import ProjectBase, ProjectServices
from gns3server.nodes.wiring import Place
from gns3server.ports import Use
from gns3server.storage.change import ProjectChange
from gns3server.storage.link_rows import AUTO, DIRECT, RELAYED, CaptureRow, LinkRow
from gns3server.storage.rows import RunRow

log = logging.getLogger(__name__)

KNOWN = frozenset(kind.type for kind in FILTERS)

SEED_BITS = 31
"""How long the seed of a link is: any client can keep such a number exactly."""


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
        self._settings = services.config
        self._ends = Ends(project, services, find)
        self._ports = LinkPorts(project.id, project.machine)
        self._links: dict[str, LinkRow] = {}
        self._captures = Captures(project)
        self.pairs = self._no_pairs()
        self._panel = LinkPanel(
            project,
            links=self._for_panel,
            ended=self._capture_has_ended,
            lost=self._panel_was_lost,
        )

    # Reading -------------------------------------------------------------------------

    def __iter__(self) -> Iterator[LinkView]:
        """All links in the order in which they were made, then all pairs of NIOs."""
        yield from [self._view(link) for link in self._links.values()]
        yield from map(self._captured, self.pairs)

    def find(self, link_id: str) -> LinkView | None:
        """A link, or a pair of NIOs, by its id."""
        link = self._links.get(link_id)
        if link is not None:
            return self._view(link)
        pair = self.pairs.get(link_id)
        return None if pair is None else self._captured(pair)

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
        node = self._ends.find(node_id)
        links = () if node is None else node.wiring.links.values()
        ends = {end.node_id for link_id in links for end in self._links[link_id].ends}
        return ends - {node_id}

    @property
    def panel_pid(self) -> int | None:
        """The process id of the link panel; ``None`` while there is none."""
        return self._panel.pid

    # Coming and going ----------------------------------------------------------------

    async def create(
        self,
        ends: Sequence[LinkEnd],
        *,
        link_id: str | None = None,
        path: str | None = None,
        suspended: bool = False,
        filters: Mapping[str, Any] | None = None,
        seed: int | None = None,
        join: Callable[[ProjectChange, str], None] = nothing_else,
    ) -> LinkView:
        """Make a link, and plug both ends in: all of it, or nothing.

        :param path: ``auto``, ``direct`` or ``relayed``; by default what the settings say.
        :param seed: where the random numbers of its filters begin; random by default.
        :param join: given the change and the id of the link, adds to what is stored.
        :raises NotFound: there is no such node.
        :raises InvalidRequest: a filter is unfit.
        :raises Conflict: a port does not exist, is taken or takes no link, or the id is taken.
        :raises StorageFailed: it could not be written.
        """
        one, other = self._ends.check(ends)
        new_id = link_id or str(uuid.uuid4())
        if self.find(new_id) is not None:
            raise Conflict(f"The link id {new_id} is taken in this project: choose another id.")
        with ExitStack() as undo:
            rows = [await self._ports.reserve(new_id, end, undo) for end in (one, other)]
            wanted = LinkRow(
                id=new_id,
                ends=(rows[0], rows[1]),
                wanted=path or self._settings.current.server.link_path,
                path=DIRECT,
                suspended=suspended,
                filters=_merged({}, filters),
                seed=secrets.randbits(SEED_BITS) if seed is None else seed,
            )
            link = await self._routed(wanted, undo)
            plugs = self._ends.plugs(link)
            for plug in plugs:
                await plug.ask()
            async with self._project.change() as change:
                change.save_link(link)
                change.then(partial(self._take_in, link, plugs))
                change.tell(self._event("created", self._view(link, plugs)))
                join(change, link.id)
            undo.pop_all()
        try:
            await self._have_relayed(link)
            for plug in plugs:
                await plug.apply()
        except BaseException:
            await self._take_back(link)
            raise
        return self._view(link)

    async def _take_back(self, link: LinkRow) -> None:
        """Remove a link that one of its nodes, or the panel, has failed to take up."""
        plugs = self._ends.plugs(link)
        async with self._project.change(fact=True) as change:
            self._remove(change, link)
        await self.unplug(plugs)

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
        plugs = self._ends.plugs(link)
        for plug in plugs:
            await plug.ask_to_part()
        async with self._project.change() as change:
            self._remove(change, link)
        for plug in plugs:
            await plug.part()
        await self._tell_panel(link)

    async def _delete_pair(self, pair: LinkView) -> None:
        nodes = [self._ends.node(end) for end in pair.ends]
        plugs = [
            Plug(node, end.place, node.nios.get(end.place))
            for node, end in zip(nodes, pair.ends, strict=True)
        ]
        for plug in plugs:
            await plug.ask_to_part()
        async with self._project.change() as change:
            for plug in plugs:
                plug.node.wiring.replace(change, plug.place, None)
        for plug in plugs:
            await plug.part()

    def forget_node(self, change: ProjectChange, node: Node) -> list[Plug]:
        """Have a change forget the links of a node that is being deleted.

        :returns: the other ends, to be given to :meth:`unplug` once the change is made.
        """
        left = []
        for link_id in list(node.wiring.links.values()):
            link = self._links[link_id]
            self._remove(change, link)
            left += [plug for plug in self._ends.plugs(link) if plug.node is not node]
        for place, nio in node.nios.items():
            if place not in node.wiring.links:
                self.note_wire(change, node.id, place, nio, None)
        return left

    async def unplug(self, plugs: Sequence[Plug]) -> None:
        """Have nodes, and the panel, apply that links are gone, whatever they say."""
        for plug in plugs:
            await plug.part_anyway()
        await self._panel.synchronize_anyway()

    def note_wire(
        self, change: ProjectChange, node_id: str, place: Place, old: Nio | None, new: Nio | None
    ) -> None:
        """Have a change tell of the pairs that end and begin with a NIO."""
        end, tunnel = LinkEnd(node_id, *place), self._ends.tunnel
        gone, made = self.pairs.replace(end, tunnel(old), tunnel(new), change)
        for pair in gone:
            change.remove_link(pair.id)
            change.tell(self._event("deleted", self._captured(pair)))
            if pair.id in self._captures:
                change.then(partial(self._captures.set, pair.id, None))
                change.then(lambda: self._project.own(self._panel.synchronize_anyway()))
        for pair in made:
            change.tell(self._event("created", pair))

    def note_stop(self, change: ProjectChange, node_id: str) -> None:
        """Have a change tell of the links that need no further start of a node that stops."""
        node = self._ends.find(node_id)
        for link_id in () if node is None else node.wiring.links.values():
            view = self._view(self._links[link_id])
            if node_id in view.at_next_start:
                others = tuple(other for other in view.at_next_start if other != node_id)
                change.tell(self._event("updated", replace(view, at_next_start=others)))

    # Changes -------------------------------------------------------------------------

    async def update(
        self,
        link_id: str,
        *,
        path: str | None = None,
        suspended: bool | None = None,
        filters: Mapping[str, Any] | None = None,
        seed: int | None = None,
    ) -> LinkView:
        """Change a link: all that is given, or nothing.

        :param filters: parameters by type of filter; ``None`` takes one away, and those that are
            not named stay.
        :raises NotFound: there is no such link.
        :raises InvalidRequest: a filter is unfit.
        :raises Conflict: it cannot be had that way; the text says what would help.
        :raises StorageFailed: it could not be written.
        """
        view = self.get(link_id)
        link = self._links.get(link_id)
        merged = _merged(view.filters, filters)
        if link is None:
            if suspended or merged or path not in (None, DIRECT):
                raise _is_a_pair(view)
            return view
        wanted = replace(
            link,
            wanted=link.wanted if path is None else path,
            suspended=link.suspended if suspended is None else suspended,
            filters=merged,
            seed=link.seed if seed is None else seed,
        )
        return await self._change(link, wanted)

    async def _change(
        self, link: LinkRow, wanted: LinkRow, capture: CaptureRow | None = None
    ) -> LinkView:
        """Have a link as it is wanted, and captured, if that is given."""
        with ExitStack() as undo:
            new = await self._routed(wanted, undo, captured=capture is not None)
            if new == link and capture is None:
                return self._view(link)
            plugs = self._ends.plugs(new)
            rewired = [plug for plug in plugs if plug.is_new]
            for plug in rewired:
                await plug.ask()
            # A node may show that its wire is suspended, though nothing else is plugged in.
            told = rewired if new.suspended == link.suspended else plugs
            async with self._project.change() as change:
                change.save_link(new)
                change.then(partial(self._take_in, new, plugs))
                if capture is not None:
                    self._save_capture(change, new.id, capture)
                view = self._view(new, plugs)
                if capture is not None:
                    view = replace(view, capture=view_of(capture))
                change.tell(self._event("updated", view))
            undo.pop_all()
        try:
            if RELAYED in (link.path, new.path) or new.id in self._captures:
                await self._have_relayed(new)
        except LabError:
            await self._change_back(new, link, captured=capture is not None)
            raise
        self._ports.release(link, keep=new)
        for plug in told:
            await plug.apply()
        return self._view(new)

    async def _change_back(self, link: LinkRow, former: LinkRow, *, captured: bool) -> None:
        """Have a link as it was, since the panel has failed to take up what it should become.

        :param captured: a capture has begun with it, and ends.
        """
        plugs = self._ends.plugs(former)
        async with self._project.change(fact=True) as change:
            change.save_link(former)
            change.then(partial(self._take_in, former, plugs))
            view = self._view(former, plugs)
            if captured:
                self._save_capture(change, link.id, None)
                view = replace(view, capture=None)
            change.tell(self._event("updated", view))
        self._ports.release(link, keep=former)
        await self._panel.synchronize_anyway()

    async def _routed(self, link: LinkRow, undo: ExitStack, *, captured: bool = False) -> LinkRow:
        """The link with the path that it is to have, and the ports for that.

        :param captured: a capture of it begins.
        :raises Conflict: what is wanted of it needs another path, or no port is left.
        """
        between = link.suspended or bool(link.filters)
        if link.wanted == DIRECT and between:
            raise Conflict(
                f"Link {link.id} has to be direct, and so has nothing in between that could filter "
                "or hold up frames: set its path to auto or relayed as well."
            )
        needed = between or captured or link.id in self._captures
        relayed = link.wanted == RELAYED or (
            link.wanted == AUTO
            and (needed or not all(plug.is_hot for plug in self._ends.plugs(link)))
        )
        if relayed:
            return await self._ports.reserve_relay(replace(link, path=RELAYED), undo)
        one, other = (replace(end, relay=None) for end in link.ends)
        return replace(link, path=DIRECT, ends=(one, other))

    # Captures ------------------------------------------------------------------------

    async def start_capture(
        self,
        link_id: str,
        *,
        file: str | None,
        snapshot_length: int,
        max_bytes: int | None,
        overwrite: bool,
    ) -> LinkView:
        """Capture a link into a file of the project.

        :param file: a plain name in the directory for captures; by default a new one.
        :param snapshot_length: how many bytes of a frame are kept.
        :param max_bytes: how large the file may become; by default what the settings say.
        :param overwrite: replace a file of that name.
        :raises NotFound: there is no such link.
        :raises Conflict: it is captured already, there is such a file, or it cannot be captured.
        :raises FilesFailed: the directory for captures cannot be used.
        """
        view = self.get(link_id)
        if view.capture is not None:
            raise Conflict(
                f"Link {link_id} is captured into {view.capture.file} already: stop that first."
            )
        names = "_to_".join(self._ends.node(end).name for end in view.ends)
        capture = CaptureRow(
            file=await self._captures.make_room(file, names=names, overwrite=overwrite),
            snapshot_length=snapshot_length,
            max_bytes=max_bytes or self._settings.current.server.max_capture_size * 1024 * 1024,
        )
        link = self._links.get(link_id)
        try:
            if link is not None:
                await self._change(link, link, capture)
            else:
                async with self._project.change() as change:
                    self._save_capture(change, link_id, capture)
                    change.tell(self._event("updated", replace(view, capture=view_of(capture))))
                await self._check_panel(link_id)
        except LabError:
            await self._end_capture(link_id)
            await self._captures.settle(capture.file, made=False)
            raise
        await self._captures.settle(capture.file, made=True)
        return self.get(link_id)

    async def stop_capture(self, link_id: str) -> None:
        """End the capture of a link, with all that has come in its file; it is fine if none is on.

        :raises NotFound: there is no such link.
        :raises StorageFailed: it could not be written.
        """
        if self.get(link_id).capture is None:
            return
        await self._end_capture(link_id, fact=False)
        link = self._links.get(link_id)
        if link is not None:
            await self._change(link, link)

    async def follow(self, link_id: str) -> AsyncGenerator[bytes, None]:
        """What is captured of a link, as a pcap stream: its header, the last seconds, what comes.

        :raises NotFound: there is no such link.
        :raises Conflict: it is not being captured, or too many follow it.
        """
        if self.get(link_id).capture is None:
            raise Conflict(f"Link {link_id} is not being captured: start a capture first.")
        async for data in self._panel.follow(link_id):
            yield data

    async def _end_capture(self, link_id: str, *, fact: bool = True) -> None:
        if link_id not in self._captures:
            return
        view = self.get(link_id)
        async with self._project.change(fact=fact) as change:
            self._save_capture(change, link_id, None)
            change.tell(self._event("updated", replace(view, capture=None)))
        await self._panel.synchronize_anyway()

    def _save_capture(
        self, change: ProjectChange, link_id: str, capture: CaptureRow | None
    ) -> None:
        change.save_capture(link_id, capture)
        change.then(partial(self._captures.set, link_id, capture))

    def _capture_has_ended(self, link_id: str, reason: str) -> None:
        _ = self._project.own(self._note_end_of_capture(link_id, reason))

    async def _note_end_of_capture(self, link_id: str, reason: str) -> None:
        if (view := self.find(link_id)) is None or view.capture is None:
            return
        await self._end_capture(link_id)
        await self._complain(f"The capture of link {link_id} has ended: {reason}.")

    # The panel -----------------------------------------------------------------------

    async def adopt(self, row: RunRow) -> None:
        """Continue with the panel that an earlier server has started.

        :raises OSError: its processes could not be searched for, and were left alone.
        """
        await self._panel.adopt([row])

    async def catch_up(self) -> None:
        """Have the panel do what it shall; to be called once the project is open."""
        await self._panel.synchronize_anyway()
        for link_id, reason in (await self._panel.ended_captures()).items():
            await self._note_end_of_capture(link_id, reason)

    async def stop(self) -> None:
        """End the panel."""
        await self._panel.stop()

    async def leave(self) -> None:
        """Let the panel run on, for the next server."""
        await self._panel.leave()

    def move(self, change: ProjectChange, source: Path, target: Path) -> None:
        """Have a change store that the project's directory has another path."""
        self._panel.move(change, source, target)

    def be_moved(self, source: Path, target: Path) -> None:
        """Take note that the project's directory has another path."""
        self._panel.be_moved(source, target)

    def _for_panel(self) -> list[Mapping[str, Any]]:
        """All that the panel shall do."""
        captures, address = self._captures, self._project.machine.address
        links = [
            link_for_panel(link, address, captures.wanted(link.id))
            for link in self._links.values()
            if link.path == RELAYED or link.id in captures
        ]
        pairs = [
            pair_for_panel(pair, self.pairs.ports(pair), address, captures.wanted(pair.id))
            for pair in self.pairs
            if pair.id in captures
        ]
        return [*links, *pairs]

    async def _have_relayed(self, link: LinkRow) -> None:
        """Have the panel do what a link needs of it.

        :raises LabError: it cannot.
        """
        if link.path == RELAYED or link.id in self._captures:
            await self._check_panel(link.id)
        else:
            await self._panel.synchronize_anyway()

    async def _check_panel(self, link_id: str) -> None:
        failed = await self._panel.synchronize()
        if link_id in failed:
            raise Conflict(f"Link {link_id} cannot be had that way: {failed[link_id]}.")

    async def _tell_panel(self, link: LinkRow) -> None:
        """Tell the panel that a link is gone."""
        if link.path == RELAYED or link.id in self._captures:
            await self._panel.synchronize_anyway()

    def _panel_was_lost(self) -> None:
        _ = self._project.own(
            self._complain(
                "The link panel has ended by itself, and is started again: frames that were on "
                "their way through relayed links are lost."
            )
        )

    async def _complain(self, message: str) -> None:
        log.error("project %s: %s", self._project.id, message)
        async with self._project.change(fact=True) as change:
            change.tell(Event("log", "error", self._project.id, LogEntry(message)))

    # Opening -------------------------------------------------------------------------

    def clear(self) -> None:
        """Forget all links, and release their ports: others take their place."""
        self._project.machine.ports.udp.release_where(self._project.id, use=Use.LINK)
        self._links.clear()
        self.pairs = self._no_pairs()

    async def restore(self, links: Sequence[LinkRow], captures: Mapping[str, CaptureRow]) -> None:
        """Bring back links, once all nodes are there and before any run is adopted."""
        self._captures.restore(captures)
        for link in links:
            if None in [self._ends.find(end.node_id) for end in link.ends]:
                log.error("link %s is left out: one of its nodes is open elsewhere", link.id)
                continue
            self._take_in(link, self._ends.plugs(link))
        for link in list(self._links.values()):
            new = await self._ports.hold(link)
            if new != link:
                async with self._project.change() as change:
                    change.save_link(new)
                    change.then(partial(self._take_in, new, self._ends.plugs(new)))

    def restore_pairs(self, node: Node) -> None:
        """Find the pairs that the NIOs of a restored node belong to."""
        for place, nio in node.nios.items():
            tunnel = self._ends.tunnel(nio)
            if tunnel is not None and place not in node.wiring.links:
                self.pairs.add(LinkEnd(node.id, *place), tunnel)

    # Its parts -----------------------------------------------------------------------

    def _remove(self, change: ProjectChange, link: LinkRow) -> None:
        change.remove_link(link.id)
        change.tell(self._event("deleted", self._view(link)))
        change.then(partial(self._take_out, link))

    def _take_in(self, link: LinkRow, plugs: Sequence[Plug]) -> None:
        self._links[link.id] = link
        for plug in plugs:
            plug.node.wiring.join(plug.place, link.id, plug.nio, suspended=link.suspended)

    def _take_out(self, link: LinkRow) -> None:
        del self._links[link.id]
        self._captures.set(link.id, None)
        for end in map(end_of, link.ends):
            self._ends.node(end).wiring.part(end.place)
        self._ports.release(link)

    def _view(self, link: LinkRow, plugs: Sequence[Plug] = ()) -> LinkView:
        """A link as clients see it.

        :param plugs: its ends, if they are not plugged in yet.
        """
        waiting = [plug.node.id for plug in plugs or self._ends.plugs(link) if plug.at_next_start]
        one, other = map(end_of, link.ends)
        return LinkView(
            id=link.id,
            project_id=self._project.id,
            ends=(one, other),
            wanted_path=link.wanted,
            path=link.path,
            suspended=link.suspended,
            filters=link.filters,
            seed=link.seed,
            capture=self._captures.view(link.id),
            at_next_start=tuple(waiting),
        )

    def _no_pairs(self) -> Pairs:
        return Pairs(
            self._project.id, self._project.machine.address, told_falsely=self._take_word_back
        )

    def _take_word_back(self, pair: LinkView) -> None:
        """Tell that a pair is gone that was told of, and of which one NIO was not stored."""
        _ = self._project.own(self._tell_deleted(pair))

    async def _tell_deleted(self, pair: LinkView) -> None:
        async with self._project.change(fact=True) as change:
            change.tell(self._event("deleted", pair))

    def _captured(self, pair: LinkView) -> LinkView:
        """A pair with its capture, if it is captured."""
        return replace(pair, capture=self._captures.view(pair.id))

    def _event(self, word: str, view: LinkView) -> Event:
        return Event("link", word, self._project.id, view)


def _merged(
    filters: Mapping[str, Mapping[str, Any]], changes: Mapping[str, Any] | None
) -> Mapping[str, Mapping[str, Any]]:
    """Filters with some of them changed, and those taken away that are to be ``None``.

    :raises InvalidRequest: one is unfit.
    """
    merged = {**filters, **(changes or {})}
    for name in [name for name, values in merged.items() if values is None and name in KNOWN]:
        del merged[name]
    try:
        return check_filters(merged)
    except ValueError as error:
        raise InvalidRequest(f"The filters of a link are unfit: {error}.") from None


def _is_a_pair(pair: LinkView) -> Conflict:
    return Conflict(
        f"Link {pair.id} is two NIOs that match, so there is nothing in between that could filter "
        "or hold up frames, and no place for it: it can only be captured. Delete it, and make a "
        "link between the same ports."
    )
