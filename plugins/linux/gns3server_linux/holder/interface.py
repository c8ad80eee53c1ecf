"""One interface of the node, seen from outside: where its frames come from, and its wire.

Each is one end of a veth pair. The other end is ``eth0`` and so on inside; this one is in a network
namespace of its own, where nothing else is, and a packet socket takes and gives its frames.
"""

from __future__ import annotations

import contextlib
import fcntl
import socket
import struct

from gns3server_linux.holder.batch import Batch
from gns3server_linux.holder.wanted import Wire

BUFFER = 4 * 1024 * 1024
"""Bytes of frames that the kernel keeps for us: the usual 256 frames last 3 ms at 90,000 a second.
"""

SO_RCVBUFFORCE = 33  # asm-generic/socket.h
"""As SO_RCVBUF, beyond the machine's limit; for root."""

SOL_PACKET, ETH_P_ALL = 263, 0x0003
PACKET_AUXDATA, PACKET_QDISC_BYPASS, PACKET_IGNORE_OUTGOING = 8, 20, 23  # linux/if_packet.h

SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 1  # netdevice(7)
REQUEST = struct.Struct("16sh22x")


def outer_name(number: int) -> str:
    """What the outer end of an interface is called."""
    return f"wire{number}"


def packet_socket(number: int) -> socket.socket:
    """A socket that takes and gives the frames of an interface; in the outer ends' namespace.

    :raises OSError: the kernel does not let us.
    """
    found = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    found.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
    found.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
    found.setsockopt(SOL_PACKET, PACKET_QDISC_BYPASS, 1)
    found.bind((outer_name(number), ETH_P_ALL))
    return found


def enlarge(of: socket.socket) -> None:
    """Have the kernel keep more of what comes in."""
    try:
        of.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER)
    except OSError:
        of.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)


class Interface:
    """Moves the frames of one interface.

    :param inside: its packet socket.
    """

    def __init__(self, number: int, inside: socket.socket, batch: Batch) -> None:
        self.number = number
        self.inside = inside
        self.outside: socket.socket | None = None
        self.wire: Wire | None = None
        self.received = self.sent = self.lost = 0
        """Frames that came by the wire, that went by it, and that could not."""
        self._batch = batch
        enlarge(inside)

    def plug(self, wire: Wire) -> socket.socket:
        """Plug a wire in; returns its socket, a new one if its addresses are new.

        :raises OSError: its port cannot be bound.
        """
        former = self.wire
        if self.outside is None or former is None or former.tunnel != wire.tunnel:
            self.unplug()
            self.outside = self._open(wire)
        self.wire = wire
        self._set_carrier(wire.carrier)
        return self.outside

    def unplug(self) -> None:
        """Unplug the wire: the node sees at once that there is no carrier."""
        self._set_carrier(False)
        if self.outside is not None:
            self.outside.close()
        self.outside = self.wire = None

    def from_inside(self) -> None:
        """Move what the node has sent."""
        try:
            count = self._batch.receive_from_interface(self.inside.fileno())
        except OSError:
            # There was nothing, or the carrier has gone.
            return
        if self.outside is not None:
            lost = self._batch.send(self.outside.fileno())
            self.sent += count - lost
            self.lost += lost

    def from_outside(self) -> None:
        """Move what the wire has brought."""
        if self.outside is None:
            return
        try:
            count = self._batch.receive(self.outside.fileno())
        except OSError:
            # There was nothing, or the other end of the wire is not there yet.
            return
        lost = self._batch.send(self.inside.fileno())
        self.received += count - lost
        self.lost += lost

    def _open(self, wire: Wire) -> socket.socket:
        opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            enlarge(opened)
            # Nobody elsewhere can reach the ends of wires that stay on this machine.
            opened.bind(("127.0.0.1" if wire.host.startswith("127.") else "", wire.lport))
            # The kernel then drops all that others send, and tells if nobody is there.
            opened.connect((wire.host, wire.rport))
        except OSError:
            opened.close()
            raise
        return opened

    def _set_carrier(self, there: bool) -> None:
        """Switch the outer end on or off, which the inner end sees as its carrier."""
        name = outer_name(self.number).encode()
        with contextlib.suppress(OSError):
            answer = fcntl.ioctl(self.inside, SIOCGIFFLAGS, REQUEST.pack(name, 0))
            flags = REQUEST.unpack(answer)[1]
            wanted = flags | IFF_UP if there else flags & ~IFF_UP
            if wanted != flags:
                fcntl.ioctl(self.inside, SIOCSIFFLAGS, REQUEST.pack(name, wanted))
