"""Many frames with one call: recvmmsg(2) and sendmmsg(2).

A batch is one set of buffers for all wires of the program: it is filled from one socket, and
emptied into another, before the next is looked at. What depends on the number of frames is done by
slices of the kernel's own structures, so that it costs Python a few microseconds a batch.
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import struct
from array import array

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, ClassVar, Literal

FRAMES = 64
"""How many frames are moved at a time."""

ROOM = 9600
"""Bytes of the longest frame: 9216 of an interface's MTU, its header, and some."""

CONTROL = 40
"""Bytes of what the kernel says of a frame: a ``cmsghdr`` and a ``tpacket_auxdata``, aligned."""

STATUS_AT, TAG_AT = 16, 32
"""Where that has the status, and the VLAN tag: the tag's value, then its Ethernet type."""

TAGGED = 0x10
"""TP_STATUS_VLAN_VALID of linux/if_packet.h: the kernel has taken a VLAN tag off the frame."""

ADDRESSES = 12
"""Bytes of a frame before its VLAN tag: the two addresses."""

MSG_DONTWAIT = socket.MSG_DONTWAIT
REFUSED = {errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EMSGSIZE, errno.EINVAL}
"""Errors that say something of one frame, and nothing of the next."""


class _Vector(ctypes.Structure):
    _fields_: ClassVar[Any] = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


class _Header(ctypes.Structure):
    _fields_: ClassVar[Any] = (
        ("name", ctypes.c_void_p),
        ("name_length", ctypes.c_uint32),
        ("vectors", ctypes.c_void_p),
        ("vector_count", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_length", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    )


class _Message(ctypes.Structure):
    """``struct mmsghdr``."""

    _fields_: ClassVar[Any] = (("header", _Header), ("length", ctypes.c_uint32))


class _Messages:
    """Message structures, one for each frame, that all point into the same buffers."""

    def __init__(self, frames: int, control: int | None) -> None:
        self.vectors = (_Vector * FRAMES)()
        self.messages = (_Message * FRAMES)()
        for number, (vector, message) in enumerate(zip(self.vectors, self.messages, strict=True)):
            vector.base, vector.length = frames + number * ROOM, ROOM
            message.header.vectors = ctypes.addressof(vector)
            message.header.vector_count = 1
            if control is not None:
                message.header.control = control + number * CONTROL
        self.address = ctypes.addressof(self.messages)
        self.lengths = _column(self.messages, _Message.length.offset, "I")
        at = _Message.header.offset + _Header.control_length.offset
        self.control_lengths = _column(self.messages, at, _SIZE)
        at = _Message.header.offset + _Header.flags.offset
        self.flags = _column(self.messages, at, "I")
        self.vector_lengths = _column(self.vectors, _Vector.length.offset, _SIZE)


_SIZE: Literal["Q", "I"] = "Q" if ctypes.sizeof(ctypes.c_size_t) == 8 else "I"


def _column(structures: ctypes.Array[Any], at: int, kind: Literal["Q", "I"]) -> memoryview:
    """One field of all structures of an array, as a view."""
    whole = memoryview(structures).cast("B").cast(kind)
    width = struct.calcsize(kind)
    return whole[at // width :: ctypes.sizeof(structures) // FRAMES // width]


class Batch:
    """The buffers, and the two calls."""

    def __init__(self) -> None:
        # Where nothing has come yet, this takes no memory.
        self._frames = bytearray(FRAMES * ROOM)
        self._control = bytearray(FRAMES * CONTROL)
        frames = ctypes.addressof(ctypes.c_char.from_buffer(self._frames))
        control = ctypes.addressof(ctypes.c_char.from_buffer(self._control))
        self._plain = _Messages(frames, None)
        self._with_control = _Messages(frames, control)
        self._outgoing = _Messages(frames, None)
        self._full_control = memoryview(array(_SIZE, [CONTROL] * FRAMES))
        self._statuses = memoryview(self._control).cast("I")[STATUS_AT // 4 :: CONTROL // 4]
        self._view = memoryview(self._frames)
        library = ctypes.CDLL(None, use_errno=True)
        self._receive, self._send = library.recvmmsg, library.sendmmsg
        arguments = (ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int)
        self._receive.argtypes = (*arguments, ctypes.c_void_p)
        self._send.argtypes = arguments
        self.lengths: list[int] = []
        """Of the frames that were received last."""

    def receive(self, descriptor: int) -> int:
        """Receive what is there, up to a whole batch, from a UDP socket; returns how many frames.

        :raises OSError: nothing is there, or something is wrong with the socket.
        """
        return self._take(descriptor, self._plain)

    def receive_from_interface(self, descriptor: int) -> int:
        """The same from a packet socket; VLAN tags are where they were on the wire."""
        self._with_control.control_lengths[:] = self._full_control
        count = self._take(descriptor, self._with_control)
        for number, status in enumerate(self._statuses[:count].tolist()):
            if status & TAGGED:
                self._put_tag_back(number)
        return count

    def send(self, descriptor: int) -> int:
        """Send the frames that were received last; returns how many of them were not taken."""
        count, lost, at = len(self.lengths), 0, 0
        lengths = array(_SIZE, self.lengths)
        self._outgoing.vector_lengths[:count] = memoryview(lengths)
        step = ctypes.sizeof(_Message)
        while at < count:
            sent = self._send(
                descriptor, self._outgoing.address + at * step, count - at, MSG_DONTWAIT
            )
            if sent > 0:
                at += sent
            elif ctypes.get_errno() in REFUSED:
                at, lost = at + 1, lost + 1
            else:
                # No room: as on any wire, what is too much is lost.
                return lost + count - at
        return lost

    def _take(self, descriptor: int, into: _Messages) -> int:
        count = int(self._receive(descriptor, into.address, FRAMES, MSG_DONTWAIT, None))
        if count < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        self.lengths = into.lengths[:count].tolist()
        return count

    def _put_tag_back(self, number: int) -> None:
        start, length = number * ROOM, self.lengths[number]
        value, kind = struct.unpack_from("=HH", self._control, number * CONTROL + TAG_AT)
        if length + 4 <= ROOM:
            rest = bytes(self._view[start + ADDRESSES : start + length])
            end = start + ADDRESSES + 4
            self._view[start + ADDRESSES : end] = struct.pack(">HH", kind or 0x8100, value)
            self._view[end : end + len(rest)] = rest
            self.lengths[number] = length + 4
