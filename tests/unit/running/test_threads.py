"""Threads apart from those that everybody needs: what hangs in one holds up nothing else."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from faults import no_threads

from gns3server.errors import Exhausted
from gns3server.running.threads import SeparateThreads


@pytest.fixture
def released() -> Iterator[threading.Event]:
    """What hung work waits for."""
    event = threading.Event()
    yield event
    event.set()


async def give_up(threads: SeparateThreads, released: threading.Event, key: str) -> None:
    with pytest.raises(TimeoutError, match=r"no answer within 0\.01 seconds"):
        await threads.run(released.wait, key=key, limit=0.01)


async def test_what_hangs_takes_one_thread_however_often_it_is_asked(
    released: threading.Event,
) -> None:
    threads = SeparateThreads("separate", 2)
    for _ in range(5):
        await give_up(threads, released, "a dead disk")
    assert await threads.run(lambda: 1, key="another disk") == 1
    released.set()
    # It answers again, and whoever asks for it gets a thread.
    assert await threads.run(lambda: 2, key="a dead disk") == 2


async def test_there_is_a_bound_for_work_that_hangs(released: threading.Event) -> None:
    threads = SeparateThreads("separate", 2)
    for key in "ab":
        await give_up(threads, released, key)
    before = threading.active_count()
    await give_up(threads, released, "c")
    assert threading.active_count() == before
    waiting = asyncio.create_task(threads.run(lambda: 1))
    released.set()
    assert await waiting == 1


async def test_the_errors_of_work_are_its_callers() -> None:
    threads = SeparateThreads("separate", 1)
    with pytest.raises(ZeroDivisionError):
        await threads.run(lambda: 1 // 0)
    with pytest.raises(FileNotFoundError):
        await threads.run(Path("/does/not/exist").read_bytes)
    with pytest.raises(TimeoutError, match="of its own"):
        await threads.run(raise_timeout, limit=60)
    assert await threads.run(lambda: 1) == 1


def raise_timeout() -> None:
    raise TimeoutError(1, "of its own")


async def test_what_comes_too_late_is_dropped(released: threading.Event) -> None:
    threads, loop = SeparateThreads("separate", 1), asyncio.get_running_loop()
    dropped: asyncio.Future[bool] = loop.create_future()

    def drop(result: bool) -> None:
        loop.call_soon_threadsafe(dropped.set_result, result)

    with pytest.raises(TimeoutError):
        await threads.run(released.wait, limit=0.01, dropped=drop)
    assert not dropped.done()
    released.set()
    assert await dropped


async def test_without_a_thread_it_is_said_what_helps(monkeypatch: pytest.MonkeyPatch) -> None:
    threads = SeparateThreads("separate", 1)
    with no_threads(), pytest.raises(Exhausted, match="ulimit -u"):
        await threads.run(lambda: 1, key="key")
    assert await threads.run(lambda: 1, key="key") == 1
