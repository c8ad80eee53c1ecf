"""How many frames a second may be sent to all ports: a loop of wires must not take the machine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

BURST = 0.2
"""Seconds of the limit that may come at once."""

CALM = 5.0
"""Seconds without a refusal after which it is over."""

REPEAT = 60.0
"""Seconds after which it is told again while it goes on."""


class FloodLimit:
    """Refuses frames beyond a rate, and tells when that begins, goes on and ends.

    :param tell: called with what is to be told.
    """

    def __init__(self, tell: Callable[[Mapping[str, Any]], None]) -> None:
        self._tell = tell
        self._rate = 1
        self._room = 1.0
        self._filled = 0.0
        self._refused_at = 0.0
        self._told_at = 0.0
        self._refused = 0
        self._ports: set[int] = set()

    def set(self, rate: int) -> None:
        """Have another rate from now on.

        :param rate: frames a second.
        """
        if rate != self._rate:
            self._rate, self._room = rate, max(1.0, rate * BURST)

    @property
    def active(self) -> bool:
        """Whether frames were refused a moment ago."""
        return bool(self._refused)

    def allow(self, now: float, port: int) -> bool:
        """Whether one more frame may be flooded.

        :param port: the number of the port that it came in by.
        """
        if now > self._filled:
            most = max(1.0, self._rate * BURST)
            self._room = min(most, self._room + (now - self._filled) * self._rate)
            self._filled = now
        if self._room >= 1:
            self._room -= 1
            return True
        self._refused += 1
        self._refused_at = now
        self._ports.add(port)
        return False

    def tick(self, now: float) -> None:
        """Tell what is to be told; to be called about once a second while it is active."""
        over = now - self._refused_at >= CALM
        first = not self._told_at
        if not (over or first or now - self._told_at >= REPEAT):
            return
        self._tell(
            {
                "over": over and not first,
                "limit": self._rate,
                "dropped": self._refused,
                "ports": sorted(self._ports),
            }
        )
        self._told_at = now
        if over and not first:
            self._told_at, self._refused = 0.0, 0
            self._ports.clear()
