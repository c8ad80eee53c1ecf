"""Threads for everything that blocks: started before they are needed, replaced if they hang."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue
from typing import ParamSpec, TypeVar

from gns3server.plugin_host.modules import PluginModules, steps_of_frame
from gns3server.running.threads import start_thread

log = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

STUCK_SECONDS = 2.0
"""A thread that takes longer for one piece of work is replaced, if other work waits."""

MOST_THREADS = 64
"""How many threads there are at most, including those that have been replaced."""

END_SECONDS = 1.0
"""How long the server, when it ends, waits for its threads."""


class Workers(ThreadPoolExecutor):
    """Runs code that blocks, the plugins' as well as the server's.

    Work that never ends, such as a plugin's, does not take a thread from other work for
    longer than a few seconds, and does not keep the process from ending.

    The base class is there because asyncio accepts no other; nothing of it is used.

    :param size: how many threads are started at once, and are enough unless some hang.
    :param modules: names the plugin that hangs.
    :raises OSError: not even now can so many threads be started. A user at the limit of processes
        can start no threads either, and one that is only started when it is needed might then be
        missing.
    """

    def __init__(self, size: int, modules: PluginModules, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(1)
        self._size = size
        self._modules = modules
        self._loop = loop
        self._work: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._workers: set[threading.Thread] = set()
        self._since: dict[threading.Thread, float] = {}
        self._unfinished = 0
        self._looks = False
        self._ends = False
        try:
            for _ in range(size):
                self._add()
        except OSError:
            self.shutdown(wait=False)
            raise

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Have a function called. To be used on the event loop."""
        if self._ends:
            raise RuntimeError("the server is ending: no more work is begun")
        future: Future[T] = Future()

        def work() -> None:
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(fn(*args, **kwargs))
                except BaseException as error:
                    future.set_exception(error)

        with self._lock:
            self._unfinished += 1
        self._work.put(work)
        self._look_later()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Accept no more work.

        :param wait: wait for work that is under way, but not for ever.
        """
        self._ends = True
        with self._lock:
            workers = list(self._workers)
        for _ in workers:
            self._work.put(None)
        end = time.monotonic() + END_SECONDS
        for worker in workers if wait else ():
            worker.join(max(0.0, end - time.monotonic()))

    def _add(self) -> None:
        worker = start_thread("worker", self._run)
        with self._lock:
            self._workers.add(worker)

    def _run(self) -> None:
        me = threading.current_thread()
        while (work := self._work.get()) is not None:
            with self._lock:
                self._since[me] = time.monotonic()
            work()
            # Its result may be big.
            del work
            with self._lock:
                self._unfinished -= 1
                del self._since[me]
                if len(self._workers) - len(self._stuck()) > self._size:
                    self._workers.discard(me)
                    return

    def _stuck(self) -> list[threading.Thread]:
        before = time.monotonic() - STUCK_SECONDS
        return [worker for worker, since in self._since.items() if since <= before]

    def _look_later(self) -> None:
        if self._unfinished > len(self._workers) and not self._looks and not self._ends:
            self._looks = True
            self._loop.call_later(STUCK_SECONDS, self._look)

    def _look(self) -> None:
        """Replace threads that hang, if work waits for them."""
        self._looks = False
        with self._lock:
            stuck = self._stuck()
            missing = self._size - (len(self._workers) - len(stuck))
            possible = MOST_THREADS - len(self._workers)
        if self._unfinished > len(self._workers) and missing > 0:
            frames = sys._current_frames()  # noqa: SLF001 - documented, and there is no other
            at = {
                self._modules.place(steps_of_frame(frames.get(each.ident or 0))) for each in stuck
            }
            what = "they are replaced" if possible > 0 else "there cannot be more: work waits"
            log.warning("%d threads hang: %s. In: %s", len(stuck), what, "; ".join(sorted(at)))
            try:
                for _ in range(min(missing, possible)):
                    self._add()
            except OSError as error:
                log.warning("they cannot be replaced: %s", error)
        self._look_later()
