"""Fair locks whose queues are joined without awaiting.

Order of arrival is a promise of the API ("requests on one VM run one at a
time, in order of arrival"). A coroutine that first has to be scheduled before
it can queue would break that, so a place in a queue is taken by a plain call;
only the wait for the turn is awaited.
"""

from __future__ import annotations

import asyncio
from bisect import insort
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass


@dataclass(eq=False, slots=True)
class Waiter:
    """One visitor's place in a :class:`FairLock`."""

    exclusive: bool
    granted: Callable[[], None]
    inside: bool = False


class FairLock:
    """A read-write lock served strictly first come, first served.

    Shared visitors are inside together; an exclusive one is inside alone, and
    nobody who came after it gets in before it.
    """

    def __init__(self) -> None:
        self._queue: deque[Waiter] = deque()
        self._inside = 0
        self._exclusive = False

    @property
    def idle(self) -> bool:
        """True when nobody is inside or waiting."""
        return not self._inside and not self._queue

    def join(self, exclusive: bool, granted: Callable[[], None]) -> Waiter:
        """Queue, and have ``granted`` called when the turn comes (perhaps at once)."""
        turn = Waiter(exclusive, granted)
        self._queue.append(turn)
        self._admit()
        return turn

    def share(self, turn: Waiter) -> None:
        """Make an exclusive turn a shared one, which keeps its place."""
        turn.exclusive = False
        if turn.inside:
            self._exclusive = False
        self._admit()

    def leave(self, turn: Waiter) -> None:
        """Leave the lock, or its queue when the turn has not come yet."""
        if turn.inside:
            turn.inside = False
            self._inside -= 1
            self._exclusive = False
        else:
            self._queue.remove(turn)
        self._admit()

    def _admit(self) -> None:
        while self._queue and not self._exclusive:
            head = self._queue[0]
            if head.exclusive and self._inside:
                return
            self._queue.popleft()
            self._inside += 1
            self._exclusive = head.exclusive
            head.inside = True
            head.granted()


@dataclass(eq=False, slots=True)
class KeyedTurn:
    """One visitor's place in :class:`KeyedLocks`; visitors are numbered as they come."""

    number: int
    granted: Callable[[], None]
    keys: tuple[str, ...] = ()
    inside: bool = False


class KeyedLocks:
    """An exclusive lock per key, kept only while somebody uses it.

    A visitor gets all its keys at once, when it is first in line for each of
    them: none has one key while it waits for another, so no two ever wait for each other.

    A visitor that does not know its keys yet still has a place. Once it names them it is in
    line before all who came after it and are not inside. Until then, none of those who came
    after it gets a key that is not ``known``, since that may be the one to be named.

    :param known: tells whether what a key stands for exists already.
    """

    def __init__(self, known: Callable[[str], bool] = lambda _: True) -> None:
        self._known = known
        self._count = 0
        self._lines: dict[str, list[KeyedTurn]] = {}
        # Sets that keep their order: turns without keys yet, and turns that wait only for those.
        self._nameless: dict[KeyedTurn, None] = {}
        self._held_back: dict[KeyedTurn, None] = {}

    def __len__(self) -> int:
        """How many keys are in use, those yet to be named included."""
        return len(self._lines) + len(self._nameless)

    def join(self, keys: Iterable[str] | None, granted: Callable[[], None]) -> KeyedTurn:
        """Queue for all of ``keys``, and have ``granted`` called when the turn comes.

        That may be at once. ``None`` is for keys that :meth:`name` will give.
        """
        self._count += 1
        turn = KeyedTurn(self._count, granted)
        if keys is None:
            self._nameless[turn] = None
        else:
            self._line_up(turn, keys)
        return turn

    def name(self, turn: KeyedTurn, keys: Iterable[str]) -> None:
        """Name the keys of a turn that had none, and queue for them at the place that it has."""
        del self._nameless[turn]
        self._line_up(turn, keys)
        self._admit_held_back()

    def widen(self, turn: KeyedTurn, keys: Iterable[str]) -> None:
        """Queue for more keys, at the place that a turn has.

        It gives back those that it has, and is in line for all of them as if it had named them
        when it came. So of two that do this the earlier one goes first.
        """
        wanted, turn.keys, turn.inside = (*turn.keys, *keys), (), False
        for key in wanted:
            if key in self._lines and turn in self._lines[key]:
                self._lines[key].remove(turn)
        self._line_up(turn, wanted)
        for key in turn.keys:
            self._admit(self._lines[key][0])

    def leave(self, turn: KeyedTurn) -> None:
        """Leave the locks, or their queues when the turn has not come yet."""
        if turn in self._nameless:
            del self._nameless[turn]
            self._admit_held_back()
            return
        self._held_back.pop(turn, None)
        next_ones = []
        for key in turn.keys:
            line = self._lines[key]
            line.remove(turn)
            if line:
                next_ones.append(line[0])
            else:
                del self._lines[key]
        for each in next_ones:
            self._admit(each)

    def _line_up(self, turn: KeyedTurn, keys: Iterable[str]) -> None:
        turn.keys = tuple(dict.fromkeys(keys))
        for key in turn.keys:
            line = self._lines.setdefault(key, [])
            if line:
                insort(line, turn, lo=int(line[0].inside), key=lambda other: other.number)
            else:
                line.append(turn)
        self._admit(turn)

    def _admit(self, turn: KeyedTurn) -> None:
        if turn.inside:
            return
        for key in turn.keys:
            if self._lines[key][0] is not turn:
                return
        if self._nameless and self._may_be_named_yet(turn):
            self._held_back[turn] = None
            return
        turn.inside = True
        turn.granted()

    def _may_be_named_yet(self, turn: KeyedTurn) -> bool:
        """Whether an earlier visitor may still name a key of this turn, to make what it is for."""
        first = next(iter(self._nameless))
        return first.number < turn.number and not all(map(self._known, turn.keys))

    def _admit_held_back(self) -> None:
        held_back, self._held_back = self._held_back, {}
        for turn in held_back:
            self._admit(turn)


class LockRequest:
    """One visitor's way through an outer lock and then, if it has keys, through inner ones.

    The outer queue is joined by the constructor and the inner ones in the very
    moment the outer turn comes, so visitors keep their order through both.

    Use as an async context manager: entering waits for all turns.

    :param keys: ``None`` if they are not known yet: :meth:`narrow` names them.
    """

    def __init__(
        self,
        outer: FairLock,
        *,
        exclusive: bool = False,
        inner: KeyedLocks | None = None,
        keys: Iterable[str] | None = (),
    ) -> None:
        self._outer = outer
        self._inner = inner
        self._keys = None if keys is None else tuple(keys)
        self._inner_turn: KeyedTurn | None = None
        self._come = False
        self._turn: asyncio.Future[None] | None = None
        self._outer_turn: Waiter | None = outer.join(exclusive, self._outer_granted)

    @property
    def turn(self) -> asyncio.Future[None]:
        """Done once the turn has come, for the keys that are known so far."""
        # Most turns come at once, and nobody asks.
        if self._turn is None:
            self._turn = asyncio.get_running_loop().create_future()
            if self._come:
                self._turn.set_result(None)
        return self._turn

    @property
    def given_up(self) -> bool:
        """Whether the places were given back."""
        return self._outer_turn is None

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys that the visit is for; none while they are not known."""
        return self._keys or ()

    def narrow(self, *keys: str) -> None:
        """Name the keys of a visit that had none: it keeps its place, and from now on
        delays only those who want the same keys.
        """
        if self._outer_turn is None:
            raise RuntimeError("the place to be narrowed was given up")
        self._keys = keys
        if self._inner is not None and self._inner_turn is not None:
            self._come, self._turn = False, None
            self._inner.name(self._inner_turn, keys)
        self._outer.share(self._outer_turn)

    async def widen(self, *keys: str) -> None:
        """Wait for more keys as well; to be called when the turn has come.

        What the keys stand for may have changed meanwhile: the visit has none of them until it has
        all. It keeps its place.
        """
        more = [key for key in keys if key not in self.keys]
        if more and self._inner is not None and self._inner_turn is not None:
            self._keys = (*self.keys, *more)
            self._come, self._turn = False, None
            self._inner.widen(self._inner_turn, more)
            if not self._come:
                await self.turn

    def _outer_granted(self) -> None:
        if self._inner is not None:
            self._inner_turn = self._inner.join(self._keys, self._granted)
        if self._inner is None or self._keys is None:
            self._granted()

    def _granted(self) -> None:
        self._come = True
        if self._turn is not None and not self._turn.done():
            self._turn.set_result(None)

    async def __aenter__(self) -> None:
        if self._come:
            return
        try:
            await self.turn
        except BaseException:
            self.leave()
            raise

    async def __aexit__(self, *exc: object) -> None:
        self.leave()

    def leave(self) -> None:
        """Give back all places, whether the turns have come or not. Idempotent."""
        if self._inner is not None and self._inner_turn is not None:
            turn, self._inner_turn = self._inner_turn, None
            self._inner.leave(turn)
        if self._outer_turn is not None:
            outer_turn, self._outer_turn = self._outer_turn, None
            self._outer.leave(outer_turn)
