"""A reader of a capture while it goes on: gets everything, or is dropped if it does not read."""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from collections.abc import Callable

MAX_WAITING = 16 * 1024 * 1024
"""Bytes that may wait for a reader. It begins with what a ring holds, and that at once."""


FINISH_SECONDS = 5.0
"""How long a reader may take to read the rest once the capture has ended."""


class Follower:
    """Sends a stream to a connection, and waits for nobody. To be made on the loop.

    :param connection: non-blocking; nothing else may be sent by it.
    :param hang_up: closes it.
    """

    def __init__(self, connection: socket.socket, hang_up: Callable[[], None]) -> None:
        self._connection = connection
        self._hang_up = hang_up
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[memoryview] = deque()
        self._size = 0
        self._finishing = False

    def send(self, data: bytes) -> bool:
        """Send something after what waits.

        :returns: False if that is too much: the reader does not read.
        """
        if self._size + len(data) > MAX_WAITING:
            return False
        if data:
            if not self._size:
                self._loop.add_writer(self._connection, self._send)
            self._waiting.append(memoryview(data))
            self._size += len(data)
        return True

    def finish(self) -> None:
        """End the stream once all is sent, or soon."""
        self._finishing = True
        if self._size:
            self._loop.call_later(FINISH_SECONDS, self._hang_up)
        else:
            self._hang_up()

    def drop(self) -> None:
        """End the stream now."""
        self.stop()
        self._hang_up()

    def stop(self) -> None:
        """Send nothing more: the connection is being closed."""
        if self._size:
            self._loop.remove_writer(self._connection)
        self._waiting.clear()
        self._size = 0

    def _send(self) -> None:
        try:
            done = self._connection.send(self._waiting[0])
        except BlockingIOError:
            return
        except OSError:
            # It has gone; whoever reads from the connection finds that out as well.
            self.drop()
            return
        self._size -= done
        if done < len(self._waiting[0]):
            self._waiting[0] = self._waiting[0][done:]
            return
        self._waiting.popleft()
        if not self._waiting:
            self._loop.remove_writer(self._connection)
            if self._finishing:
                self._hang_up()
