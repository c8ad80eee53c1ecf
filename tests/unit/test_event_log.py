"""The event log: numbers without a hole, what is kept, and replays that join what is live."""

import asyncio
import json
import random
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import aclosing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from gns3server.errors import StorageFailed
from gns3server.events import Event, EventBus
from gns3server.http.notifications import V1Translator, lines, numbered, replayed
from gns3server.nodes.registry import Registry
from gns3server.storage import event_log
from gns3server.storage.stores import ProjectStore

PROJECT = "p"
SEED = 20261127
TRANSLATE = V1Translator(Registry())


@pytest.fixture
def hub() -> EventBus:
    return EventBus()


@pytest.fixture
def open_log(thread, tmp_path, hub):
    """Opens the log of the test's project, as each server that has it does."""

    async def open_log(keep: int = 1000, directory: Path = tmp_path) -> ProjectStore:
        records = await ProjectStore.load(thread, directory)
        await records.events.open(TRANSLATE, hub.publish, keep)
        return records

    return open_log


def event(text: str = "") -> Event:
    return Event("toy", "started", PROJECT, {"text": text})


def listening(hub: EventBus):
    return hub.listen(PROJECT, translate=TRANSLATE, size=len)


async def commit(
    records: ProjectStore,
    *ports: int,
    event: Event | None = None,
    then: Callable[[], object] | None = None,
    fact: bool = False,
) -> None:
    """Change something: allocate ports, tell of it."""
    async with records.change(fact=fact) as change:
        for port in ports:
            change.execute("INSERT INTO allocated_port VALUES (?)", port)
        if then is not None:
            change.then(then)
        if event is not None:
            change.tell(event)


async def replay(records: ProjectStore, since: int) -> list[Any]:
    return [json.loads(line) async for line in replayed(records.events.since(since))]


def told(listener: Any) -> list[Any]:
    """What a listener has been told and has not read, with its numbers."""
    return [
        json.loads(line if number is None else numbered(line, number))
        for line, number in listener.queued
    ]


# Numbers ------------------------------------------------------------------------------------


async def test_the_first_event_has_number_one_and_each_further_one_the_next(open_log, hub):
    log = await open_log()
    with listening(hub) as listener:
        for text in "abc":
            await commit(log, event=event(text))
        assert [line["seq"] for line in told(listener)] == [1, 2, 3]
        assert not any(b"seq" in line for line, _ in listener.queued)


async def test_an_event_is_in_the_commit_of_its_change(open_log, thread):
    log = await open_log()
    await commit(log, 1)
    before = thread.commits
    await commit(log, 2, event=event("with it"))
    assert thread.commits == before + 1
    # A change that cannot be made is not told, stored or counted.
    with pytest.raises(sqlite3.IntegrityError):
        await commit(log, 3, 2, event=event("never"))
    await commit(log, event=event("next"))
    assert [(line["event"]["text"], line["seq"]) for line in await replay(log, 0)] == [
        ("with it", 1),
        ("next", 2),
    ]


async def test_a_change_is_in_memory_before_it_is_told_and_told_before_it_is_answered(
    open_log, hub
):
    log, seen = await open_log(), []
    with listening(hub) as listener:
        await commit(log, 1, event=event(), then=lambda: seen.append(len(told(listener))))
        assert seen == [0]
        assert len(told(listener)) == 1


async def test_numbers_go_on_with_the_next_server(open_log, thread):
    for number in range(1, 4):
        log = await open_log()
        await commit(log, event=event(str(number)))
        assert [line["seq"] for line in await replay(log, 0)] == [*range(1, number + 1)]
        for database in list(thread.opened):
            await thread.close_database(database)


# Full disks ---------------------------------------------------------------------------------


@pytest.fixture
def full_disk(thread):
    """A context in which nothing can be written."""

    async def fail(*_: Any, **__: Any) -> None:
        raise StorageFailed("The disk is full.")

    @contextmanager
    def full() -> Iterator[None]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(thread, "commit", fail)
            yield

    return full


async def test_what_has_happened_is_told_on_a_full_disk_and_missed_by_who_was_away(
    open_log, hub, full_disk, caplog
):
    log, applied = await open_log(), []
    await commit(log, event=event("before"))
    with listening(hub) as listener:
        with full_disk():
            happened = event("meanwhile")
            await commit(log, 1, event=happened, then=lambda: applied.append(1), fact=True)
        assert applied == [1]
        assert told(listener)[0] == {"action": "toy.started", "event": {"text": "meanwhile"}}
    assert "The disk is full" in caplog.text
    assert await replay(log, 1) == [{"action": "gap", "event": {"first": 3}}]
    await commit(log, event=event("after"))
    # The number of what was not stored stays free, so that its lack shows for ever.
    assert await replay(log, 1) == [{"action": "gap", "event": {"first": 4}}]
    assert [line["seq"] for line in await replay(log, 2)] == [3]


async def test_a_change_that_fails_on_a_full_disk_takes_no_number(open_log, hub, full_disk):
    log = await open_log()
    with listening(hub) as listener:
        with full_disk(), pytest.raises(StorageFailed):
            await commit(log, 1, event=event("never"), then=lambda: 1 / 0)
        assert told(listener) == []
    await commit(log, event=event("first"))
    assert [line["seq"] for line in await replay(log, 0)] == [1]


# Bounds -------------------------------------------------------------------------------------


async def test_the_log_is_bounded_and_says_what_it_has_forgotten(open_log, thread, monkeypatch):
    monkeypatch.setattr(event_log, "TRIM_EVERY", 4)
    log = await open_log(keep=10)
    for _ in range(50):
        await commit(log, event=event())
    kept = await replay(log, 40)
    assert [line["seq"] for line in kept] == [*range(41, 51)]
    assert await replay(log, 5) == [{"action": "gap", "event": {"first": 51}}]
    rows = await log.read("SELECT count(*) FROM event")
    assert 10 <= rows[0][0] < 14


async def test_servers_that_live_for_one_event_keep_to_the_bound_as_well(open_log, thread):
    for _ in range(8):
        log = await open_log(keep=3)
        await commit(log, event=event())
        rows = await log.read("SELECT count(*) FROM event")
        assert rows[0][0] <= 3
        for database in list(thread.opened):
            await thread.close_database(database)


@pytest.mark.parametrize("since", [3, 2**63, 10**20])
async def test_a_number_that_the_log_has_not_reached_is_of_another_life(open_log, since):
    log = await open_log()
    for _ in range(2):
        await commit(log, event=event())
    assert await replay(log, 2) == []
    assert await replay(log, since) == [{"action": "gap", "event": {"first": 3}}]


async def test_a_log_that_cannot_be_read_is_a_gap(open_log, thread, caplog):
    log = await open_log()
    await commit(log, event=event())
    for database in list(thread.opened):
        await thread.close_database(database)
    assert await replay(log, 0) == [{"action": "gap", "event": {"first": 2}}]
    assert "cannot be told what it has missed" in caplog.text


@pytest.mark.parametrize(
    "line", [b"{}\n", "", "{}\n", '{"action": "a"}\n{"action": "b"}\n', '{"action": "a"}']
)
async def test_what_no_server_has_stored_is_not_sent(open_log, line):
    log = await open_log()
    await commit(log, event=event())
    async with log.change() as change:
        change.execute("INSERT INTO event VALUES (2, ?)", line)
    await commit(log, event=event())
    told = await replay(log, 0)
    assert [message.get("seq") for message in told] == [1, None]
    assert told[1] == {"action": "gap", "event": {"first": 4}}


# Replay and live ----------------------------------------------------------------------------


async def test_what_is_trimmed_under_a_reader_is_a_gap_and_then_live(open_log, hub, monkeypatch):
    monkeypatch.setattr(event_log, "TRIM_EVERY", 1)
    monkeypatch.setattr(event_log, "BATCH", 2)
    log = await open_log(keep=6)
    for _ in range(6):
        await commit(log, event=event())
    with listening(hub) as listener:
        missed = log.events.since(0)
        async with aclosing(lines(listener, missed=missed, with_numbers=True)) as told:
            assert [json.loads(await anext(told)).get("seq") for _ in range(3)] == [None, 1, 2]
            for _ in range(4):
                await commit(log, event=event())
            gap, *live = [json.loads(await anext(told)) for _ in range(5)]
    assert gap == {"action": "gap", "event": {"first": 7}}
    assert [line["seq"] for line in live] == [7, 8, 9, 10]


async def test_readers_that_come_and_go_miss_nothing_and_get_nothing_twice(
    open_log, hub, monkeypatch
):
    """Many write at once, while readers hang up at random and come back where they were."""
    monkeypatch.setattr(event_log, "BATCH", 7)
    chance, writers, each = random.Random(SEED), 12, 40
    total = writers * each
    log = await open_log(keep=total)

    async def write(writer: int) -> None:
        for number in range(each):
            await commit(log, writer * each + number + 1, event=event(f"{writer}/{number}"))

    async def read() -> list[str]:
        texts: list[str] = []
        while len(texts) < total:
            with listening(hub) as listener:
                missed = log.events.since(len(texts))
                stay = chance.randrange(1, 60)
                async with aclosing(lines(listener, missed=missed, with_numbers=True)) as told:
                    async for line in told:
                        message = json.loads(line)
                        if message["action"] == "ping":
                            continue
                        texts.append(message["event"]["text"])
                        assert message["seq"] == len(texts), f"seed {SEED}"
                        stay -= 1
                        if stay == 0 or len(texts) == total:
                            break
        return texts

    readers = [asyncio.ensure_future(read()) for _ in range(8)]
    await asyncio.gather(*(write(writer) for writer in range(writers)))
    first, *others = await asyncio.gather(*readers)
    assert len(set(first)) == total
    assert all(other == first for other in others)
    for writer in range(writers):
        mine = [text for text in first if text.startswith(f"{writer}/")]
        assert mine == [f"{writer}/{number}" for number in range(each)]
