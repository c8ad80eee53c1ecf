"""The one way to change something: all of it in order, or none of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from functools import partial

import pytest
from faults import failing

from gns3server.errors import FilesFailed, StorageFailed
from gns3server.events import Event, EventBus
from gns3server.files import durable
from gns3server.http.notifications import V1Translator, numbered, replayed
from gns3server.nodes.registry import Registry
from gns3server.storage.change import ProjectChange
from gns3server.storage.rows import NioRow, NodeRow, Owner
from gns3server.storage.stores import ProjectStore

ID = "00010203-0405-0607-0809-0a0b0c0d0e0f"
NODE = "b481a455-5e82-4f46-92ba-b0c1d4f9ae01"
ROW = NodeRow(id=NODE, type="toy", name="PC", console=None, number=None, properties={})
TRANSLATE = V1Translator(Registry())


@pytest.fixture
def bus() -> EventBus:
    return EventBus()


@pytest.fixture
async def store(thread, tmp_path, bus) -> ProjectStore:
    """The records of a project with a node."""
    store = await ProjectStore.load(thread, tmp_path)
    await store.events.open(TRANSLATE, bus.publish, 100)
    async with store.change() as change:
        change.save_project(ID, "lab", temporary=False)
        change.save_node(ROW)
    return store


async def refuse_changes(store: ProjectStore, *, refuse: bool = True) -> None:
    """Have the disk take no change, or take them again."""
    await store.read(f"PRAGMA query_only = {'ON' if refuse else 'OFF'}")


async def carry_out(store: ProjectStore, build: Callable[[ProjectChange], None]) -> None:
    """Make a change of what a function puts into it."""
    async with store.change() as change:
        build(change)


def event(word: str) -> Event:
    return Event("toy", word, ID, {})


async def log_of(store: ProjectStore) -> list[tuple[str, int | None]]:
    lines = [json.loads(line) async for line in replayed(store.events.since(0))]
    return [(line["action"], line.get("seq")) for line in lines]


async def test_all_of_a_change_happens_in_order_and_in_one_commit(thread, store, bus, tmp_path):
    happened: list[str] = []
    directory = tmp_path / "files"

    def translate(told: Event) -> None:
        happened.append(told.change)

    before = thread.commits
    with bus.listen(translate=translate):
        async with store.change() as change:
            change.save_nio(NODE, (0, 1), NioRow("nio_toy", {"a": 1}))
            change.save_value(Owner("node", NODE), "toy", "place", [1, 2])
            change.tell(event("first"))
            change.then(lambda: happened.append((directory / "script").read_text()))
            change.then(lambda: happened.append("memory"))
            change.save_node(ROW, {"script": b"in place"}, directory)
            change.tell(event("second"))
            assert happened == []
            assert not directory.exists()
    assert happened == ["in place", "memory", "first", "second"]
    # One for the change, and one that forgets what was kept of its files for a crash.
    assert thread.commits == before + 2
    stored = await store.stored()
    assert stored.nios == {NODE: {(0, 1): NioRow("nio_toy", {"a": 1})}}
    assert stored.values == {(Owner("node", NODE), "toy"): {"place": [1, 2]}}
    assert stored.staged_files == {}
    assert await log_of(store) == [("toy.first", 1), ("toy.second", 2)]


async def test_events_of_changes_that_share_a_commit_have_numbers_of_their_own(store, bus):
    async def tell(number: int) -> None:
        async with store.change() as change:
            for word in "ab":
                change.tell(event(f"{number}{word}"))

    with bus.listen(translate=TRANSLATE, size=len) as listener:
        await asyncio.gather(*(tell(number) for number in range(20)))
        heard = [json.loads(numbered(line, number or 0)) for line, number in listener.taken()]
    assert [line["seq"] for line in heard] == [*range(1, 41)]
    words = [line["action"].removeprefix("toy.") for line in heard]
    # The two events of a change stand together.
    assert [first[:-1] for first in words[::2]] == [second[:-1] for second in words[1::2]]
    assert await log_of(store) == [(line["action"], line["seq"]) for line in heard]


async def test_a_change_that_raises_is_none(store, bus):
    undone: list[str] = []

    def build(change: ProjectChange) -> None:
        change.remove_node(NODE, "toy")
        change.then(partial(undone.append, "memory"))
        change.undo(partial(undone.append, "first"))
        change.undo(partial(undone.append, "second"))
        change.tell(event("never"))
        raise ZeroDivisionError

    with bus.listen(translate=TRANSLATE) as listener:
        with pytest.raises(ZeroDivisionError):
            await carry_out(store, build)
        assert [*listener.taken()] == []
    assert undone == ["second", "first"]
    assert (await store.stored()).nodes == [ROW]


async def test_a_change_that_cannot_be_written_is_none(store, bus, tmp_path):
    undone: list[str] = []

    def build(change: ProjectChange) -> None:
        change.save_node(ROW, {"script": b"never"}, tmp_path / "files")
        change.then(partial(undone.append, "memory"))
        change.undo(partial(undone.append, "undone"))
        change.tell(event("never"))

    await refuse_changes(store)
    with bus.listen(translate=TRANSLATE) as listener:
        with pytest.raises(StorageFailed, match="nothing was changed"):
            await carry_out(store, build)
        assert [*listener.taken()] == []
    assert undone == ["undone"]
    assert not (tmp_path / "files" / "script").exists()
    await refuse_changes(store, refuse=False)
    async with store.change() as change:
        change.tell(event("next"))
    assert await log_of(store) == [("toy.next", 1)]


async def test_files_that_cannot_be_staged_change_nothing(store, tmp_path):
    def build(change: ProjectChange) -> None:
        change.save_node(ROW, {"script": b"never"}, tmp_path / "files")
        change.allocate_port(10000)

    (tmp_path / "files").write_text("in the way")
    with pytest.raises(StorageFailed, match="The files of VM 'PC' cannot be written"):
        await carry_out(store, build)
    stored = await store.stored()
    assert (stored.staged_files, stored.allocated_ports) == ({}, [])


async def test_a_file_that_cannot_be_put_in_place_is_kept_on_record(store, tmp_path, monkeypatch):
    def refuse(*_: object) -> None:
        raise PermissionError("not here")

    undone: list[str] = []

    def build(change: ProjectChange) -> None:
        change.save_node(ROW, {"script": b"text"}, tmp_path / "files")
        change.then(partial(undone.append, "memory"))
        change.undo(partial(undone.append, "undone"))

    with monkeypatch.context() as patch:
        patch.setattr(durable, "replace", refuse)
        with pytest.raises(FilesFailed, match="VM 'PC' is on record, but its files are not in"):
            await carry_out(store, build)
    # The change is made, and the next opening puts the file in place.
    assert undone == ["memory"]
    assert (await store.stored()).staged_files == {("toy", NODE): {"script": b"text"}}


async def test_files_whose_directory_cannot_be_synced_are_kept_on_record(store, tmp_path):
    def build(change: ProjectChange) -> None:
        change.save_node(ROW, {"script": b"text"}, tmp_path / "files")

    # The directory is synced when it is made, and once the file is in place.
    with (
        failing("fsync", tmp_path / "files", only=2),
        pytest.raises(FilesFailed, match="may not survive a loss of power"),
    ):
        await carry_out(store, build)
    assert (tmp_path / "files" / "script").read_bytes() == b"text"
    assert (await store.stored()).staged_files == {("toy", NODE): {"script": b"text"}}


async def test_a_fact_is_told_although_it_cannot_be_stored(store, bus, caplog):
    happened: list[str] = []
    await refuse_changes(store)
    with bus.listen(translate=TRANSLATE, size=len) as listener:
        async with store.change(fact=True) as change:
            change.end_run("r")
            change.then(partial(happened.append, "memory"))
            change.undo(partial(happened.append, "undone"))
            change.tell(event("stopped"))
            change.tell(event("error"))
        assert [number for _, number in listener.taken()] == [None, None]
    assert happened == ["memory"]
    assert "toy stopped, toy error is not on record" in caplog.text
    await refuse_changes(store, refuse=False)
    async with store.change() as change:
        change.tell(event("next"))
    # Both numbers stay free.
    assert await log_of(store) == [("gap", None)]
    assert [number async for number, _ in store.events.since(2)] == [3]


async def test_who_is_cancelled_learns_whether_the_change_was_made(store, thread):
    happened: list[str] = []

    async def work() -> None:
        async with store.change() as change:
            change.save_project(ID, "new", temporary=False)
            change.then(partial(happened.append, "memory"))
            change.undo(partial(happened.append, "undone"))

    task = asyncio.ensure_future(work())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert happened == ["memory"]
    assert (await store.stored()).name == "new"


async def test_what_v1_does_not_know_is_told_to_others_and_not_stored(thread, store, bus):
    told = Event("toy", "secret", ID, object())
    before = thread.commits
    with bus.listen(translate=lambda event: event) as plain, bus.listen(translate=TRANSLATE) as v1:
        async with store.change() as change:
            change.tell(told)
        assert [*plain.taken()] == [(told, None)]
        assert [*v1.taken()] == []
    assert thread.commits == before
    assert await log_of(store) == []


async def test_what_a_node_has_goes_with_it(store):
    async with store.change() as change:
        change.save_nio(NODE, (0, 0), NioRow("nio_toy", {}))
        change.save_value(Owner("node", NODE), "toy", "place", 1)
        change.save_value(Owner("project", ID), "toy", "place", 2)
        change.allocate_port(10000)
    async with store.change() as change:
        change.remove_node(NODE, "toy")
        change.free_port(10000)
    stored = await store.stored()
    assert (stored.nodes, stored.nios, stored.allocated_ports) == ([], {}, [])
    assert stored.values == {(Owner("project", ID), "toy"): {"place": 2}}
    assert stored.removed_nodes == [("toy", NODE)]
