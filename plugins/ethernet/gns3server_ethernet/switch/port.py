"""One port: its wire, what it makes of frames, and what it has counted."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable

from gns3server_ethernet.switch.wanted import WantedPort, Wire

BUFFER = 4 * 1024 * 1024
"""Bytes of frames that the kernel keeps for us: the usual 256 frames last 3 ms at 90,000 a second.
"""

SO_RCVBUFFORCE = 33  # asm-generic/socket.h
"""As SO_RCVBUF, beyond the machine's limit; for root."""


def not_plugged_in(_: int | bytes) -> bytes:
    """What stands for the calls of a socket that is not there."""
    raise BlockingIOError


class Port:
    """A port, with a socket if it is wired.

    Counters are plain attributes: each is changed for every frame.
    """

    __slots__ = (
        "limited",
        "malformed",
        "receive",
        "received_bytes",
        "received_frames",
        "send",
        "sent_bytes",
        "sent_frames",
        "socket",
        "tag",
        "transparent",
        "unsent",
        "untagged",
        "wanted",
        "wire",
        "wrong_vlan",
    )

    def __init__(self, wanted: WantedPort) -> None:
        self.wanted = wanted
        self.wire: Wire | None = None
        self.socket: socket.socket | None = None
        self.receive: Callable[[int], bytes] = not_plugged_in
        self.send: Callable[[bytes], object] = not_plugged_in
        self.untagged = 0
        """The VLAN that frames without a tag belong to."""
        self.tag = b""
        """The tag of that VLAN, for what came in by this port."""
        self.transparent = False
        """Whether tags mean nothing there."""
        self.received_frames = self.received_bytes = 0
        self.sent_frames = self.sent_bytes = 0
        self.malformed = 0
        """Frames that were too short for what they said they are."""
        self.wrong_vlan = 0
        """Frames with a tag that the port does not take."""
        self.limited = 0
        """Frames that were to be flooded, beyond the limit."""
        self.unsent = 0
        """Frames that the other end of the wire did not take."""

    @property
    def counters(self) -> dict[str, int | str | bool]:
        """What it has counted, by name, with what it is."""
        return {
            "port_number": self.wanted.number,
            "name": self.wanted.name,
            "wired": self.socket is not None,
            **{name: getattr(self, name) for name in COUNTERS},
        }

    def plug(self, wire: Wire) -> int:
        """Plug a wire in; returns the descriptor to wait for.

        :raises OSError: its port or its other end cannot be used.
        """
        plugged = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            for option in (socket.SO_RCVBUF, SO_RCVBUFFORCE):
                with contextlib.suppress(OSError):
                    plugged.setsockopt(socket.SOL_SOCKET, option, BUFFER)
            # Nobody elsewhere can reach the ends of wires that stay on this machine.
            local = "127.0.0.1" if wire.host.startswith("127.") else ""
            plugged.bind((local, wire.lport))
            # The kernel then drops all that others send, and tells if nobody is there.
            plugged.connect((wire.host, wire.rport))
        except BaseException:
            plugged.close()
            raise
        self.wire, self.socket = wire, plugged
        self.receive, self.send = plugged.recv, plugged.send
        return plugged.fileno()

    def unplug(self) -> None:
        """Unplug the wire; there must be one."""
        if self.socket is not None:
            self.socket.close()
        self.wire = self.socket = None
        self.receive = self.send = not_plugged_in


COUNTERS = (
    "received_frames",
    "received_bytes",
    "sent_frames",
    "sent_bytes",
    "malformed",
    "wrong_vlan",
    "limited",
    "unsent",
)
