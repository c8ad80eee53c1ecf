"""A look at a link that nothing is in between: its frames as they pass the loopback interface.

Needs the right CAP_NET_RAW, and disturbs the link as little as can be.
"""

from __future__ import annotations

import asyncio
import ctypes
import errno
import socket
import struct
from collections.abc import Callable
from typing import Any

from gns3server.links.panel.frames import FrameReader, ask_for_buffer
from gns3server.links.panel.impairments import Frames
from gns3server.links.panel.wanted import WantedLink

NO_RIGHT = (
    "a link without a relay can only be captured with the right CAP_NET_RAW, which this process "
    "does not have: give the server that right, or have the link relayed (set its path; if it is "
    "two NIOs that match, delete it, and make a link between the same ports)"
)

INTERFACE = "lo"
ETH_P_ALL = 3
SOL_PACKET = 263
PACKET_STATISTICS = 6
PACKET_IGNORE_OUTGOING = 23
SO_ATTACH_FILTER = 26

ETHERNET_HEADER = 14
UDP_HEADER = 8

MOST_BATCHES = 256
"""How many batches of frames wait at most: as many small ones as the buffer has room for. More
have come meanwhile, on a link that floods."""

INSTRUCTION = struct.Struct("=HBBI")
PROGRAM = struct.Struct("@HP")

LOAD_HALF, LOAD_BYTE = 0x28, 0x30
LOAD_HALF_BEHIND, LOAD_HEADER_LENGTH = 0x48, 0xB1
IF_EQUAL, IF_ANY_BIT, RETURN = 0x15, 0x45, 0x06
"""Instructions of classic BPF (``linux/bpf_common.h``)."""


class Sniffer:
    """Sees the frames of a link from now on. To be made on the loop.

    :param captured: called with frames as they pass.
    :raises OSError: this is not permitted, or not possible here.
    """

    def __init__(
        self, wanted: WantedLink, reader: FrameReader, captured: Callable[[Frames], None]
    ) -> None:
        self.ends = wanted.ends
        self._reader = reader
        self._captured = captured
        self._lost = 0
        self._loop = asyncio.get_running_loop()
        first, second = wanted.ends
        if ":" in first.remote_host or ":" in second.remote_host:
            raise OSError(errno.EAFNOSUPPORT, "a link by IPv6 can only be captured by a relay")
        self._socket = _socket(first.remote_port, second.remote_port)
        self._loop.add_reader(self._socket, self._see)

    def status(self) -> dict[str, Any]:
        """How many frames have found no room where they wait to be captured."""
        # Counted from zero again at each look.
        counts = self._socket.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8)
        self._lost += struct.unpack("=II", counts)[1]
        return {"receive_lost": self._lost}

    def catch_up(self) -> None:
        """See what has passed already, without waiting for anything."""
        for _ in range(MOST_BATCHES):
            if not self._see():
                break

    def close(self) -> None:
        """See nothing more."""
        self._loop.remove_reader(self._socket)
        self._socket.close()

    def _see(self) -> bool:
        """See some of what has passed; whether there was anything."""
        frames = [_payload(packet) for packet in self._reader.read(self._socket.fileno())]
        if frames:
            self._captured(frames)
        return bool(frames)


def _payload(packet: bytes) -> bytes:
    return packet[ETHERNET_HEADER + 4 * (packet[ETHERNET_HEADER] & 15) + UDP_HEADER :]


def _socket(first: int, second: int) -> socket.socket:
    try:
        # Of no protocol until the filter is there: nothing else slips in.
        sniffing = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    except PermissionError as error:
        raise OSError(errno.EPERM, NO_RIGHT) from error
    try:
        sniffing.setblocking(False)
        ask_for_buffer(sniffing)
        _attach(sniffing, ports_filter(first, second))
        # On the loopback interface each packet goes out and comes in.
        sniffing.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
        sniffing.bind((INTERFACE, ETH_P_ALL))
    except BaseException:
        sniffing.close()
        raise
    return sniffing


def _attach(sniffing: socket.socket, program: bytes) -> None:
    instructions = ctypes.create_string_buffer(program, len(program))
    count = len(program) // INSTRUCTION.size
    packed = PROGRAM.pack(count, ctypes.addressof(instructions))
    sniffing.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, packed)


def ports_filter(first: int, second: int) -> bytes:
    """A program that lets UDP packets between two ports pass, either way, but no fragments."""
    source, target = ETHERNET_HEADER, ETHERNET_HEADER + 2
    program = (
        (LOAD_HALF, 0, 0, 12),
        (IF_EQUAL, 0, 13, 0x0800),
        (LOAD_BYTE, 0, 0, 23),
        (IF_EQUAL, 0, 11, socket.IPPROTO_UDP),
        (LOAD_HALF, 0, 0, 20),
        (IF_ANY_BIT, 9, 0, 0x3FFF),
        (LOAD_HEADER_LENGTH, 0, 0, ETHERNET_HEADER),
        (LOAD_HALF_BEHIND, 0, 0, source),
        (IF_EQUAL, 0, 2, first),
        (LOAD_HALF_BEHIND, 0, 0, target),
        (IF_EQUAL, 3, 4, second),
        (IF_EQUAL, 0, 3, second),
        (LOAD_HALF_BEHIND, 0, 0, target),
        (IF_EQUAL, 0, 1, first),
        (RETURN, 0, 0, 0x40000),
        (RETURN, 0, 0, 0),
    )
    return b"".join(INSTRUCTION.pack(*instruction) for instruction in program)
