"""Threads for what blocks: work that hangs holds up no other, and no end."""

from __future__ import annotations

import asyncio
import threading

import pytest

from gns3server.cli import workers
from gns3server.cli.workers import Workers
from gns3server.plugin_host.modules import PluginModules


@pytest.fixture
async def pool(monkeypatch):
    """Two threads, which are soon replaced when they hang."""
    monkeypatch.setattr(workers, "STUCK_SECONDS", 0.05)
    made = Workers(2, PluginModules(), asyncio.get_running_loop())
    yield made
    made.shutdown(wait=False)


async def test_all_work_is_done_and_its_errors_are_its_callers(pool):
    loop = asyncio.get_running_loop()
    assert await asyncio.gather(*(loop.run_in_executor(pool, abs, -n) for n in range(50))) == [
        *range(50)
    ]
    with pytest.raises(ZeroDivisionError):
        await loop.run_in_executor(pool, divmod, 1, 0)
    with pytest.raises(SystemExit):
        await loop.run_in_executor(pool, exit_thread)
    assert await loop.run_in_executor(pool, abs, -1) == 1


def exit_thread():
    raise SystemExit(3)


async def test_work_goes_on_when_all_threads_hang(pool, caplog, until):
    loop, released = asyncio.get_running_loop(), threading.Event()
    hung = [loop.run_in_executor(pool, released.wait) for _ in range(5)]
    try:
        assert await loop.run_in_executor(pool, abs, -1) == 1
        assert "threads hang: they are replaced" in caplog.text
        assert not any(each.done() for each in hung)
    finally:
        released.set()
    assert await asyncio.gather(*hung) == [True] * 5

    async def are_as_many_as_before():
        # Those that are too many now end after their next work.
        await asyncio.gather(*(loop.run_in_executor(pool, abs, -1) for _ in range(20)))
        return len(pool._workers) == 2

    await until(are_as_many_as_before)


async def test_there_is_a_bound_for_threads_that_hang(pool, caplog, monkeypatch, until):
    monkeypatch.setattr(workers, "MOST_THREADS", 4)
    loop, released = asyncio.get_running_loop(), threading.Event()
    hung = [loop.run_in_executor(pool, released.wait) for _ in range(10)]
    try:
        await until(lambda: asyncio.sleep(0, "there cannot be more: work waits" in caplog.text))
        assert len(pool._workers) == 4
    finally:
        released.set()
    assert await asyncio.gather(*hung) == [True] * 10


async def test_the_end_waits_for_work_but_not_for_ever(pool, monkeypatch):
    monkeypatch.setattr(workers, "END_SECONDS", 0.1)
    released = threading.Event()
    done, hung = pool.submit(abs, -1), pool.submit(released.wait)
    try:
        await asyncio.to_thread(pool.shutdown)
        assert (done.result(), hung.done()) == (1, False)
        with pytest.raises(RuntimeError, match="no more work is begun"):
            pool.submit(abs, -1)
    finally:
        released.set()


async def test_a_pool_for_which_there_are_no_threads_is_refused(monkeypatch):
    def start(self):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    with pytest.raises(OSError, match=r"no more processes are allowed.*ulimit -u"):
        Workers(2, PluginModules(), asyncio.get_running_loop())
