"""One direction of a relayed link: from one end's frames to the other end's socket."""

from __future__ import annotations

import random
import time
from collections import Counter, deque
from collections.abc import Mapping
from typing import Any

from gns3server.links.panel.frames import FrameWriter
from gns3server.links.panel.impairments import (
    Frames,
    Impairment,
    Pace,
    Queue,
    Settings,
    for_direction,
    generator_for,
    make_impairment,
)
from gns3server.links.panel.schedule import Schedule

MAX_WAITING_FRAMES = 200_000
MAX_WAITING_BYTES = 64 * 1024 * 1024
"""How much may wait in one direction: four seconds of 50,000 frames each, or a second of
500 Mbit/s. What comes beyond that is lost, and counted."""

MOST_AT_ONCE = 64
"""How many frames are let go before it is another link's turn. The buffer of a node has room
for 92 long ones."""

IMPAIRMENTS = ("frequency_drop", "packet_loss", "corrupt")
PACING = ("rate", "delay")


class Lane:
    """Takes frames and sends them on: at once, later or never.

    :param direction: ``first`` or ``second``: which end's frames they are.
    """

    def __init__(self, direction: str, writer: FrameWriter, schedule: Schedule) -> None:
        self.writer = writer
        self.frames = self.bytes = 0
        """What has come so far."""
        self.affected: Counter[str] = Counter()
        """How many frames each filter has lost or changed; ``overflow``: that no room was for."""
        self._direction = direction
        self._schedule = schedule
        self._suspended = False
        self._seed: int | None = None
        self._settings: dict[str, Mapping[str, Any]] = {}
        self._impairments: dict[str, Impairment] = {}
        self._pace: Pace | None = None
        self._queue: Queue = deque()
        self._waiting_frames = self._waiting_bytes = 0

    @property
    def waiting(self) -> tuple[int, int]:
        """How many frames and bytes wait."""
        return self._waiting_frames, self._waiting_bytes

    def configure(self, filters: Settings, seed: int, *, suspended: bool) -> None:
        """Have other filters from the next frame on; one that stays the same goes on as it was.

        What waits goes on waiting, but never longer than the new filters say.
        """
        wanted = for_direction(filters, self._direction)
        former = self._settings if seed == self._seed else {}
        self._impairments = {
            name: self._impairments[name]
            if former.get(name) == wanted[name]
            else make_impairment(name, wanted[name], self._generator(seed, name), self.affected)
            for name in IMPAIRMENTS
            if name in wanted
        }
        if self._seed is None or any(former.get(name) != wanted.get(name) for name in PACING):
            self._change_pace(wanted, seed)
        self._settings, self._seed, self._suspended = wanted, seed, suspended
        if suspended:
            self._lose_all()

    def take(self, frames: Frames, size: int) -> None:
        """Send frames on that have just come.

        :param size: their bytes.
        """
        self.frames += len(frames)
        self.bytes += size
        if self._suspended:
            self.affected["suspended"] += len(frames)
            return
        for impairment in self._impairments.values():
            frames = impairment(frames)
        if self._pace is None:
            self.writer.write(frames)
        else:
            self._keep(frames, self._pace)

    def release(self, now: int) -> int | None:
        """Let go what is due; returns when the next is."""
        queue = self._queue
        going: Frames = []
        while queue and queue[0][0] <= now and len(going) < MOST_AT_ONCE:
            going += queue.popleft()[1]
        self._waiting_frames -= len(going)
        self._waiting_bytes -= sum(map(len, going))
        self.writer.write(going)
        return queue[0][0] if queue else None

    def close(self) -> None:
        """Lose what waits."""
        self._lose_all()

    def _generator(self, seed: int, name: str) -> random.Random:
        return generator_for(seed, self._direction, name)

    def _change_pace(self, wanted: Mapping[str, Mapping[str, Any]], seed: int) -> None:
        if not any(name in wanted for name in PACING):
            self._pace = None
            self._let_all_go()
            return
        self._pace = Pace(
            wanted.get("rate", {}),
            wanted.get("delay", {}),
            self._generator(seed, "delay"),
            self.affected,
        )
        if self._queue:
            self._queue = self._pace.take_over(self._queue, time.monotonic_ns())
            self._schedule.wake(self, self._queue[0][0])

    def _keep(self, frames: Frames, pace: Pace) -> None:
        if not frames:
            return
        was_empty = not self._queue
        for due, group in pace.plan(frames, time.monotonic_ns()):
            size = sum(map(len, group))
            if (
                self._waiting_frames + len(group) > MAX_WAITING_FRAMES
                or self._waiting_bytes + size > MAX_WAITING_BYTES
            ):
                self.affected["overflow"] += len(group)
                continue
            self._queue.append((due, group))
            self._waiting_frames += len(group)
            self._waiting_bytes += size
        if was_empty and self._queue:
            self._schedule.wake(self, self._queue[0][0])

    def _let_all_go(self) -> None:
        self._schedule.forget(self)
        while self._queue:
            self.writer.write(self._queue.popleft()[1])
        self._waiting_frames = self._waiting_bytes = 0

    def _lose_all(self) -> None:
        self._schedule.forget(self)
        self.affected["suspended"] += self._waiting_frames
        self._queue.clear()
        self._waiting_frames = self._waiting_bytes = 0
