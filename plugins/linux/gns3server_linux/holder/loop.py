"""Waits for descriptors, child processes and the time, for both processes."""

from __future__ import annotations

import contextlib
import heapq
import os
import select
import signal
import time
from collections.abc import Callable
from itertools import count

Ended = Callable[[int], None]
"""Called with how a child has ended: its exit code, negative for a signal."""


class Loop:
    """Calls whoever waits, one after the other.

    To be made in the main thread, once a process.
    """

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._readers: dict[int, Callable[[], None]] = {}
        self._children: dict[int, Ended] = {}
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = count()
        reading, writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        self._woken = reading
        self.add(reading, self._reap)

    def add(self, descriptor: int, read: Callable[[], None]) -> None:
        """Have a function called whenever there is something to read."""
        self._epoll.register(descriptor, select.EPOLLIN)
        self._readers[descriptor] = read

    def remove(self, descriptor: int) -> None:
        """Call nobody any more; to be called before the descriptor is closed."""
        self._epoll.unregister(descriptor)
        del self._readers[descriptor]

    def attend(self, pid: int, ended: Ended) -> None:
        """Have a function called when a child of this process has ended."""
        self._children[pid] = ended

    def later(self, seconds: float, call: Callable[[], None]) -> None:
        """Have a function called after a while."""
        heapq.heappush(self._timers, (time.monotonic() + seconds, next(self._numbers), call))

    def run(self) -> None:
        """Serve for ever."""
        # A child may have ended before anybody listened.
        self._reap()
        while True:
            self.turn(-1)

    def turn(self, most: float) -> None:
        """Wait once, and serve whatever has come.

        :param most: seconds to wait at most; -1 for as long as it takes.
        """
        if self._timers:
            left = max(0.0, self._timers[0][0] - time.monotonic())
            most = left if most < 0 else min(most, left)
        for descriptor, _ in self._epoll.poll(most):
            # Whoever was called before may have removed it.
            if read := self._readers.get(descriptor):
                read()
        while self._timers and self._timers[0][0] <= time.monotonic():
            heapq.heappop(self._timers)[2]()

    def _reap(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self._woken, 4096)
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if ended := self._children.pop(pid, None):
                ended(os.waitstatus_to_exitcode(status))
