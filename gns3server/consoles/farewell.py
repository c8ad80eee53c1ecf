"""Taking leave of one client of a program that knows nothing of clients.

A program that has a terminal cannot hang up on whoever is connected to it, and says so. Where a
node type declares how (:class:`~gns3server.consoles.wanted.FarewellRule`), that is done here, and
the program's answer is never shown. Nothing else that looks like it counts: the answer must be the
whole line after the echo of a line that begins with the command.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

from gns3server.consoles.wanted import FarewellRule

MAX_LINE = 4096
"""How many bytes of a line are looked at."""

MAX_ENTERED = 16
"""How many lines may be on their way to their echo."""

_TOKEN = re.compile(rb"\x1b\[([ -?]*)([@-~])|\x1b[^\[]?|[^\x1b]", re.DOTALL)
"""A control sequence, another escape sequence, or one character."""

C = TypeVar("C")


class FarewellWatch(Generic[C]):
    """Follows what is typed and what is shown, and finds out when a client wants to leave.

    :param show: takes output that may be shown.
    :param leave: called with the client that leaves, between what was shown before and after.
    """

    def __init__(
        self, rule: FarewellRule, show: Callable[[bytes], None], leave: Callable[[C], None]
    ) -> None:
        self._rule = rule
        self._show = show
        self._leave = leave
        self._line = b""
        self._prompt: bytes | None = None
        self._entered: deque[C] = deque(maxlen=MAX_ENTERED)
        self._leaving: C | None = None
        self._held = b""

    def typed(self, client: C, keys: bytes) -> None:
        """Note what is about to be given to the program, whose output has been read so far."""
        if self._prompt is None:
            # Nothing has been typed since it was shown, so it is what the program has put there.
            self._prompt = rendered(self._line)
        if b"\x03" in keys:
            self._prompt = None
            self._entered.clear()
        elif b"\r" in keys:
            self._entered.append(client)

    def output(self, data: bytes) -> None:
        """Show what the program has put out, but for the answer."""
        data = self._held + data
        self._held = b""
        while data:
            if self._leaving is not None:
                data = self._answer(self._leaving, data)
            elif self._entered:
                data = self._echo(data)
            else:
                end = data.rfind(b"\n")
                self._line = data[end + 1 :] if end >= 0 else self._line + data
                self._line = self._line[:MAX_LINE]
                self._show(data)
                return

    def release(self) -> None:
        """Show what is held back: nothing will follow it."""
        self._leaving = None
        if self._held:
            self._show(self._held)
            self._held = b""

    def _echo(self, data: bytes) -> bytes:
        """Take output up to the end of the echoed line; returns what is left."""
        end = data.find(b"\n") + 1
        if not end:
            self._line = (self._line + data)[:MAX_LINE]
            self._show(data)
            return b""
        client = self._entered.popleft()
        if self._is_command(rendered((self._line + data[: end - 1])[:MAX_LINE])):
            self._leaving = client
        self._line = b""
        self._prompt = None
        self._show(data[:end])
        return data[end:]

    def _is_command(self, line: bytes) -> bool:
        if self._prompt is None or not line.startswith(self._prompt):
            return False
        return line[len(self._prompt) :].lstrip().startswith(self._rule.command)

    def _answer(self, client: C, data: bytes) -> bytes:
        """Take the answer away, or hold back what may become it; returns what is left."""
        length = answer_length(data, self._rule.refusal)
        if length is None:
            self._held = data
            return b""
        self._leaving = None
        if length:
            self._leave(client)
        return data[length:]


def answer_length(data: bytes, answer: bytes) -> int | None:
    """How many bytes at the start of an output are a line with an answer, and nothing else.

    :returns: 0 if it begins otherwise, None if more output is needed to know.
    """
    # A terminal puts a carriage return before a line's end, even if the program did so as well.
    start = len(data) - len(data.lstrip(b"\r"))
    body = data[start : start + len(answer)]
    if start > 2 or not answer.startswith(body):
        return 0
    if len(body) < len(answer):
        return None
    end = start + len(answer)
    rest = data[end:].lstrip(b"\r")
    if len(data) - end - len(rest) > 3:
        return 0
    if not rest:
        return None
    return len(data) - len(rest) + 1 if rest.startswith(b"\n") else 0


def rendered(line: bytes) -> bytes:
    """What is to be seen of an output that has no line's end: keys may have changed it."""
    shown = bytearray()
    column = 0
    for token in _TOKEN.finditer(line):
        if token[2] is not None:
            count = int(token[1][:4]) if token[1].isdigit() else 1
            column = _control(shown, column, token[2], count)
        elif token[0] == b"\r":
            column = 0
        elif token[0] == b"\b":
            column = max(0, column - 1)
        elif token[0] >= b" " and token[0] != b"\x7f":
            shown[column : column + 1] = token[0]
            column += 1
    return bytes(shown)


def _control(shown: bytearray, column: int, final: bytes, count: int) -> int:
    """Do what a control sequence says; returns the column after it."""
    if final == b"D":
        return max(0, column - count)
    if final == b"C":
        return min(len(shown), column + count)
    if final == b"K":
        del shown[column:]
    return column
