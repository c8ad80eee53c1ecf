"""Pairs of NIOs, as changes that come at the same time see and tell them."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterable

import pytest

from gns3server.errors import Conflict
from gns3server.events import EventBus
from gns3server.http.notifications import V1Translator
from gns3server.links.link import LinkEnd
from gns3server.links.pairs import Pairs
from gns3server.nodes.nio import Tunnel
from gns3server.nodes.registry import Registry
from gns3server.storage.stores import ProjectStore

ENDS = [LinkEnd(str(uuid.UUID(int=number)), 0, 0) for number in range(2)]
TUNNELS = [Tunnel(10000, "127.0.0.1", 10001), Tunnel(10001, "127.0.0.1", 10000)]


@pytest.fixture
async def store(thread, tmp_path):
    """The records of a project."""
    store = await ProjectStore.load(thread, tmp_path)
    await store.events.open(V1Translator(Registry()), EventBus().publish, 100)
    return store


class Listener:
    """What one who listens believes: which pairs there are."""

    def __init__(self, store: ProjectStore) -> None:
        self.believed: list[str] = []
        self.pairs = Pairs("project", "127.0.0.1", told_falsely=lambda pair: self.drop([pair.id]))
        self._store = store

    def drop(self, ids: Iterable[str]) -> None:
        for pair_id in ids:
            self.believed.remove(pair_id)

    async def plug(self, number: int, *, refused: bool) -> None:
        """Plug one half in, which the records may refuse."""
        async with self._store.change() as change:
            _, made = self.pairs.replace(ENDS[number], None, TUNNELS[number], change)
            change.then(lambda: self.believed.extend(pair.id for pair in made))
            if refused:
                change.execute("INSERT INTO stored_value VALUES ('node', '', '', '', NULL)")


@pytest.mark.parametrize("refused", [(True, False), (False, True), (True, True), (False, False)])
async def test_a_half_that_is_not_stored_leaves_no_pair_that_was_told(store, refused):
    listener = Listener(store)
    halves = [listener.plug(number, refused=one) for number, one in enumerate(refused)]
    for result, one in zip(
        await asyncio.gather(*halves, return_exceptions=True), refused, strict=True
    ):
        assert isinstance(result, Conflict) if one else result is None
    assert listener.believed == [pair.id for pair in listener.pairs]
    assert bool(listener.believed) is (refused == (False, False))
    # It is a pair once both halves are stored.
    for number, one in enumerate(refused):
        if one:
            await listener.plug(number, refused=False)
    assert listener.believed == [pair.id for pair in listener.pairs]
    assert len(listener.believed) == 1
