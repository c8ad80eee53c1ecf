"""A capture of a link: to a file, into a ring of the last seconds, and to all who follow it."""

from __future__ import annotations

import asyncio
import errno
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from gns3server.errors import Exhausted
from gns3server.links.panel import pcap
from gns3server.links.panel.capture_file import CaptureFile
from gns3server.links.panel.follower import Follower
from gns3server.links.panel.impairments import Frames
from gns3server.links.panel.wanted import WantedCapture
from gns3server.running.control import Caller
from gns3server.running.threads import SeparateThreads

RING_BYTES = 4 * 1024 * 1024
RING_SECONDS = 10.0
"""What who begins to follow gets of the past."""

MAX_FOLLOWERS = 64

OPEN_SECONDS = 1.0
"""How long a disk may take to open a file: the server waits for the answer."""

Told = Callable[[str, dict[str, Any]], None]
"""Tells the server an event."""


class Capture:
    """Keeps frames as they come; made by :meth:`open`.

    It begins once the file is open, and ends with :meth:`close`, or by itself when nothing more
    can be written. Then it stays as it is: whoever wants another one asks for it.
    """

    def __init__(self, wanted: WantedCapture, told: Told) -> None:
        self.wanted = wanted
        self.frames = self.dropped = 0
        """How many frames have come, and how many of them are not in the file: a slow disk."""
        self.ended: str | None = None
        """Why it has ended by itself."""
        self._told = told
        self._file: CaptureFile | None = None
        self._finished = asyncio.Event()
        self._behind = False
        self._ring: deque[tuple[float, bytes]] = deque()
        self._ring_bytes = 0
        self._followers: list[Follower] = []

    @classmethod
    async def open(cls, wanted: WantedCapture, told: Told, threads: SeparateThreads) -> Capture:
        """Begin a capture.

        :param told: gets its events, ``capture_ended`` and ``capture_behind``.
        :param threads: to open files in.
        :raises OSError: the file cannot be opened.
        :raises ValueError: it is something else than a capture.
        """
        try:
            return await cls._open(wanted, told, threads)
        except OSError as error:
            reason = f"{wanted.path} cannot be written: {error.strerror}"
            raise OSError(error.errno, reason) from error
        except ValueError as error:
            raise ValueError(f"{wanted.path} cannot be written: {error}") from error

    @classmethod
    async def _open(cls, wanted: WantedCapture, told: Told, threads: SeparateThreads) -> Capture:
        capture = cls(wanted, told)
        loop = asyncio.get_running_loop()

        def ended(reason: str | None) -> None:
            # The loop may have ended long ago.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(capture._end, reason)

        def make() -> CaptureFile:
            return CaptureFile(wanted, ended)

        try:
            capture._file = await threads.run(
                make, key=wanted.path, limit=OPEN_SECONDS, dropped=CaptureFile.close
            )
        except Exhausted as error:
            raise OSError(errno.EAGAIN, str(error)) from error
        return capture

    def take(self, frames: Frames) -> None:
        """Keep frames that have just come."""
        if self.ended is not None or self._file is None:
            return
        self.frames += len(frames)
        chunk = pcap.records(frames, time.time_ns(), self.wanted.snapshot_length)
        if self._file.write(chunk):
            self._behind = False
        else:
            self.dropped += len(frames)
            if not self._behind:
                self._behind = True
                self._told("capture_behind", {"dropped": self.dropped})
        self._remember(chunk)
        if self._followers:
            self._followers = [each for each in self._followers if each.send(chunk)]

    def check_followers(self) -> None:
        """See whether one more may follow it.

        :raises ValueError: it has ended, or too many follow it.
        """
        if self.ended is not None:
            raise ValueError(f"the capture has ended: {self.ended}")
        if len(self._followers) >= MAX_FOLLOWERS:
            raise ValueError(f"{MAX_FOLLOWERS} clients follow this capture already")

    async def send_to(self, caller: Caller) -> None:
        """Send everything by a connection, the ring first, until the capture or the reader ends.

        :raises ValueError: see :meth:`check_followers`.
        """
        self.check_followers()
        self._forget(time.monotonic())
        follower = Follower(caller)
        follower.send(pcap.header(self.wanted.snapshot_length))
        follower.send(b"".join(chunk for _, chunk in self._ring))
        self._followers.append(follower)
        try:
            await follower.wait()
        finally:
            if follower in self._followers:
                self._followers.remove(follower)

    async def close(self) -> None:
        """End it, with all that has come on its way to the disk."""
        if self._file is not None and self.ended is None:
            self._file.close()
        self._let_followers_go()
        try:
            async with asyncio.timeout(OPEN_SECONDS):
                await self._finished.wait()
        except TimeoutError:
            # The disk is slow: the thread writes on without us.
            pass

    def status(self) -> dict[str, Any]:
        """What there is to say of it."""
        return {
            "path": str(self.wanted.path),
            "frames": self.frames,
            "dropped": self.dropped,
            "followers": len(self._followers),
            "ended": self.ended,
        }

    def _end(self, reason: str | None) -> None:
        self._finished.set()
        if reason is not None:
            self.ended = reason
            self._let_followers_go()
            self._told("capture_ended", {"reason": reason})

    def _let_followers_go(self) -> None:
        for follower in self._followers:
            follower.finish()
        self._followers.clear()
        self._ring.clear()
        self._ring_bytes = 0

    def _remember(self, chunk: bytes) -> None:
        now = time.monotonic()
        self._ring.append((now, chunk))
        self._ring_bytes += len(chunk)
        self._forget(now)

    def _forget(self, now: float) -> None:
        while self._ring and (
            self._ring_bytes > RING_BYTES or self._ring[0][0] < now - RING_SECONDS
        ):
            self._ring_bytes -= len(self._ring.popleft()[1])
