"""Fair locks whose queues are joined without awaiting.

Order of arrival is a promise of the API ("requests on one VM run one at a
time, in order of arrival"). A coroutine that first has to be scheduled before
it can queue would break it, so a place in a queue is taken by a plain call;
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
        """True when nobody is inside or waits."""
        return not self._inside and not self._queue

    def join(self, exclusive: bool, granted: Callable[[], None]) -> Waiter:
        """Queue, and have ``granted`` called when the turn comes (perhaps at once)."""
        turn = Waiter(exclusive, granted)
        self._queue.append(turn)
        self._admit()
        return turn

    def share(self, turn: Waiter) -> None:
        """Make an exclusive turn a shared one that has the same place."""
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

    A visitor gets all its keys in one moment, when it is the first in line for each of
    them: nobody has one and waits for another, so no two ever wait for each other.

    One that does not know its keys yet has a place all the same. Once it names them it
    is in line before all who came after it and are not inside. Until then none of those
    gets a key that is not ``known``, since that may be the one to be named.

    :param known: whether what a key stands for is there already.
    """

    def __init__(self, known: Callable[[str], bool] = lambda _: True) -> None:
        self._known = known
        self._count = 0
        self._lines: dict[str, list[KeyedTurn]] = {}
        # Sets that keep their order: those without keys yet, and those who wait for them alone.
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
        """Queue for the keys of a turn that had none till now, at the place that it has."""
        del self._nameless[turn]
        self._line_up(turn, keys)
        self._admit_held_back()

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
        """Whether one who came before may still want a key of a turn, to make what it is for."""
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

    :param keys: ``None`` if it is not known yet what the visit is for: :meth:`narrow` tells.
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
        self.turn = asyncio.get_running_loop().create_future()
        """Done once the turn has come, as far as it is known what for."""
        self._outer_turn: Waiter | None = outer.join(exclusive, self._outer_granted)

    @property
    def given_up(self) -> bool:
        """Whether the places were given back."""
        return self._outer_turn is None

    @property
    def keys(self) -> tuple[str, ...]:
        """What the visit is for, as far as it is known."""
        return self._keys or ()

    def narrow(self, *keys: str) -> None:
        """Tell what a visit without keys is for: it keeps its place, and is in the way of
        nobody from now on but those who want the same keys.
        """
        if self._outer_turn is None:
            raise RuntimeError("the place to be narrowed was given up")
        self._keys = keys
        if self._inner is not None and self._inner_turn is not None:
            self.turn = asyncio.get_running_loop().create_future()
            self._inner.name(self._inner_turn, keys)
        self._outer.share(self._outer_turn)

    def _outer_granted(self) -> None:
        if self._inner is not None:
            self._inner_turn = self._inner.join(self._keys, self._granted)
        if self._inner is None or self._keys is None:
            self._granted()

    def _granted(self) -> None:
        if not self.turn.done():
            self.turn.set_result(None)

    async def __aenter__(self) -> None:
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
