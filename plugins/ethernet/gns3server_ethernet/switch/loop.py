"""What the program waits for: descriptors that have something to read, or room for more."""

from __future__ import annotations

import os
import select
from collections.abc import Callable

CHUNK = 65536
"""Bytes that are read at a time."""

MOST_UNWRITTEN = 4 * 1024 * 1024
"""Bytes that are kept for somebody who does not read; who lets more come is given up."""


class Loop:
    """Calls whoever waits for a descriptor, one after the other."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._readers: dict[int, Callable[[], None]] = {}
        self._writers: dict[int, Callable[[], None]] = {}

    def add(self, descriptor: int, read: Callable[[], None]) -> None:
        """Have a function called whenever there is something to read."""
        self._epoll.register(descriptor, select.EPOLLIN)
        self._readers[descriptor] = read

    def await_room(self, descriptor: int, write: Callable[[], None] | None) -> None:
        """Have a function called as soon as a descriptor takes more; ``None`` ends that.

        Nothing is read from it meanwhile.
        """
        if write is None:
            self._writers.pop(descriptor, None)
        else:
            self._writers[descriptor] = write
        self._epoll.modify(descriptor, select.EPOLLOUT if write else select.EPOLLIN)

    def remove(self, descriptor: int) -> None:
        """Call nobody any more; to be called before the descriptor is closed."""
        self._epoll.unregister(descriptor)
        del self._readers[descriptor]
        self._writers.pop(descriptor, None)

    def run(self, tick: Callable[[], float]) -> None:
        """Serve for ever.

        :param tick: called before each wait; returns the seconds after which it wants to be
            called again, -1 for never.
        """
        while True:
            for descriptor, events in self._epoll.poll(tick()):
                # Whoever was called before may have removed it.
                if events & select.EPOLLOUT and (write := self._writers.get(descriptor)):
                    write()
                if events & ~select.EPOLLOUT and (read := self._readers.get(descriptor)):
                    read()


class Lines:
    """A descriptor that lines come from, and that takes text; nobody ever waits for it.

    The next line is taken once the other side has taken the answer to the one before.

    :param descriptor: non-blocking; closed at the end.
    :param take: called with each line that comes, without its end.
    :param ended: called once, when the other side has gone or is given up.
    :param longest: bytes that a line may have.
    """

    def __init__(
        self,
        loop: Loop,
        descriptor: int,
        *,
        take: Callable[[bytes], None],
        ended: Callable[[], None],
        longest: int,
    ) -> None:
        self._loop = loop
        self._descriptor = descriptor
        self._take = take
        self._ended = ended
        self._longest = longest
        self._received = b""
        self._unwritten = b""
        self._open = True
        loop.add(descriptor, self._read)

    def write(self, data: bytes) -> None:
        """Send something; what the other side does not take yet is kept."""
        if self._open:
            self._unwritten += data
            self._flush()

    def close(self) -> None:
        """Hang up."""
        if self._open:
            self._open = False
            self._loop.remove(self._descriptor)
            os.close(self._descriptor)
            self._ended()

    def _read(self) -> None:
        try:
            data = os.read(self._descriptor, CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        self._received += data
        self._take_lines()
        if not data or (len(self._received) > self._longest and not self._unwritten):
            self.close()

    def _take_lines(self) -> None:
        while self._open and not self._unwritten and b"\n" in self._received:
            line, _, self._received = self._received.partition(b"\n")
            self._take(line)

    def _flush(self) -> None:
        try:
            written = os.write(self._descriptor, self._unwritten)
        except BlockingIOError:
            written = 0
        except OSError:
            self.close()
            return
        self._unwritten = self._unwritten[written:]
        if len(self._unwritten) > MOST_UNWRITTEN:
            self.close()
        else:
            self._loop.await_room(self._descriptor, self._go_on if self._unwritten else None)

    def _go_on(self) -> None:
        self._flush()
        self._take_lines()
