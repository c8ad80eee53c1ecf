"""What switch and hub have in common: their ports, and frames that go to all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from time import monotonic
from typing import Any

from gns3server_ethernet.switch.flooding import FloodLimit
from gns3server_ethernet.switch.loop import Loop
from gns3server_ethernet.switch.port import Port
from gns3server_ethernet.switch.wanted import Wanted

BATCH = 64
"""Frames that one port may bring before it is the others' turn."""

LONGEST = 65536
"""More bytes than a frame can have: a UDP datagram has at most 65,507."""

HEADER = 14
"""Bytes of the shortest frame: two addresses and a type."""


class Bridge:
    """Ports, and what comes in by one of them.

    :param tell: called with what is to be told when frames are dropped for the flood limit.
    """

    def __init__(self, loop: Loop, tell: Callable[[Mapping[str, Any]], None]) -> None:
        self.name = ""
        self.ports: dict[int, Port] = {}
        self.flood_limit = FloodLimit(tell)
        self._loop = loop

    def configure(self, wanted: Wanted) -> dict[int, str]:
        """Become what is wanted; ports and wires that stay as they are notice nothing.

        :returns: why wires could not be plugged in, by the number of the port.
        """
        self.name = wanted.name
        self.flood_limit.set(wanted.flood_limit)
        asked = {port.number: port for port in wanted.ports}
        for number, port in list(self.ports.items()):
            # All old wires are out before the first new one is in: they may have swapped ports.
            if port.socket is not None and port.wire != wanted.wires.get(number):
                self._loop.remove(port.socket.fileno())
                port.unplug()
            if number not in asked:
                del self.ports[number]
        failed = {}
        for number, one in asked.items():
            port = self.ports.setdefault(number, Port(one))
            port.wanted = one
            wire = wanted.wires.get(number)
            if wire is not None and port.socket is None:
                try:
                    descriptor = port.plug(wire)
                except OSError as error:
                    failed[number] = error.strerror or str(error)
                else:
                    self._loop.add(descriptor, partial(self.receive, port))
        return failed

    def tick(self) -> float:
        """Do what is due; returns the seconds after which more may be, -1 for never."""
        if not self.flood_limit.active:
            return -1
        self.flood_limit.tick(monotonic())
        return 1

    def receive(self, port: Port) -> None:
        """Take what has arrived at a port, up to :data:`BATCH` frames."""
        now, receive, take = monotonic(), port.receive, self.take
        for _ in range(BATCH):
            try:
                frame = receive(LONGEST)
            except BlockingIOError:
                return
            except OSError:
                # A frame that was sent before has found nobody.
                continue
            port.received_frames += 1
            port.received_bytes += len(frame)
            if len(frame) < HEADER:
                port.malformed += 1
            else:
                take(port, frame, now)

    def take(self, port: Port, frame: bytes, now: float) -> None:
        """Forward a frame that came in by a port."""
        raise NotImplementedError

    def send(self, port: Port, frame: bytes) -> None:
        """Send a frame out of a port."""
        try:
            try:
                port.send(frame)
            except ConnectionRefusedError:
                # That was said of an earlier frame: somebody may be there by now.
                port.send(frame)
        except OSError:
            port.unsent += 1
        else:
            port.sent_frames += 1
            port.sent_bytes += len(frame)


class Hub(Bridge):
    """Sends all that comes in by one port out of all others."""

    def take(self, port: Port, frame: bytes, now: float) -> None:
        """Send a frame out of all other ports."""
        if not self.flood_limit.allow(now, port.wanted.number):
            port.limited += 1
            return
        for other in self.ports.values():
            if other is not port and other.socket is not None:
                self.send(other, frame)
