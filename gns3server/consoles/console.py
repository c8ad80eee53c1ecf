"""One console: a source of bytes, and everybody who looks at it."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from typing import Any

from gns3server.consoles.clients import AttachedClient, ServedClient, TelnetClient
from gns3server.consoles.farewell import FarewellWatch
from gns3server.consoles.keyboard import Keyboard
from gns3server.consoles.listening import ListeningPort
from gns3server.consoles.scrollback import ScrollBack
from gns3server.consoles.sources import SocketSource, Terminal
from gns3server.consoles.transcript import Transcript
from gns3server.consoles.wanted import Wanted
from gns3server.running.control import Caller

MAX_CLIENTS = 64
"""How many may look at one console; more are told so, and hung up on."""

MAX_PENDING = 1024 * 1024
"""How much input of one client may wait for a program; then nothing is read of that client."""

MAX_PENDING_OF_ALL = 4 * MAX_PENDING
"""How much may wait of all; then nothing is read of whoever types more, after what that begins
with: an interrupt, which discards what waits, gets through."""

MAX_CELLS = 10_000
"""How many columns or rows a window has at most."""


Tell = Callable[[str, Mapping[str, str]], None]


class ServedConsole:
    """A console that is wanted.

    :param wanted: what it is to be like.
    :param tell: called with the name of an event, and what there is to say besides the id:
        ``ended`` when its source is gone, ``transcript_failed``.
    :param threads: where disks are waited for.
    """

    def __init__(self, wanted: Wanted, tell: Tell, threads: Executor) -> None:
        self.wanted = wanted
        self._tell = tell
        self._threads = threads
        self._clients: dict[ServedClient, None] = {}
        self._scrollback = ScrollBack(wanted.scrollback)
        self._source: Terminal | SocketSource | None = None
        self._port: ListeningPort | None = None
        self._transcript: Transcript | None = None
        self._farewell: FarewellWatch[ServedClient] | None = None
        self._keyboard: Keyboard[ServedClient] | None = None
        self._size: tuple[int, int] | None = None
        self._paused: set[ServedClient] = set()

    @property
    def alive(self) -> bool:
        """Whether there is somebody at the other end."""
        return self._source is not None and self._source.alive

    async def become(self, wanted: Wanted, deadline: float) -> tuple[str | None, str | None]:
        """Be what is wanted, and leave alone whatever is so already.

        :param deadline: until when disks and names are waited for, as a time of the loop's clock.
        :returns: why it is not served on its port, and why its transcript is not written.
        """
        former, self.wanted = self.wanted, wanted
        if wanted.scrollback != former.scrollback:
            self._scrollback.resize(wanted.scrollback)
        if wanted.source != former.source:
            self._set_source(None)
        if wanted.source.kind != "terminal" and self._source is None:
            self._set_source(SocketSource(wanted.source, self))
        elif wanted.input != former.input:
            self._set_rules()
        if wanted.host != former.host:
            # Who came by an address that is not wanted any more has to come again.
            self._part_with(lambda client: isinstance(client, TelnetClient))
        return await self._open_port(deadline), await self._open_transcript(deadline)

    def release_port(self, wanted: Wanted | None) -> None:
        """Listen no more on an address that is not wanted any more."""
        if self._port is not None and (
            wanted is None or (wanted.host, wanted.port) != (self.wanted.host, self.wanted.port)
        ):
            self._port.close()
            self._port = None

    async def set_terminal(self, descriptor: int, deadline: float) -> None:
        """Use a terminal from now on; one that it has had is closed.

        :param deadline: as for :meth:`become`.
        :raises OSError: its port was closed with a former terminal, and cannot be bound again.
        """
        self._set_source(None)
        self._set_source(Terminal(descriptor, self))
        if self._size is not None:
            self.resized(*self._size)
        if failure := await self._open_port(deadline):
            raise OSError(failure)

    async def attach(self, caller: Caller, *, read_only: bool) -> None:
        """Serve a connection of the server as a client, until either side ends."""
        client = AttachedClient(caller, self, self._scrollback.replay(), read_only=read_only)
        await client.run(self._join)

    @property
    def is_full(self) -> bool:
        """Whether it has as many clients as it may have."""
        return len(self._clients) >= MAX_CLIENTS

    def tail(self, most: int) -> str:
        """The end of what it has shown, as text."""
        return self._scrollback.tail(most).decode(errors="replace")

    def status(self) -> Mapping[str, Any]:
        """How it is, in JSON types."""
        columns, rows = self._size or (None, None)
        return {
            "console": self.wanted.given,
            "clients": len(self._clients),
            "columns": columns,
            "rows": rows,
            "alive": self.alive,
            "listening": self._port is not None,
            "transcript_failure": self._transcript.failure if self._transcript else None,
        }

    async def close(self, deadline: float) -> None:
        """Close its port, its source and its transcript, and hang up on everybody.

        :param deadline: as for :meth:`become`.
        """
        self.release_port(None)
        self._set_source(None)
        self._part_with(lambda _: True)
        if self._transcript is not None:
            await self._transcript.close(deadline)

    # What clients do.

    def typed(self, client: ServedClient, keys: bytes) -> None:
        """Give what a client has typed to the program."""
        if self._keyboard is not None:
            self._keyboard.typed(client, keys)
            if client in self._clients and self._is_full_of(client, 1.0):
                self._paused.add(client)
                client.pause()

    def resized(self, columns: int, rows: int) -> None:
        """Tell the program the size of the window that was changed last."""
        if 0 < columns <= MAX_CELLS and 0 < rows <= MAX_CELLS:
            self._size = (columns, rows)
            if self._source is not None:
                self._source.resize(columns, rows)

    def send_break(self) -> None:
        """Send a break, as the program understands it."""
        if self._source is not None:
            if self.wanted.input.break_text:
                self._source.write(self.wanted.input.break_text)
            else:
                self._source.send_break()

    def gone(self, client: ServedClient) -> None:
        """Forget a client."""
        self._clients.pop(client, None)
        self._paused.discard(client)

    # What the source does.

    def output(self, data: bytes) -> None:
        """Show output, and let it say that the program is ready for more."""
        if self._farewell is None:
            self._show(data)
        else:
            self._farewell.output(data)
        if self._keyboard is not None:
            self._keyboard.output(data)

    def lighter(self) -> None:
        """Read again what clients type, once the program has taken enough of it."""
        for client in [each for each in self._paused if not self._is_full_of(each, 0.5)]:
            self._paused.discard(client)
            client.resume()

    def _is_full_of(self, client: ServedClient, part: float) -> bool:
        """Whether as much input waits as may, or a part of that."""
        return self._keyboard is not None and (
            self._keyboard.pending_of(client) > part * MAX_PENDING
            or self._keyboard.pending > part * MAX_PENDING_OF_ALL
        )

    def source_ended(self) -> None:
        """Its program has ended: so do its clients and its port. A socket may come back."""
        if self._farewell is not None:
            self._farewell.release()
        if isinstance(self._source, Terminal):
            self._set_source(None)
            self.release_port(None)
            self._part_with(lambda _: True)
        self._tell("ended", {"console": self.wanted.id})

    def _set_source(self, source: Terminal | SocketSource | None) -> None:
        if self._source is not None:
            self._source.close()
        self._source = source
        self._set_rules()

    def _set_rules(self) -> None:
        if self._keyboard is not None:
            self._keyboard.close()
        if self._farewell is not None:
            self._farewell.release()
        self._farewell = self._keyboard = None
        if self._source is not None:
            rules = self.wanted.input
            if rules.farewell is not None:
                self._farewell = FarewellWatch(rules.farewell, self._show, self._leave)
            self._keyboard = Keyboard(self._source, rules, self._farewell, self.lighter)
        self.lighter()

    def _show(self, data: bytes) -> None:
        self._scrollback.add(data)
        if self._transcript is not None:
            self._transcript.add(data)
        for client in list(self._clients):
            client.show(data)

    def _leave(self, client: ServedClient) -> None:
        rule = self.wanted.input.farewell
        if rule is not None and client in self._clients:
            del self._clients[client]
            client.leave(rule.answer + b"\r\n")

    def _part_with(self, which: Callable[[ServedClient], bool]) -> None:
        for client in [each for each in self._clients if which(each)]:
            del self._clients[client]
            client.leave(b"")

    def _join(self, client: ServedClient) -> None:
        self._clients[client] = None

    def _taken(self, connection: socket.socket) -> None:
        try:
            if self.is_full:
                connection.send(b"This console has as many clients as it may have.\r\n")
                connection.close()
            else:
                self._join(TelnetClient(connection, self, self._scrollback.replay()))
        except OSError:
            # It has gone as soon as it came.
            connection.close()

    def _transcript_failed(self, reason: str) -> None:
        self._tell("transcript_failed", {"console": self.wanted.id, "reason": reason})

    async def _open_port(self, deadline: float) -> str | None:
        wanted = self.wanted
        if wanted.port is None or self._port is not None:
            return None
        try:
            self._port = await ListeningPort.open(wanted.host, wanted.port, self._taken, deadline)
        except OSError as error:
            return f"port {wanted.port} of {wanted.host} cannot be used: {error.strerror}"
        return None

    async def _open_transcript(self, deadline: float) -> str | None:
        former, path = self._transcript, self.wanted.transcript
        if path == (former.path if former else None):
            return None
        self._transcript = None
        if former is not None:
            await former.close(deadline)
        if path is None:
            return None
        transcript = Transcript(path, self._threads, self._transcript_failed)
        try:
            await transcript.open(deadline)
        except OSError as error:
            return error.strerror or str(error)
        self._transcript = transcript
        return None
