"""A relay: a socket for each end of a link; what comes in by one goes out by the other."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from functools import partial
from typing import Any

from gns3server.links.panel.frames import FrameReader, FrameWriter, ask_for_buffer, buffer_state
from gns3server.links.panel.impairments import Frames
from gns3server.links.panel.lane import Lane
from gns3server.links.panel.schedule import Schedule
from gns3server.links.panel.wanted import WantedEnd, WantedLink


class Relay:
    """Has the ports of a link from now on, and relays it once it is started.

    :param captured: called with the frames of both ends as they come.
    :raises OSError: a port is taken, or an address is not of this machine.
    """

    def __init__(
        self,
        wanted: WantedLink,
        reader: FrameReader,
        schedule: Schedule,
        captured: Callable[[Frames], None],
    ) -> None:
        self.ends = wanted.ends
        self.host = wanted.host
        self._reader = reader
        self._captured = captured
        self._loop = asyncio.get_running_loop()
        self._sockets = _connected(wanted)
        first, second = self._sockets
        self._lanes = [
            Lane("first", FrameWriter(second), schedule),
            Lane("second", FrameWriter(first), schedule),
        ]
        self.configure(wanted)

    def start(self) -> None:
        """Relay frames, those that wait already first. Idempotent. To be called on the loop."""
        for connection, lane in zip(self._sockets, self._lanes, strict=True):
            self._loop.add_reader(connection, partial(self._forward, connection.fileno(), lane))

    def configure(self, wanted: WantedLink) -> None:
        """Apply the filters of a link, and its suspension, from the next frame on."""
        self._suspended = wanted.suspended
        for lane in self._lanes:
            lane.configure(wanted.filters, wanted.seed, suspended=wanted.suspended)

    def status(self) -> list[dict[str, Any]]:
        """What has become of the frames of each end."""
        ends = []
        for connection, lane in zip(self._sockets, self._lanes, strict=True):
            granted, lost = buffer_state(connection)
            frames, size = lane.waiting
            ends.append(
                {
                    "frames": lane.frames,
                    "bytes": lane.bytes,
                    "affected": dict(lane.affected),
                    "unsent": lane.writer.unsent,
                    "waiting_frames": frames,
                    "waiting_bytes": size,
                    "receive_buffer": granted,
                    "receive_lost": lost,
                }
            )
        return ends

    def close(self) -> None:
        """Give the ports up, with the frames that wait."""
        for lane in self._lanes:
            lane.close()
        for connection in self._sockets:
            self._loop.remove_reader(connection)
            connection.close()

    def _forward(self, descriptor: int, lane: Lane) -> None:
        frames = self._reader.read(descriptor)
        if frames:
            # A wire that is cut carries nothing that could be captured.
            if not self._suspended:
                self._captured(frames)
            lane.take(frames, sum(map(len, frames)))


def _connected(wanted: WantedLink) -> list[socket.socket]:
    sockets: list[socket.socket] = []
    try:
        for end in wanted.ends:
            family = socket.AF_INET6 if ":" in wanted.host else socket.AF_INET
            connection = socket.socket(family, socket.SOCK_DGRAM)
            sockets.append(connection)
            connection.setblocking(False)
            ask_for_buffer(connection)
            _connect(connection, wanted.host, end)
    except BaseException:
        for connection in sockets:
            connection.close()
        raise
    return sockets


def _connect(connection: socket.socket, host: str, end: WantedEnd) -> None:
    try:
        connection.bind((host, end.local_port))
    except OSError as error:
        reason = f"UDP port {end.local_port} of {host} cannot be used: {error.strerror}"
        raise OSError(error.errno, reason) from error
    try:
        connection.connect((end.remote_host, end.remote_port))
    except OSError as error:
        reason = f"no frames can be sent to {end.remote_host}: {error.strerror}"
        raise OSError(error.errno, reason) from error
