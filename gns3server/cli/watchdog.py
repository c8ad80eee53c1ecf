"""Notices that the event loop is held, and tells by what.

A thread could not: some code that holds the loop also holds Python's global lock, such as a
regular expression that takes for ever. A signal gets through even then: its handler runs in the
main thread, in the middle of the code that holds it, and is handed the very frame.
"""

from __future__ import annotations

import asyncio
import logging
import selectors
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from queue import Empty, SimpleQueue
from types import FrameType

from gns3server.plugin_host.modules import PluginModules, steps_of_frame
from gns3server.running.threads import start_thread

log = logging.getLogger(__name__)

STALL_SECONDS = 1.0
"""The loop counts as held once it has not run for between one and two times this long."""

WRITE_SECONDS = 0.5
"""How long the code that holds the loop is paused, so that another thread can write the log."""


class Watchdog:
    """Watches the event loop of the main thread.

    :param modules: names the plugin that holds it.
    :param request_of: tells which request a frame works on, if any.
    :param way_out: tells an error that may be raised in a frame without harm, if there is one;
        it is raised when a single call holds the loop for some time.
    """

    def __init__(
        self,
        modules: PluginModules,
        request_of: Callable[[FrameType], str | None],
        way_out: Callable[[FrameType], Exception | None],
    ) -> None:
        self._modules = modules
        self._request_of = request_of
        self._way_out = way_out
        self._loop = asyncio.get_running_loop()
        self._ran = 0.0
        self._told = False
        self._call: tuple[FrameType, int] | None = None
        self._timer: asyncio.TimerHandle | None = None
        # Of all ways to reach another thread, only these may be used in the middle of anything.
        self._texts: SimpleQueue[str | None] = SimpleQueue()
        self._written: SimpleQueue[None] = SimpleQueue()

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Watch while the context lasts.

        :raises OSError: no thread can be started.
        """
        start_thread("watchdog", self._write)
        before = signal.signal(signal.SIGALRM, self._held)
        self._runs()
        try:
            yield
        finally:
            if self._timer is not None:
                self._timer.cancel()
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
            self._texts.put(None)

    def _runs(self) -> None:
        now = time.monotonic()
        if self._told:
            log.warning("the event loop runs again, after %.1f seconds", now - self._ran)
        self._ran, self._told, self._call = now, False, None
        # The kernel's timer: a loop that runs in time sets it anew before it goes off.
        signal.setitimer(signal.ITIMER_REAL, 2 * STALL_SECONDS)
        self._timer = self._loop.call_later(STALL_SECONDS, self._runs)

    def _held(self, _number: int, frame: FrameType | None) -> None:
        if frame is None or frame.f_code.co_filename == selectors.__file__:
            # The loop waits for something to do: the machine, or the process, was held instead.
            return
        signal.setitimer(signal.ITIMER_REAL, STALL_SECONDS)
        steps = list(steps_of_frame(frame))
        if not self._told:
            self._told = True
            requests = (self._request_of(each) for each, _ in steps)
            request = next((text for text in requests if text), None)
            place = self._modules.place(steps)
            self._write_soon(f"{place}, for {request}" if request else place)
        call = frame, frame.f_lasti
        if call != self._call:
            # Other calls may have used up the time, while this one has just begun.
            self._call = call
            return
        ways_out = (self._way_out(each) for each, _ in steps)
        error = next((each for each in ways_out if each), None)
        if error is not None:
            raise error

    def _write_soon(self, text: str) -> None:
        """Have another thread write it: the code that was interrupted may hold the log."""
        self._texts.put(text)
        with suppress(Empty):
            self._written.get(timeout=WRITE_SECONDS)

    def _write(self) -> None:
        while (text := self._texts.get()) is not None:
            log.error("the event loop is held, and nothing else can run meanwhile. In %s", text)
            self._written.put(None)
