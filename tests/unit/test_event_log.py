"""The event log: numbers without a hole, what is kept, and replays that join what is live."""

import asyncio
import json
import random
import sqlite3
from contextlib import aclosing, closing
from pathlib import Path
from typing import Any

import pytest
from faults import read_only
from waiting import settled

from gns3server.errors import StorageFailed
from gns3server.events import EventBus, PendingEvent
from gns3server.storage.event_log import BATCH, TRIM_EVERY, EventLog
from gns3server.storage.stores import ProjectStore

PROJECT = "p"
SEED = 20261127


@pytest.fixture
def hub() -> EventBus:
    return EventBus(ping_after=3600)


@pytest.fixture
def open_log(thread, tmp_path, hub):
    """Opens the log of the test's project, as each server that has it does."""

    async def open_log(keep: int = 1000, directory: Path = tmp_path) -> EventLog:
        records = await ProjectStore.load(thread, directory)
        await records.events.open(lambda line, number: hub.publish(PROJECT, line, number), keep)
        return records.events

    return open_log


def event(text: str = "", **values: Any) -> PendingEvent:
    return PendingEvent(action="vm.started", event={"text": text}, **values)


def allocate(port: int) -> tuple[str, tuple[int]]:
    """A change of the project."""
    return "INSERT INTO allocated_port VALUES (?)", (port,)


async def replay(log: EventLog, since: int) -> list[Any]:
    return [json.loads(line) async for line in log.since(since)]


async def told(listener: Any, count: int) -> list[Any]:
    """The next so many lines of a listener, and that these are all that it has been told."""
    lines = aiter(listener)
    heard = [json.loads(await anext(lines)) for _ in range(count)]
    more = asyncio.ensure_future(anext(lines))
    await settled()
    assert not more.done()
    more.cancel()
    await asyncio.wait({more})
    return heard


def count_rows(path: Path) -> int:
    """How many events are stored."""
    with closing(sqlite3.connect(path)) as records:
        return int(records.execute("SELECT count(*) FROM event").fetchone()[0])


async def close_all(thread: Any) -> None:
    """Let go of every file, as a server that ends."""
    for database in list(thread.opened):
        await thread.close_database(database)


# Numbers ------------------------------------------------------------------------------------


async def test_the_first_event_has_number_one_and_each_further_one_the_next(open_log, hub):
    log = await open_log()
    with hub.listen(PROJECT, numbered=True) as counting, hub.listen(PROJECT) as other:
        for text in "abc":
            await log.commit(event=event(text))
        assert [line.get("seq") for line in await told(counting, 4)] == [None, 1, 2, 3]
        lines = await told(other, 4)
        assert [set(line) for line in lines] == [{"action"}, *[{"action", "event"}] * 3]


async def test_an_event_is_in_the_commit_of_its_change(open_log, thread):
    log = await open_log()
    await log.commit(allocate(1))
    before = thread.commits
    await log.commit(allocate(2), event=event("with it"))
    assert thread.commits == before + 1
    # A change that cannot be made is not told, stored or counted.
    with pytest.raises(sqlite3.IntegrityError):
        await log.commit(allocate(3), allocate(2), event=event("never"))
    await log.commit(event=event("next"))
    assert [(line["event"]["text"], line["seq"]) for line in await replay(log, 0)] == [
        ("with it", 1),
        ("next", 2),
    ]


async def test_a_change_is_in_memory_before_it_is_told_and_told_before_it_is_answered(
    thread, tmp_path
):
    records, seen = await ProjectStore.load(thread, tmp_path), []
    await records.events.open(lambda _line, number: seen.append(f"told of {number}"), 1000)
    await records.events.commit(allocate(1), event=event(apply=lambda: seen.append("in memory")))
    seen.append("answered")
    assert seen == ["in memory", "told of 1", "answered"]


async def test_files_are_in_place_before_memory_knows(open_log):
    log, seen = await open_log(), []
    await log.commit(
        event=event(apply=lambda: seen.append("memory")), placing=lambda: seen.append("files")
    )
    assert seen == ["files", "memory"]


async def test_a_file_that_cannot_be_placed_is_an_error_of_a_change_that_was_made(open_log, hub):
    log = await open_log()

    def fail() -> None:
        raise PermissionError("not here")

    with hub.listen(PROJECT) as listener:
        with pytest.raises(PermissionError):
            await log.commit(event=event(), placing=fail)
        assert len(await told(listener, 2)) == 2
    assert len(await replay(log, 0)) == 1


async def test_numbers_go_on_with_the_next_server(open_log, thread):
    for number in range(1, 4):
        log = await open_log()
        await log.commit(event=event(str(number)))
        assert [line["seq"] for line in await replay(log, 0)] == [*range(1, number + 1)]
        await close_all(thread)


# Full disks ---------------------------------------------------------------------------------


async def test_what_has_happened_is_told_on_a_full_disk_and_missed_by_who_was_away(
    open_log, hub, thread, tmp_path, caplog
):
    log, applied = await open_log(), []
    await log.commit(event=event("before"))
    with hub.listen(PROJECT, numbered=True) as listener:
        async with read_only(thread, tmp_path / "project.db"):
            await log.tell(event("meanwhile", apply=lambda: applied.append(1)), allocate(1))
        assert applied == [1]
        _, line = await told(listener, 2)
        assert line == {"action": "vm.started", "event": {"text": "meanwhile"}}
    assert "vm.started is not in the event log: The change could not be written" in caplog.text
    assert await replay(log, 1) == [{"action": "gap", "event": {"first": 3}}]
    await log.commit(event=event("after"))
    # The number of what was not stored stays free, so that its lack shows for ever.
    assert await replay(log, 1) == [{"action": "gap", "event": {"first": 4}}]
    assert [line["seq"] for line in await replay(log, 2)] == [3]


async def test_a_change_that_fails_on_a_full_disk_takes_no_number(open_log, hub, thread, tmp_path):
    log = await open_log()
    with hub.listen(PROJECT) as listener:
        async with read_only(thread, tmp_path / "project.db"):
            with pytest.raises(StorageFailed):
                await log.commit(allocate(1), event=event("never", apply=lambda: 1 / 0))
        assert len(await told(listener, 1)) == 1
    await log.commit(event=event("first"))
    assert [line["seq"] for line in await replay(log, 0)] == [1]


# Bounds -------------------------------------------------------------------------------------


async def happen(log: EventLog, count: int) -> None:
    """Commit so many events, together."""
    await asyncio.gather(*(log.commit(event=event()) for _ in range(count)))


async def test_the_log_is_bounded_and_says_what_it_has_forgotten(open_log, thread, tmp_path):
    log, last = await open_log(keep=10), 5 * TRIM_EVERY // 2
    await happen(log, last)
    kept = await replay(log, last - 10)
    assert [line["seq"] for line in kept] == [*range(last - 9, last + 1)]
    assert await replay(log, 5) == [{"action": "gap", "event": {"first": last + 1}}]
    await close_all(thread)
    assert 10 <= count_rows(tmp_path / "project.db") < 10 + TRIM_EVERY


async def test_servers_that_live_for_one_event_keep_to_the_bound_as_well(
    open_log, thread, tmp_path
):
    for _ in range(8):
        log = await open_log(keep=3)
        await log.commit(event=event())
        await close_all(thread)
        assert count_rows(tmp_path / "project.db") <= 3


@pytest.mark.parametrize("since", [3, 2**63, 10**20])
async def test_a_number_that_the_log_has_not_reached_is_of_another_life(open_log, since):
    log = await open_log()
    for _ in range(2):
        await log.commit(event=event())
    assert await replay(log, 2) == []
    assert await replay(log, since) == [{"action": "gap", "event": {"first": 3}}]


async def test_a_log_that_cannot_be_read_is_a_gap(open_log, thread, caplog):
    log = await open_log()
    await log.commit(event=event())
    await close_all(thread)
    assert await replay(log, 0) == [{"action": "gap", "event": {"first": 2}}]
    assert "cannot be told what it has missed" in caplog.text


@pytest.mark.parametrize(
    "line", [b"{}\n", "", "{}\n", '{"action": "a"}\n{"action": "b"}\n', '{"action": "a"}']
)
async def test_what_no_server_has_stored_is_not_sent(open_log, line):
    log = await open_log()
    await log.commit(event=event())
    await log.commit(("INSERT INTO event VALUES (2, ?)", (line,)))
    await log.commit(event=event())
    told = await replay(log, 0)
    assert [message.get("seq") for message in told] == [1, None]
    assert told[1] == {"action": "gap", "event": {"first": 4}}


# Replay and live ----------------------------------------------------------------------------


async def test_what_is_trimmed_under_a_reader_is_a_gap_and_then_live(open_log, hub):
    kept = 2 * BATCH
    log = await open_log(keep=kept)
    await happen(log, kept)
    with hub.listen(PROJECT, numbered=True) as listener:
        listener.missed = log.since(0)
        async with aclosing(aiter(listener)) as lines:
            first = [json.loads(await anext(lines)).get("seq") for _ in range(1 + BATCH)]
            assert first == [None, *range(1, BATCH + 1)]
            # Enough for what the reader would get next to be forgotten.
            await happen(log, 2 * TRIM_EVERY)
            gap, *live = [json.loads(await anext(lines)) for _ in range(1 + 2 * TRIM_EVERY)]
    assert gap == {"action": "gap", "event": {"first": kept + 1}}
    assert [line["seq"] for line in live] == [*range(kept + 1, kept + 1 + 2 * TRIM_EVERY)]


async def test_readers_that_come_and_go_miss_nothing_and_get_nothing_twice(open_log, hub):
    """Many write at once, while readers hang up at random and come back where they were."""
    chance, writers, each = random.Random(SEED), 12, 40
    total = writers * each
    log = await open_log(keep=total)

    async def write(writer: int) -> None:
        for number in range(each):
            await log.commit(
                allocate(writer * each + number + 1), event=event(f"{writer}/{number}")
            )

    async def read() -> list[str]:
        texts: list[str] = []
        while len(texts) < total:
            with hub.listen(PROJECT, numbered=True) as listener:
                listener.missed = log.since(len(texts))
                stay = chance.randrange(1, 60)
                async with aclosing(aiter(listener)) as lines:
                    async for line in lines:
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
