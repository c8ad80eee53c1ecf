"""Pairs of NIOs that match, each the other's other end: links that were made NIO by NIO."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection, Iterator
from functools import partial

from gns3server.links.link import LinkEnd, LinkView
from gns3server.nodes.nio import Tunnel
from gns3server.storage.change import ProjectChange
from gns3server.storage.link_rows import DIRECT

NAMESPACE = uuid.UUID("5e0f6a3c-8f0f-5d43-9d5b-0b6c1f6d2a17")
"""What the ids of pairs are made in: the same ends have the same id for ever."""


class Pairs:
    """The tunnels that the NIOs of a project are ends of, and the pairs among them.

    A tunnel counts as soon as a change that brings it is being made, so that of two changes at the
    same time one sees the other; it is taken back if the change fails. The other change has then
    told of a pair that is none, which is put right.

    :param project_id: the project.
    :param address: the address of the machine that its nodes run on.
    :param told_falsely: called with a pair that was told to have come, and never was there.
    """

    def __init__(
        self, project_id: str, address: str, *, told_falsely: Callable[[LinkView], None]
    ) -> None:
        self._project_id = project_id
        self._address = address
        self._tunnels: dict[tuple[int, int], dict[LinkEnd, None]] = {}
        self._pairs: dict[tuple[int, int], LinkView] = {}
        self._by_id: dict[str, LinkView] = {}
        self._told_falsely = told_falsely
        self._told: set[str] = set()
        """The pairs that a change has told of, by id."""
        self._taken_back: set[str] = set()
        """Those that a change is about to tell of, and that will not be there."""

    def __iter__(self) -> Iterator[LinkView]:
        """All pairs, in the order in which they came."""
        return iter(list(self._by_id.values()))

    def get(self, link_id: str) -> LinkView | None:
        """A pair by its id."""
        return self._by_id.get(link_id)

    def ports(self, pair: LinkView) -> tuple[int, int]:
        """The UDP ports of a pair, in the order of its ends."""
        return next(
            ports
            for key in self._pairs
            for ports in (key, key[::-1])
            if pair.ends[0] in self._tunnels[ports] and self._pairs[key].id == pair.id
        )

    def add(self, end: LinkEnd, tunnel: Tunnel) -> None:
        """Take in the tunnel that a NIO is an end of."""
        if self._is_here(tunnel.host):
            ports = tunnel.local, tunnel.remote
            self._tunnels.setdefault(ports, {})[end] = None
            self._look(ports)

    def replace(
        self, end: LinkEnd, old: Tunnel | None, new: Tunnel | None, change: ProjectChange
    ) -> tuple[list[LinkView], list[LinkView]]:
        """Have a change replace the tunnel that a NIO is an end of.

        :returns: the pairs that go, and those that come.
        """
        changed = [
            min((each.local, each.remote), (each.remote, each.local))
            for each in (old, new)
            if each is not None
        ]
        before = {pair.id: pair for ports in changed if (pair := self._pairs.get(ports))}
        if old is not None:
            self._remove(end, old)
            change.undo(partial(self.add, end, old))
        if new is not None:
            self.add(end, new)
        after = {pair.id: pair for ports in changed if (pair := self._pairs.get(ports))}
        gone = [pair for pair_id, pair in before.items() if pair_id not in after]
        made = [pair for pair_id, pair in after.items() if pair_id not in before]
        for pair in gone:
            change.then(partial(self._told.discard, pair.id))
        for pair in made:
            change.then(partial(self._is_told, pair))
            change.undo(partial(self._taken_back.discard, pair.id))
        if new is not None:
            change.undo(partial(self._take_back, end, new, {pair.id for pair in made}))
        return gone, made

    def _is_told(self, pair: LinkView) -> None:
        """Take note that a change tells of a pair."""
        if pair.id in self._taken_back:
            self._taken_back.discard(pair.id)
            self._told_falsely(pair)
        else:
            self._told.add(pair.id)

    def _take_back(self, end: LinkEnd, tunnel: Tunnel, own: Collection[str]) -> None:
        """Take back a tunnel that a failed change has brought.

        :param own: the pairs that the change itself would have told of.
        """
        ports = min((tunnel.local, tunnel.remote), (tunnel.remote, tunnel.local))
        pair = self._pairs.get(ports)
        self._remove(end, tunnel)
        if pair is None or pair.id in own or pair.id in self._by_id:
            return
        if pair.id in self._told:
            self._told.discard(pair.id)
            self._told_falsely(pair)
        else:
            self._taken_back.add(pair.id)

    def _remove(self, end: LinkEnd, tunnel: Tunnel) -> None:
        ports = tunnel.local, tunnel.remote
        ends = self._tunnels.get(ports, {})
        ends.pop(end, None)
        if not ends:
            self._tunnels.pop(ports, None)
        self._look(ports)

    def _look(self, ports: tuple[int, int]) -> None:
        key = min(ports, ports[::-1])
        known = self._pairs.pop(key, None)
        if known is not None:
            del self._by_id[known.id]
        found = self._pair_at(ports)
        if found is not None:
            self._pairs[key] = self._by_id[found.id] = found

    def _is_here(self, host: str) -> bool:
        return host in ("localhost", self._address) or host.startswith("127.")

    def _pair_at(self, ports: tuple[int, int]) -> LinkView | None:
        """The pair that is joined by these two ports: only if no third NIO names them."""
        here, there = self._tunnels.get(ports, {}), self._tunnels.get(ports[::-1], {})
        if len(here) != 1 or len(there) != 1:
            return None
        one, other = sorted((*here, *there))
        if one.node_id == other.node_id:
            return None
        name = f"{self._project_id} {one} {other}"
        return LinkView(
            id=str(uuid.uuid5(NAMESPACE, name)),
            project_id=self._project_id,
            ends=(one, other),
            made_as="nios",
            wanted_path=DIRECT,
            path=DIRECT,
            filters={},
        )
