"""One timer for all frames that wait: asyncio's timers are a millisecond late, this one is not."""

from __future__ import annotations

import asyncio
import ctypes
import heapq
import itertools
import os
import struct
import time
from typing import Protocol

CLOCK_MONOTONIC = 1
TFD_FLAGS = os.O_NONBLOCK | os.O_CLOEXEC
TFD_TIMER_ABSTIME = 1

BILLION = 1_000_000_000


class Waiting(Protocol):
    """Something that has frames which wait."""

    def release(self, now: int) -> int | None:
        """Let go what is due.

        :param now: in nanoseconds, of the monotonic clock.
        :returns: when the next is due; ``None`` if nothing waits.
        """


class Schedule:
    """Has queues let their frames go when they are due. To be made on the loop.

    :raises OSError: no timer can be had.
    """

    def __init__(self) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        self._set = libc.timerfd_settime
        self._set.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)
        self._timer = libc.timerfd_create(CLOCK_MONOTONIC, TFD_FLAGS)
        if self._timer < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        self._order = itertools.count()
        self._heap: list[tuple[int, int, Waiting]] = []
        self._due: dict[Waiting, int] = {}
        self._armed: int | None = None
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._timer, self._fire)

    def wake(self, queue: Waiting, due: int) -> None:
        """Have a queue let go what is due at a time, in place of any that was named before.

        :param due: in nanoseconds, of the monotonic clock.
        """
        self._due[queue] = due
        heapq.heappush(self._heap, (due, next(self._order), queue))
        self._arm()

    def forget(self, queue: Waiting) -> None:
        """Leave a queue alone from now on."""
        self._due.pop(queue, None)

    def close(self) -> None:
        """Give the timer up."""
        self._loop.remove_reader(self._timer)
        os.close(self._timer)

    def _arm(self) -> None:
        due = self._heap[0][0] if self._heap else None
        if due is None or due == self._armed:
            return
        self._armed = due
        # Zero would disarm it, and a time that is past makes it fire at once.
        seconds, nanoseconds = divmod(max(due, 1), BILLION)
        self._set(
            self._timer,
            TFD_TIMER_ABSTIME,
            struct.pack("@4l", 0, 0, seconds, nanoseconds),
            None,
        )

    def _fire(self) -> None:
        try:
            os.read(self._timer, 8)
        except BlockingIOError:
            # It was armed anew meanwhile.
            return
        self._armed = None
        now = time.monotonic_ns()
        ready = []
        while self._heap and self._heap[0][0] <= now:
            due, _, queue = heapq.heappop(self._heap)
            if self._due.get(queue) == due:
                del self._due[queue]
                ready.append(queue)
        for queue in ready:
            following = queue.release(now)
            if following is not None:
                self.wake(queue, following)
        self._arm()
