"""Who looks at a console: people with telnet, and the server on behalf of browsers."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable
from typing import Protocol

from gns3server.consoles import telnet
from gns3server.consoles.frames import KEYS, OUTPUT, WINDOW, Frames, frame, size_of
from gns3server.running.control import Caller
from gns3server.running.outgoing import Outgoing

MAX_UNSENT = 256 * 1024
"""How many bytes may wait for a client that does not read; one that lets more wait is dropped."""

LEAVE_SECONDS = 2.0
"""How long a client that is hung up on may take to read what it is still to be shown."""

READ_BYTES = 16384


class ServedClient(Protocol):
    """Somebody who is connected to a console."""

    def show(self, data: bytes) -> None:
        """Send it output; it is dropped if it does not read."""

    def leave(self, last: bytes) -> None:
        """Send it the last output, and hang up."""

    def close(self) -> None:
        """Hang up at once."""

    def pause(self) -> None:
        """Read nothing of it for now."""

    def resume(self) -> None:
        """Read what it sends."""


class Attended(Protocol):
    """What clients are connected to."""

    def typed(self, client: ServedClient, keys: bytes) -> None:
        """A client has typed something."""

    def resized(self, columns: int, rows: int) -> None:
        """The window of a client has another size."""

    def send_break(self) -> None:
        """A client has sent a break."""

    def gone(self, client: ServedClient) -> None:
        """A client is not connected any more."""


class TelnetClient:
    """A connection to a console's port.

    :param connection: non-blocking.
    :param console: what it is connected to.
    :param replay: what it is shown first.
    """

    def __init__(self, connection: socket.socket, console: Attended, replay: bytes) -> None:
        self._connection = connection
        self._console = console
        self._telnet = telnet.Telnet()
        self._loop = asyncio.get_running_loop()
        self._outgoing = Outgoing(connection.fileno(), self.close, self._lighter)
        self._most = MAX_UNSENT + len(replay)
        self._open = True
        self._leaving = False
        self._reading = False
        # Telnet sends the mark of an interrupt as urgent data: it stays where it is.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._outgoing.write(telnet.GREETING + telnet.shown(replay))
        self.resume()

    def show(self, data: bytes) -> None:
        """Send it output; it is dropped if it does not read."""
        if self._leaving:
            return
        self._outgoing.write(telnet.shown(data))
        if self._outgoing.size > self._most:
            self.close()

    def leave(self, last: bytes) -> None:
        """Send it the last output, and hang up."""
        if not self._open or self._leaving:
            return
        self.show(last)
        self._leaving = True
        self.resume()
        self._loop.call_later(LEAVE_SECONDS, self.close)
        self._lighter()

    def close(self) -> None:
        """Hang up at once."""
        if not self._open:
            return
        self._open = False
        self._stop_reading()
        self._outgoing.close()
        self._connection.close()
        self._console.gone(self)

    def pause(self) -> None:
        """Read nothing of it for now."""
        if not self._leaving:
            self._stop_reading()

    def resume(self) -> None:
        """Read what it sends."""
        if self._open and not self._reading:
            self._reading = True
            self._loop.add_reader(self._connection.fileno(), self._readable)

    def _stop_reading(self) -> None:
        if self._reading:
            self._reading = False
            self._loop.remove_reader(self._connection.fileno())

    def _readable(self) -> None:
        try:
            data = self._connection.recv(READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.close()
        elif not self._leaving:
            self._take(data)

    def _take(self, data: bytes) -> None:
        for meaning in self._telnet.receive(data):
            match meaning:
                case bytes():
                    self._console.typed(self, meaning)
                case telnet.Size(columns, rows):
                    self._console.resized(columns, rows)
                case telnet.Reply(reply):
                    self._outgoing.write(reply)
                case telnet.Break.BREAK:
                    self._console.send_break()
        if self._outgoing.size > self._most:
            self.close()

    def _lighter(self) -> None:
        if self._leaving and not self._outgoing.size:
            # What it has sent meanwhile is read until it hangs up as well: if anything were left
            # unread, the end of what it was sent could be lost with the connection.
            with contextlib.suppress(OSError):
                self._connection.shutdown(socket.SHUT_WR)


class AttachedClient:
    """A connection of the server that carries frames.

    :param caller: the connection.
    :param console: what it is attached to.
    :param replay: what it is shown first.
    :param read_only: whatever it types is thrown away.
    """

    def __init__(
        self, caller: Caller, console: Attended, replay: bytes, *, read_only: bool
    ) -> None:
        self._caller = caller
        self._console = console
        self._replay = replay
        self._read_only = read_only
        self._enter = telnet.Enter()
        self._most = MAX_UNSENT + len(replay)
        self._started = False
        self._may_read = asyncio.Event()
        self._may_read.set()
        self._left = asyncio.Event()

    async def run(self, join: Callable[[ServedClient], None]) -> None:
        """Serve it until either side ends.

        :param join: called once it can be shown something.
        """
        reading = asyncio.create_task(self._read())
        leaving = asyncio.create_task(self._left.wait())
        try:
            self.show(self._replay)
            self._replay = b""
            join(self)
            await asyncio.wait((reading, leaving), return_when=asyncio.FIRST_COMPLETED)
            if self._left.is_set():
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(LEAVE_SECONDS):
                        await self._caller.flush()
        finally:
            reading.cancel()
            leaving.cancel()
            self._console.gone(self)

    def show(self, data: bytes) -> None:
        """Send it output; it is dropped if it does not read."""
        if not data or self._left.is_set():
            return
        self._caller.write(frame(OUTPUT, data))
        if self._caller.unsent > self._most:
            self.close()

    def leave(self, last: bytes) -> None:
        """Send it the last output, and hang up."""
        self.show(last)
        self._left.set()

    def close(self) -> None:
        """Hang up at once."""
        self._caller.close()

    def pause(self) -> None:
        """Read nothing of it for now."""
        self._may_read.clear()

    def resume(self) -> None:
        """Read what it sends."""
        self._may_read.set()

    async def _read(self) -> None:
        frames = Frames()
        with contextlib.suppress(OSError, ValueError):
            while data := await self._caller.read(READ_BYTES):
                for kind, carried in frames.feed(data):
                    if not self._read_only:
                        self._take(kind, carried)
                await self._may_read.wait()

    def _take(self, kind: bytes, carried: bytes) -> None:
        if kind == KEYS and (keys := self._enter.normalize(carried)):
            self._console.typed(self, keys)
        elif kind == WINDOW:
            self._console.resized(*size_of(carried))
