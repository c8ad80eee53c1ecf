"""What clients type, on its way to a program, which may have needs of its own."""

from __future__ import annotations

import asyncio
import re
from collections import Counter, deque
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from gns3server.consoles.farewell import FarewellWatch
from gns3server.consoles.wanted import InputRules

QUIET_SECONDS = 0.2
"""How long a program that has a raw terminal shows nothing before it counts as having dealt with
a line to which it has shown no prompt."""

SHORTEST_CHECK, LONGEST_CHECK = 0.001, 0.05
"""Seconds between two looks at a terminal that lines wait for: nothing tells when it is raw."""

INTERRUPT = b"\x03"

_UNFINISHED = re.compile(rb"\x1b(\[[ -?]*|O)?")
_UNSEEN = re.compile(rb"\x1b\[[ -?]*[@-~]|[\r\0\a]")

C = TypeVar("C")


class Receiver(Protocol):
    """What keys are typed to."""

    @property
    def raw(self) -> bool:
        """Whether it has turned its terminal to raw, so that it reads each key."""

    @property
    def pending(self) -> int:
        """How many bytes it has not taken yet."""

    def write(self, data: bytes) -> None:
        """Give it keys, as it takes them."""

    def read_now(self) -> None:
        """Show what it has put out up to this moment."""

    def forget(self) -> None:
        """Throw away what it has not taken yet."""


class Keyboard(Generic[C]):
    """Hands over what clients type.

    :param receiver: who it is handed to.
    :param rules: what it needs.
    :param farewell: is told of each input.
    :param lighter: called after some of what waited was handed over.
    """

    def __init__(
        self,
        receiver: Receiver,
        rules: InputRules,
        farewell: FarewellWatch[C] | None,
        lighter: Callable[[], None],
    ) -> None:
        self._receiver = receiver
        self._rules = rules
        self._farewell = farewell
        self._lighter = lighter
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[tuple[C, bytearray]] = deque()
        self._sizes: Counter[C] = Counter()
        self._unfinished = b""
        self._entered = False
        self._line_ended = False
        self._prompted = False
        self._last_sign = 0.0
        self._check: asyncio.TimerHandle | None = None
        self._check_seconds = SHORTEST_CHECK

    @property
    def pending(self) -> int:
        """How many bytes wait, here or at the receiver's."""
        return self._sizes.total() + self._receiver.pending

    def pending_of(self, client: C) -> int:
        """How many of these a client has typed, or may have typed."""
        return self._sizes[client] + self._receiver.pending

    def typed(self, client: C, keys: bytes) -> None:
        """Take what a client has typed."""
        if not self._rules.by_line:
            self._hand_over(client, keys)
            return
        first, *others = keys.split(INTERRUPT)
        self._add(client, first)
        for each in others:
            self._interrupt(client)
            self._add(client, each)
        self._pump()

    def output(self, data: bytes) -> None:
        """Note what the program has put out: it may now be ready for the next line."""
        if not self._rules.by_line:
            return
        self._last_sign = self._loop.time()
        if self._entered:
            _, newline, rest = data.rpartition(b"\n")
            if newline:
                self._line_ended, self._prompted = True, False
            if self._line_ended and _UNSEEN.sub(b"", rest):
                self._prompted = True
        if self._waiting:
            self._check_seconds = SHORTEST_CHECK
            self._look_later()

    def close(self) -> None:
        """Hand over nothing any more."""
        self._forget()
        if self._check is not None:
            self._check.cancel()

    def _add(self, client: C, keys: bytes) -> None:
        if not keys:
            return
        self._sizes[client] += len(keys)
        if self._waiting and self._waiting[-1][0] is client:
            self._waiting[-1][1].extend(keys)
        else:
            self._waiting.append((client, bytearray(keys)))

    def _forget(self) -> None:
        self._waiting.clear()
        self._sizes.clear()

    def _interrupt(self, client: C) -> None:
        self._forget()
        self._receiver.forget()
        self._hand_over(client, INTERRUPT)
        self._lighter()

    def _pump(self) -> None:
        handed_over = False
        while self._waiting:
            if not self._is_ready():
                self._look_later()
                break
            client, keys = self._waiting[0]
            end = keys.find(b"\r") + 1 or len(keys)
            piece = bytes(keys[:end])
            del keys[:end]
            if not keys:
                self._waiting.popleft()
            self._sizes[client] -= end
            if not self._sizes[client]:
                del self._sizes[client]
            self._hand_over(client, piece)
            handed_over = True
        if handed_over:
            self._lighter()

    def _hand_over(self, client: C, keys: bytes) -> None:
        if self._farewell is not None:
            self._receiver.read_now()
            self._farewell.typed(client, keys)
        if keys.endswith((b"\r", INTERRUPT)):
            self._entered, self._line_ended, self._prompted = True, False, False
            self._last_sign = self._loop.time()
        follow = b""
        if self._rules.follow and not self._within_escape(keys) and self._receiver.raw:
            follow = self._rules.follow
        self._receiver.write(keys + follow)

    def _within_escape(self, keys: bytes) -> bool:
        """Whether an escape sequence has begun that is not complete after these keys."""
        _, escape, rest = (self._unfinished + keys).rpartition(b"\x1b")
        sequence = escape + rest
        unfinished = bool(escape) and len(sequence) < 64 and bool(_UNFINISHED.fullmatch(sequence))
        self._unfinished = sequence if unfinished else b""
        return unfinished

    def _is_ready(self) -> bool:
        """Whether the next line can be handed over.

        A program that is at work on a line has ended the line's echo, and then its terminal is not
        raw until it is ready; it shows its prompt before it turns it to raw.
        """
        if not self._receiver.raw:
            return False
        if not self._entered:
            return True
        if self._prompted or self._loop.time() - self._last_sign >= QUIET_SECONDS:
            self._entered = False
            return True
        return False

    def _look_later(self) -> None:
        if self._check is not None:
            self._check.cancel()
        self._check = self._loop.call_later(self._check_seconds, self._look)
        self._check_seconds = min(2 * self._check_seconds, LONGEST_CHECK)

    def _look(self) -> None:
        self._check = None
        self._receiver.read_now()
        self._pump()
