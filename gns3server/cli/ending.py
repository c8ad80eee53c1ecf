"""The end of the process, which nothing that a plugin has left behind may keep from coming."""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor

PATIENCE = 1.0
"""Seconds that tasks have to end once the server has stopped, and then threads."""


async def left_behind(workers: ThreadPoolExecutor) -> list[str]:
    """End the tasks and threads that are still there, and tell which of them do not.

    A task may swallow its cancellation, and a thread cannot be told to end at all: Python would
    wait for both for ever.

    :param workers: the pool of the running loop; to be used no more.
    :returns: their names.
    """
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    stuck = (await asyncio.wait(tasks, timeout=PATIENCE))[1] if tasks else set()
    workers.shutdown(wait=False, cancel_futures=True)
    threads = [
        thread
        for thread in threading.enumerate()
        if not thread.daemon and thread is not threading.main_thread()
    ]
    until = time.monotonic() + PATIENCE
    for thread in threads:
        thread.join(max(0.0, until - time.monotonic()))
    return [
        *(f"task {task.get_coro()}" for task in stuck),
        *(f"thread {thread.name}" for thread in threads if thread.is_alive()),
    ]
