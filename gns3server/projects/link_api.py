"""What plugins do with the links of a project; each operation waits for its own turn."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from gns3server.links.link import LinkEnd, LinkView
from gns3server.links.project_links import ProjectLinks
from gns3server.nodes.limits import core_code
from gns3server.nodes.project_base import ProjectBase
from gns3server.nodes.store import Store
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
    async def create(
        self,
        ends: Sequence[LinkEnd],
        *,
        link_id: str | None = None,
        seed: int | None = None,
        stored: Mapping[str, Any] = MappingProxyType({}),
    ) -> LinkView:
        """Make a link, and plug both ends in: all of it, or nothing.

        Running nodes take it up at once if their types can do that; the others are named by
        ``at_next_start``.

        :param ends: two ports of two nodes.
        :param link_id: its id; a new one by default.
        :param seed: where the random numbers of its filters begin; random by default.
        :param stored: what its :meth:`store` begins with; in the same commit.
        :raises gns3server.errors.NotFound: there is no such node.
        :raises gns3server.errors.Conflict: a port does not exist, is taken or takes no link, or the
            id is taken.
        :raises gns3server.errors.StorageFailed: it could not be written.
        """

        def join(change: ProjectChange, new_id: str) -> None:
            store = Store(self._project.records, Owner("link", new_id))
            for key, value in stored.items():
                store.save(change, key, value)

        nodes = [end.node_id for end in ends]
        async with self._turn("create a link", *nodes, *([link_id] if link_id else [])):
            return await self._members.create(ends, link_id=link_id, seed=seed, join=join)

    @core_code
    async def delete(self, link_id: str) -> None:
        """Unplug both ends of a link, and forget it.

        :raises gns3server.errors.NotFound: there is no such link.
        :raises gns3server.errors.Conflict: one of its nodes refuses.
        :raises gns3server.errors.StorageFailed: it could not be written.
        """
        nodes = [end.node_id for end in self.get(link_id).ends]
        async with self._turn("delete a link", *nodes, link_id):
            await self._members.delete(link_id)
