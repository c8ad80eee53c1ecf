"""What plugins do with the links of a project; each operation waits for its own turn."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from types import MappingProxyType
from typing import Any

from gns3server.links.captures import SNAPSHOT_LENGTH
from gns3server.links.link import LinkEnd, LinkView
from gns3server.links.project_links import ProjectLinks
from gns3server.nodes.limits import core_code
from gns3server.nodes.project_base import ProjectBase
from gns3server.nodes.store import Store, stored_with_all
from gns3server.projects.node_api import Turns
from gns3server.storage.change import ProjectChange
from gns3server.storage.rows import Owner


class Links:
    """The links of a project, by id: those made as links, and pairs of NIOs that match.

    Reading waits for nobody. Everything else waits for its turn at both nodes of the link, and is
    on disk when it returns. Where it may be called from is as for :class:`Nodes`.

    :param turn: waits for the turn at some nodes.
    """

    def __init__(self, project: ProjectBase, turn: Turns, members: ProjectLinks) -> None:
        self._project = project
        self._turn = turn
        self._members = members

    def __iter__(self) -> Iterator[LinkView]:
        """All links, in the order in which they were made, then all pairs of NIOs."""
        return iter(self.list())

    def list(self) -> tuple[LinkView, ...]:
        """All links, in the order in which they were made, then all pairs of NIOs."""
        return tuple(self._members)

    def get(self, link_id: str) -> LinkView:
        """A link.

        :raises gns3server.errors.NotFound: there is no such link.
        """
        return self._members.get(link_id)

    def store(self, link_id: str) -> Store:
        """Durable values that the calling plugin keeps with a link.

        They are deleted with the link; a pair of NIOs that is plugged together again begins anew.

        :raises gns3server.errors.NotFound: there is no such link.
        """
        kind = "link" if self.get(link_id).made_as == "link" else "pair"
        return Store(self._project.records, Owner(kind, link_id))

    @core_code
    async def stored(self, key: str) -> dict[str, Any]:
        """The value that the calling plugin keeps under a key with each link that has one, by id.

        One read, however many links there are.
        """
        return await stored_with_all(self._project.records, key, "link", "pair")

    @core_code
    async def create(
        self,
        ends: Sequence[LinkEnd],
        *,
        link_id: str | None = None,
        path: str | None = None,
        suspended: bool = False,
        filters: Mapping[str, Any] | None = None,
        seed: int | None = None,
        stored: Mapping[str, Any] = MappingProxyType({}),
    ) -> LinkView:
        """Make a link, and plug both ends in: all of it, or nothing.

        Running nodes take it up at once if their types can do that; the others are named by
        ``at_next_start``.

        :param ends: two ports of two nodes.
        :param link_id: its id; a new one by default.
        :param path: ``auto``, ``direct`` or ``relayed``; by default what the settings say.
        :param suspended: it carries no frames.
        :param filters: parameters by type of filter, as ``GET links/filters`` lists them.
        :param seed: where the random numbers of its filters begin; random by default.
        :param stored: what its :meth:`store` begins with; in the same commit.
        :raises gns3server.errors.NotFound: there is no such node.
        :raises gns3server.errors.InvalidRequest: a filter is unfit.
        :raises gns3server.errors.Conflict: a port does not exist, is taken or takes no link, or the
            id is taken.
        :raises gns3server.errors.StorageFailed: it could not be written.
        """

        def join(change: ProjectChange, new_id: str) -> None:
            if stored:
                store = Store(self._project.records, Owner("link", new_id))
                for key, value in stored.items():
                    store.save(change, key, value)

        nodes = [end.node_id for end in ends]
        async with self._turn("create a link", *nodes, *([link_id] if link_id else [])):
            return await self._members.create(
                ends,
                link_id=link_id,
                path=path,
                suspended=suspended,
                filters=filters,
                seed=seed,
                join=join,
            )

    @core_code
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

        A relayed link has it at once. Where a link gets another path, running nodes take that up as
        for :meth:`create`.

        :param filters: parameters by type of filter. ``None`` takes a filter away, and those that
            are not named stay.
        :raises gns3server.errors.NotFound: there is no such link.
        :raises gns3server.errors.InvalidRequest: a filter is unfit.
        :raises gns3server.errors.Conflict: it cannot be had that way; the text says what would
            help.
        :raises gns3server.errors.StorageFailed: it could not be written.
        """
        async with self._on(link_id, "update a link"):
            return await self._members.update(
                link_id, path=path, suspended=suspended, filters=filters, seed=seed
            )

    @core_code
    async def delete(self, link_id: str) -> None:
        """Unplug both ends of a link, and forget it.

        :raises gns3server.errors.NotFound: there is no such link.
        :raises gns3server.errors.Conflict: one of its nodes refuses.
        :raises gns3server.errors.StorageFailed: it could not be written.
        """
        async with self._on(link_id, "delete a link"):
            await self._members.delete(link_id)

    @core_code
    async def start_capture(
        self,
        link_id: str,
        *,
        file: str | None = None,
        snapshot_length: int = SNAPSHOT_LENGTH,
        max_bytes: int | None = None,
        overwrite: bool = False,
    ) -> LinkView:
        """Capture a link into a file in the project's directory ``captures``.

        :param file: its plain name, which ends in ``.pcap`` or gets that; by default a new one.
        :param snapshot_length: how many bytes of a frame are kept.
        :param max_bytes: how large the file may become; by default what the settings say.
        :param overwrite: replace a file of that name.
        :raises gns3server.errors.NotFound: there is no such link.
        :raises gns3server.errors.Conflict: it is captured already, there is such a file, or it
            cannot be captured; the text says what would help.
        :raises gns3server.errors.FilesFailed: the directory for captures cannot be used.
        :raises gns3server.errors.StorageFailed: it could not be written.
        """
        async with self._on(link_id, "capture a link"):
            return await self._members.start_capture(
                link_id,
                file=file,
                snapshot_length=snapshot_length,
                max_bytes=max_bytes,
                overwrite=overwrite,
            )

    @core_code
    async def stop_capture(self, link_id: str) -> None:
        """End the capture of a link; it is fine if none is on.

        :raises gns3server.errors.NotFound: there is no such link.
        :raises gns3server.errors.StorageFailed: it could not be written.
        """
        async with self._on(link_id, "stop a capture of a link"):
            await self._members.stop_capture(link_id)

    def follow(self, link_id: str) -> AsyncGenerator[bytes, None]:
        """What is captured of a link, as a pcap stream: its header, the last seconds, what comes.

        It ends with the capture, and for one who reads too slowly. Waits for nobody's turn.

        :raises gns3server.errors.NotFound: there is no such link.
        :raises gns3server.errors.Conflict: it is not being captured, or too many follow it.
        """
        return self._members.follow(link_id)

    def _on(self, link_id: str, what: str) -> AbstractAsyncContextManager[None]:
        nodes = [end.node_id for end in self.get(link_id).ends]
        return self._turn(what, *nodes, link_id)
