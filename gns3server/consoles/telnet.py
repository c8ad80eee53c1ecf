"""The telnet protocol at a console's end (RFC 854, 856, 857, 858, 1073): bytes in, meaning out.

A console offers to echo, to let characters through one by one and as eight bits, and asks for the
size of the client's window. It waits for no answer: who never negotiates is served as well.
"""

from __future__ import annotations

import enum
import re
import struct
from dataclasses import dataclass

IAC, DONT, DO, WONT, WILL, SB = 255, 254, 253, 252, 251, 250
ERASE_LINE, ERASE_CHARACTER, ARE_YOU_THERE, INTERRUPT, BREAK = 248, 247, 246, 244, 243
SE = 240
BINARY, ECHO, SUPPRESS_GO_AHEAD, WINDOW_SIZE = 0, 1, 3, 31

OFFERED = (ECHO, SUPPRESS_GO_AHEAD, BINARY)
"""What a console does if the client lets it."""

WANTED = (SUPPRESS_GO_AHEAD, BINARY, WINDOW_SIZE)
"""What a console lets the client do."""

GREETING = b"".join(
    [bytes((IAC, WILL, option)) for option in OFFERED]
    + [bytes((IAC, DO, option)) for option in WANTED]
)

MAX_SUBNEGOTIATION = 64
"""How many bytes of one are kept; longer ones are none that we know."""

_KEYS = {INTERRUPT: b"\x03", ERASE_CHARACTER: b"\x7f", ERASE_LINE: b"\x15"}
_ENTER = re.compile(rb"\r[\n\0]?|\n")


@dataclass(frozen=True, slots=True)
class Size:
    """A client's window has another size, in characters."""

    columns: int
    rows: int


@dataclass(frozen=True, slots=True)
class Reply:
    """Bytes that must be sent to the client."""

    data: bytes


class Break(enum.Enum):
    """The client has sent a break."""

    BREAK = enum.auto()


Meaning = bytes | Size | Reply | Break
"""What a client has sent: keys, or something about the connection."""


def shown(data: bytes) -> bytes:
    """Output as it is sent to a client."""
    return data.replace(b"\xff", b"\xff\xff")


class Enter:
    """Makes one carriage return of each way to say Enter: CR LF, CR NUL, LF and CR."""

    def __init__(self) -> None:
        self._after_cr = False

    def normalize(self, data: bytes) -> bytes:
        """What a terminal is to be given for bytes, however they are split."""
        if self._after_cr and data[:1] in (b"\n", b"\0"):
            data = data[1:]
            self._after_cr = False
        if not data:
            return data
        self._after_cr = data.endswith(b"\r")
        if b"\r" in data or b"\n" in data:
            return _ENTER.sub(b"\r", data)
        return data


class Telnet:
    """One client's side of the protocol, however its bytes are split."""

    def __init__(self) -> None:
        self._unfinished = b""
        self._subnegotiation: bytearray | None = None
        self._we_do = set(OFFERED)
        self._they_do = set(WANTED)
        self._enter = Enter()

    def receive(self, data: bytes) -> list[Meaning]:
        """What bytes of the client mean, in order."""
        meanings: list[Meaning] = []
        data = self._unfinished + data
        self._unfinished = b""
        while data:
            data = (
                self._plain(data, meanings)
                if self._subnegotiation is None
                else self._parameters(data, meanings)
            )
        return meanings

    def _plain(self, data: bytes, meanings: list[Meaning]) -> bytes:
        """Take keys, and the command after them; returns what is left."""
        end = data.find(IAC)
        if end < 0:
            self._add_keys(data, meanings)
            return b""
        self._add_keys(data[:end], meanings)
        length = 3 if len(data) > end + 1 and SB <= data[end + 1] <= DONT else 2
        if len(data) < end + length:
            self._unfinished = data[end:]
            return b""
        self._command(data[end + 1], data[end + length - 1], meanings)
        return data[end + length :]

    def _command(self, command: int, option: int, meanings: list[Meaning]) -> None:
        if command == IAC:
            self._add_keys(b"\xff", meanings)
        elif command == SB:
            self._subnegotiation = bytearray((option,))
        elif WILL <= command <= DONT:
            if answer := self._negotiate(command, option):
                meanings.append(Reply(bytes((IAC, answer, option))))
        elif command == BREAK:
            meanings.append(Break.BREAK)
        elif command == ARE_YOU_THERE:
            meanings.append(Reply(b"\r\n[yes]\r\n"))
        elif command in _KEYS:
            self._add_keys(_KEYS[command], meanings)

    def _negotiate(self, command: int, option: int) -> int | None:
        """The answer to an offer or a wish; none if nothing changes, so that none goes in circles.

        What was in the greeting counts as agreed upon.
        """
        ours = command in (DO, DONT)
        agreed, known = (self._we_do, OFFERED) if ours else (self._they_do, WANTED)
        yes, no = (WILL, WONT) if ours else (DO, DONT)
        if command in (DO, WILL):
            if option in agreed:
                return None
            if option not in known:
                return no
            agreed.add(option)
            return yes
        if option not in agreed:
            return None
        agreed.remove(option)
        return no

    def _parameters(self, data: bytes, meanings: list[Meaning]) -> bytes:
        """Take a subnegotiation's bytes; returns what is left."""
        assert self._subnegotiation is not None  # noqa: S101
        end = data.find(IAC)
        kept = MAX_SUBNEGOTIATION - len(self._subnegotiation)
        self._subnegotiation += data[: end if end >= 0 else None][: max(0, kept)]
        if end < 0:
            return b""
        if len(data) < end + 2:
            self._unfinished = data[end:]
            return b""
        if data[end + 1] == IAC:
            self._subnegotiation.append(IAC)
            return data[end + 2 :]
        self._conclude(bytes(self._subnegotiation), meanings)
        self._subnegotiation = None
        # Something other than its end: it was given up, and this is a command.
        return data[end + 2 :] if data[end + 1] == SE else data[end:]

    def _conclude(self, parameters: bytes, meanings: list[Meaning]) -> None:
        if len(parameters) == 5 and parameters[0] == WINDOW_SIZE:
            columns, rows = struct.unpack(">HH", parameters[1:])
            meanings.append(Size(columns, rows))

    def _add_keys(self, data: bytes, meanings: list[Meaning]) -> None:
        keys = self._enter.normalize(data)
        if not keys:
            return
        if meanings and isinstance(meanings[-1], bytes):
            meanings[-1] += keys
        else:
            meanings.append(keys)
