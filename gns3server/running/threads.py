"""Threads that are there before they are needed."""

from __future__ import annotations

import errno
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Thread

from gns3server.errors import ADVICE


def thread_pool(name: str, size: int = 1) -> ThreadPoolExecutor:
    """A pool all of whose threads run already.

    A user who may have no more processes may have no more threads: one that was
    made when it is needed would be missing just then.

    :param name: what the names of its threads begin with.
    :param size: how many there are.
    :raises OSError: not even now are there so many to be had.
    """
    pool = ThreadPoolExecutor(size, thread_name_prefix=name)
    # Each waits for all others, so that none can do the work of two.
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
    """A thread that does not keep the process from ending.

    :raises OSError: there is none to be had.
    """
    thread = Thread(target=work, name=name, daemon=True)
    try:
        thread.start()
    except RuntimeError as error:
        raise OSError(f"{error}: {ADVICE[errno.EAGAIN]}") from error
    return thread
