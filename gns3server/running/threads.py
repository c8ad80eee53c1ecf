"""Threads that are started before they are needed."""

from __future__ import annotations

import errno
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Thread

from gns3server.errors import ADVICE


def thread_pool(name: str, size: int = 1) -> ThreadPoolExecutor:
    """A pool whose threads are all running already.

    A user at the limit of processes can start no threads either: one that is
    only started when it is needed might then be missing.

    :param name: what the names of its threads begin with.
    :param size: how many there are.
    :raises OSError: not even now can this many be started.
    """
    pool = ThreadPoolExecutor(size, thread_name_prefix=name)
    # Each waits for all the others, so that every thread must be started.
    together = Barrier(size + 1)
    try:
        for _ in range(size):
            pool.submit(together.wait)
    except RuntimeError as error:
        together.abort()
        raise OSError(f"{error}: {ADVICE[errno.EAGAIN]}") from error
    together.wait()
    return pool


def start_thread(name: str, work: Callable[[], None]) -> Thread:
    """Start a thread that does not keep the process from ending.

    :raises OSError: no thread can be started.
    """
    thread = Thread(target=work, name=name, daemon=True)
    try:
        thread.start()
    except RuntimeError as error:
        raise OSError(f"{error}: {ADVICE[errno.EAGAIN]}") from error
    return thread
