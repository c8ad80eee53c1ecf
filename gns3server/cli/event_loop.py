"""Runs the event loop: only the server itself ends it, and nothing delays its end."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import threading
import time
from collections.abc import Coroutine, Iterable, Iterator
from queue import SimpleQueue
from types import TracebackType
from typing import Any

from gns3server.plugin_host.modules import (
    PluginModules,
    Step,
    steps_of_error,
    steps_of_frame,
    steps_of_task,
)
from gns3server.running.threads import start_thread

log = logging.getLogger(__name__)

END_SECONDS = 2.0
"""How long the process may take to end once the server has: for tasks, threads and exit functions
that plugins have left behind."""

HELD_SECONDS = 9.0
"""How long the event loop may stand still while the server is ending."""

WHOLE_SECONDS = 25.0
"""How long the whole end may take: a disk that does not answer cannot be waited for, and service
managers kill after thirty."""

TURN_SECONDS = 1.0
"""How often to check that the event loop turns, while the server is ending."""

LOG_SECONDS = 1.0
"""How long it may take to log what was left behind."""


class EventLoop:
    """Runs one event loop; to be entered once, in the main thread.

    Afterwards the process ends soon: what plugins have left behind does not delay it.

    :param modules: names the plugins that get in the way.
    """

    def __init__(self, modules: PluginModules) -> None:
        self._modules = modules
        self._runner = asyncio.Runner()
        self._told: set[str] = set()
        # Unlike an event, a signal handler may use it even while interrupting its use.
        self._must_end: SimpleQueue[None] = SimpleQueue()
        self._is_over = threading.Event()
        self._may_speak = threading.Event()
        self._code = 0
        self._loop: asyncio.AbstractEventLoop | None = None

    def __enter__(self) -> EventLoop:
        # First of all, and now, because later no thread might be started: since Python 3.12,
        # none can be while the interpreter ends.
        start_thread("end", self._end_in_time)
        self._speaker = start_thread("last words", self._tell_what_is_left)
        self._runner.__enter__()
        return self

    def must_end(self) -> None:
        """Note that the server must end: from now on, code that holds the loop cannot prevent it.

        To be called in the main thread, also by signal handlers.
        """
        self._must_end.put(None)

    def run(self, main: Coroutine[Any, Any, None]) -> None:
        """Run ``main`` to its end, whatever other tasks and callbacks raise."""
        self._loop = loop = self._runner.get_loop()
        task = loop.create_task(main)
        while not task.done():
            try:
                loop.run_until_complete(task)
            except (SystemExit, KeyboardInterrupt) as error:
                self._went_on(error)
            except RuntimeError:
                # Something else has stopped the loop.
                if task.done():
                    break
                log.warning("something has stopped the event loop: the server starts it again")
        task.result()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._code = 0 if error is None else 1
        self._is_over.set()
        self._must_end.put(None)
        try:
            self._runner.close()
        except (SystemExit, KeyboardInterrupt) as late:
            self._went_on(late)

    def _went_on(self, error: BaseException) -> None:
        place = self._modules.place(steps_of_error(error.__traceback__))
        # It may happen again and again.
        level = logging.DEBUG if place in self._told else logging.ERROR
        self._told.add(place)
        log.log(level, "%s raised %s: the server goes on", place, type(error).__name__)

    def _end_in_time(self) -> None:
        self._must_end.get()
        deadline = time.monotonic() + WHOLE_SECONDS
        while not self._is_over.wait(TURN_SECONDS):
            if not self._turns() or time.monotonic() > deadline:
                self._code = 1
                break
        else:
            time.sleep(END_SECONDS)
        try:
            # What hangs may hold the log as well.
            self._may_speak.set()
            self._speaker.join(LOG_SECONDS)
        finally:
            os._exit(self._code)

    def _turns(self) -> bool:
        turned = threading.Event()
        try:
            self._runner.get_loop().call_soon_threadsafe(turned.set)
        except RuntimeError:
            # The loop is closed: the end of the run has been told by now.
            return True
        return turned.wait(HELD_SECONDS)

    def _tell_what_is_left(self) -> None:
        self._may_speak.wait()
        for what, steps in (*self._tasks(), *self._threads()):
            place = self._modules.place(steps)
            log.warning("the server ends without waiting for %s: %s", what, place)
        logging.shutdown()

    def _threads(self) -> Iterator[tuple[str, Iterable[Step]]]:
        frames = sys._current_frames()  # noqa: SLF001 - documented, and there is no other
        for thread in threading.enumerate():
            if not thread.daemon:
                what = "main" if thread is threading.main_thread() else repr(thread.name)
                yield f"the thread {what}", steps_of_frame(frames.get(thread.ident or 0))

    def _tasks(self) -> Iterator[tuple[str, Iterable[Step]]]:
        if self._loop is not None:
            for task in asyncio.all_tasks(self._loop):
                yield f"the task {task.get_name()!r}", steps_of_task(task)
