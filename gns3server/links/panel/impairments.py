"""What filters do to frames: lose them, damage them, say when they may go on.

Each draws from a generator of its own, seeded by the link, the direction and the filter. So what
becomes of the n-th frame of a direction depends on nothing else: not on the time, not on the other
direction, not on filters that are set beside it.
"""

from __future__ import annotations

import hashlib
import random
from collections import Counter, deque
from collections.abc import Mapping
from typing import Any, Protocol

MILLISECOND = 1_000_000
"""In nanoseconds."""

Frames = list[bytes]
Queue = deque[tuple[int, Frames]]
"""Frames that wait, each with the time at which it is due, in order."""

Settings = Mapping[str, Mapping[str, Any]]
"""The parameters of the filters of one direction, by type."""


class Impairment(Protocol):
    """Does something to frames that does not depend on the time."""

    def __call__(self, frames: Frames) -> Frames:
        """Return those that go on."""


class RegularLoss:
    """Loses every n-th frame.

    :param frequency: n; -1 loses all.
    :param affected: counts what is lost, by the type of filter.
    """

    def __init__(self, frequency: int, affected: Counter[str]) -> None:
        self._every = abs(frequency)
        self._count = 0
        self._affected = affected

    def __call__(self, frames: Frames) -> Frames:
        first = self._count + 1
        self._count += len(frames)
        every = self._every
        kept = [frame for number, frame in enumerate(frames, first) if number % every]
        self._affected["frequency_drop"] += len(frames) - len(kept)
        return kept


class RandomLoss:
    """Loses frames at random.

    :param chance: in percent.
    """

    def __init__(self, chance: float, generator: random.Random, affected: Counter[str]) -> None:
        self._chance = chance / 100
        self._draw = generator.random
        self._affected = affected

    def __call__(self, frames: Frames) -> Frames:
        chance, draw = self._chance, self._draw
        kept = [frame for frame in frames if draw() >= chance]
        self._affected["packet_loss"] += len(frames) - len(kept)
        return kept


class Corruption:
    """Turns over one bit of frames, at random.

    :param chance: in percent.
    """

    def __init__(self, chance: float, generator: random.Random, affected: Counter[str]) -> None:
        self._chance = chance / 100
        self._draw = generator.random
        self._affected = affected

    def __call__(self, frames: Frames) -> Frames:
        chance, draw = self._chance, self._draw
        # Two numbers for each frame, so that the next one's do not depend on this one.
        return [
            self._damaged(frame, where) if hit < chance and frame else frame
            for frame, hit, where in ((frame, draw(), draw()) for frame in frames)
        ]

    def _damaged(self, frame: bytes, where: float) -> bytes:
        self._affected["corrupt"] += 1
        byte, bit = divmod(int(where * len(frame) * 8), 8)
        damaged = bytearray(frame)
        damaged[byte] ^= 1 << bit
        return bytes(damaged)


class Pace:
    """Says when frames are due: one after the other (rate), and later (delay); always in order.

    Times are nanoseconds of the monotonic clock.

    :param rate: the parameters of that filter; none for as fast as can be.
    :param delay: the parameters of that filter.
    """

    def __init__(
        self,
        rate: Mapping[str, Any],
        delay: Mapping[str, Any],
        generator: random.Random,
        affected: Counter[str],
    ) -> None:
        bits = rate.get("kbit_per_s", 0)
        self._per_byte = 8 * MILLISECOND / bits if bits else 0.0
        self._patience = rate.get("queue_ms", 0) * MILLISECOND
        self._latency = round(delay.get("latency", 0) * MILLISECOND)
        self._jitter = round(delay.get("jitter", 0) * MILLISECOND)
        self._draw = generator.random
        self._affected = affected
        self._free_at = 0.0
        self._last = 0

    def plan(self, frames: Frames, now: int) -> list[tuple[int, Frames]]:
        """When each frame is due; those that nobody has room for are left out.

        :param frames: that have just come.
        """
        if not self._per_byte and not self._jitter:
            self._last = max(self._last, now + self._latency)
            return [(self._last, frames)]
        planned = []
        for frame in frames:
            leaves = self._turn(len(frame), now) if self._per_byte else now
            if leaves is None:
                self._affected["rate"] += 1
                continue
            # Drawn only for jitter, so that the numbers are those of the frames.
            shift = round((2 * self._draw() - 1) * self._jitter) if self._jitter else 0
            self._last = max(self._last, now, leaves + self._latency + shift)
            planned.append((self._last, [frame]))
        return planned

    def take_over(self, queue: Queue, now: int) -> Queue:
        """Plan anew what waits already: nothing is due later than it was, and the order stays."""
        taken: Queue = deque()
        self._free_at = now
        for due, frames in queue:
            self._free_at += sum(map(len, frames)) * self._per_byte
            latest = round(self._free_at) + self._latency + self._jitter
            self._last = min(due, latest)
            taken.append((self._last, frames))
        return taken

    def _turn(self, size: int, now: int) -> int | None:
        begins = max(now, self._free_at)
        if begins - now > self._patience:
            return None
        self._free_at = begins + size * self._per_byte
        return round(self._free_at)


def for_direction(filters: Settings, direction: str) -> dict[str, Mapping[str, Any]]:
    """Those filters of a link that do something to the frames of one end.

    :param filters: complete, as ``check_filters`` returns them.
    :param direction: ``first`` or ``second``.
    """
    off = {
        "frequency_drop": lambda values: values["frequency"] == 0,
        "packet_loss": lambda values: values["chance"] == 0,
        "corrupt": lambda values: values["chance"] == 0,
        "rate": lambda values: values["kbit_per_s"] == 0,
        "delay": lambda values: values["latency"] == values["jitter"] == 0,
    }
    return {
        name: values
        for name, values in filters.items()
        if values["direction"] in ("both", direction) and not off[name](values)
    }


def make_impairment(
    name: str, values: Mapping[str, Any], generator: random.Random, affected: Counter[str]
) -> Impairment:
    """Make what a filter does, of one that is not about time."""
    if name == "frequency_drop":
        return RegularLoss(values["frequency"], affected)
    if name == "packet_loss":
        return RandomLoss(values["chance"], generator, affected)
    return Corruption(values["chance"], generator, affected)


def generator_for(seed: int, direction: str, name: str) -> random.Random:
    """The generator of one filter in one direction of a link."""
    # Hashed, so that neighbouring seeds give unlike numbers.
    digest = hashlib.sha256(f"{seed} {direction} {name}".encode()).digest()
    return random.Random(int.from_bytes(digest, "big"))  # noqa: S311, nothing is kept secret by it
