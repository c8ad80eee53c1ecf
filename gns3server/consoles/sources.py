"""Where the bytes of a console come from: a terminal, or a socket of an emulator."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import socket
import struct
import termios
from typing import Any, Protocol

from gns3server.consoles.wanted import Source
from gns3server.running.outgoing import Outgoing

READS = 4
"""How often a source is read in its turn, so that one that floods starves nobody."""

READ_BYTES = 65536

FIRST_RETRY, LAST_RETRY = 0.02, 1.0
"""Seconds between attempts to connect: what an emulator makes appears soon after its start."""

_SIZE = struct.Struct("HHHH")


class SourceListener(Protocol):
    """Whom a source tells what happens."""

    def output(self, data: bytes) -> None:
        """There is output."""

    def source_ended(self) -> None:
        """The other end is gone."""

    def lighter(self) -> None:
        """Some of the input that waited was taken."""


class Terminal:
    """The master of a pseudo-terminal that a program runs on.

    :param descriptor: its, which is closed with this.
    """

    def __init__(self, descriptor: int, listener: SourceListener) -> None:
        self._descriptor = descriptor
        self._listener = listener
        self.alive = True
        os.set_blocking(descriptor, False)
        self._outgoing = Outgoing(descriptor, self._end, listener.lighter)
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(descriptor, self.read_now)

    @property
    def raw(self) -> bool:
        """Whether the program has turned off lines and echo."""
        if not self.alive:
            return False
        try:
            flags = termios.tcgetattr(self._descriptor)[3]
        except termios.error:
            return False
        return not flags & (termios.ICANON | termios.ECHO)

    @property
    def pending(self) -> int:
        """How many bytes the program has not taken yet."""
        return self._outgoing.size

    def write(self, data: bytes) -> None:
        """Give the program keys, as it takes them."""
        self._outgoing.write(data)

    def forget(self) -> None:
        """Throw away the keys that the program has not taken yet."""
        self._outgoing.forget()

    def read_now(self) -> None:
        """Tell what the program has put out."""
        pieces = []
        ended = False
        for _ in range(READS if self.alive else 0):
            try:
                piece = os.read(self._descriptor, READ_BYTES)
            except BlockingIOError:
                break
            except OSError:
                # EIO: nobody has the terminal open any more.
                piece = b""
            if not piece:
                ended = True
                break
            pieces.append(piece)
        if pieces:
            self._listener.output(b"".join(pieces))
        if ended:
            self._end()

    def resize(self, columns: int, rows: int) -> None:
        """Tell the program the size of the window."""
        if self.alive:
            try:
                fcntl.ioctl(self._descriptor, termios.TIOCSWINSZ, _SIZE.pack(rows, columns, 0, 0))
            except OSError:
                # It is about to be found out that it has gone.
                return

    def send_break(self) -> None:
        """Send the terminal's own break."""
        if self.alive:
            try:
                termios.tcsendbreak(self._descriptor, 0)
            except termios.error:
                return

    def close(self) -> None:
        """Close it; its program gets a hang-up."""
        if self.alive:
            self.alive = False
            self._outgoing.close()
            self._loop.remove_reader(self._descriptor)
            os.close(self._descriptor)

    def _end(self) -> None:
        if self.alive:
            self.close()
            self._listener.source_ended()


class SocketSource:
    """A socket that an emulator listens on: connected to when it is there, and again when lost."""

    raw = True

    def __init__(self, source: Source, listener: SourceListener) -> None:
        self._source = source
        self._listener = listener
        self._connection: socket.socket | None = None
        self._outgoing: Outgoing | None = None
        self._pause = 0.0
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.create_task(self._connect())

    @property
    def alive(self) -> bool:
        """Whether it is connected."""
        return self._connection is not None

    @property
    def pending(self) -> int:
        """How many bytes the emulator has not taken yet."""
        return self._outgoing.size if self._outgoing else 0

    def write(self, data: bytes) -> None:
        """Give the emulator keys, as it takes them; without a connection they are lost."""
        if self._outgoing is not None:
            self._outgoing.write(data)

    def forget(self) -> None:
        """Throw away the keys that the emulator has not taken yet."""
        if self._outgoing is not None:
            self._outgoing.forget()

    def read_now(self) -> None:
        """Tell what the emulator has put out."""
        if self._connection is None:
            return
        try:
            data = self._connection.recv(READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            self._pause = 0.0
            self._listener.output(data)
        else:
            self._lost()

    def resize(self, columns: int, rows: int) -> None:
        """Do nothing: a serial line knows nothing of windows."""

    def send_break(self) -> None:
        """Do nothing: such a socket carries bytes alone."""

    def close(self) -> None:
        """Hang up, and connect no more."""
        self._task.cancel()
        self._hang_up()

    async def _connect(self) -> None:
        while True:
            # Longer each time until there was output: one that hangs up at once is no better than
            # one that is not there.
            await asyncio.sleep(self._pause)
            self._pause = min(max(FIRST_RETRY, 2 * self._pause), LAST_RETRY)
            with contextlib.suppress(OSError):
                self._use(await self._attempt())
                return

    async def _attempt(self) -> socket.socket:
        source = self._source
        family: int = socket.AF_UNIX
        address: Any = source.path
        if source.kind == "tcp":
            found = await self._loop.getaddrinfo(source.host, source.port, type=socket.SOCK_STREAM)
            family, _, _, _, address = found[0]
        connection = socket.socket(family, socket.SOCK_STREAM)
        try:
            connection.setblocking(False)
            await self._loop.sock_connect(connection, address)
        except BaseException:
            connection.close()
            raise
        return connection

    def _use(self, connection: socket.socket) -> None:
        self._connection = connection
        self._outgoing = Outgoing(connection.fileno(), self._lost, self._listener.lighter)
        self._loop.add_reader(connection, self.read_now)

    def _lost(self) -> None:
        if self._connection is not None:
            self._hang_up()
            self._task = asyncio.create_task(self._connect())
            self._listener.source_ended()

    def _hang_up(self) -> None:
        if self._connection is not None and self._outgoing is not None:
            self._outgoing.close()
            self._loop.remove_reader(self._connection)
            self._connection.close()
            self._connection = self._outgoing = None
