"""Frames from and to UDP sockets, many at a time.

A call of the kernel for each frame is what limits a relay. So frames are received with recvmmsg(2),
which Python does not offer, and frames of one length are sent together and cut apart by the kernel
(UDP_SEGMENT, udp(7)). Both need no rights.
"""

from __future__ import annotations

import ctypes
import errno
import itertools
import mmap
import socket
import struct
from collections.abc import Iterator, Sequence

BATCH = 64
"""How many frames are received at once: after that it is another link's turn."""

LARGEST = 65507
"""The largest frame in bytes: what fits into a UDP datagram of IPv4."""

STRIDE = 65536 + 192
"""Bytes from one slot of the buffer to the next. Not a power of two: the beginnings of
the slots would compete for the same few lines of the processor's cache."""

SEGMENTS = 64
"""How many frames the kernel cuts apart at most."""

UDP_SEGMENT = 103

CANNOT_SEGMENT = (errno.EINVAL, errno.EMSGSIZE, errno.EIO, errno.EOPNOTSUPP, errno.ENOPROTOOPT)

SO_MEMINFO = 55
SO_RCVBUFFORCE = 33

RECEIVE_BUFFER = 4 * 1024 * 1024
"""Bytes that may wait in a socket, if the machine grants them. The usual buffer has room for
256 small frames: for 3 ms of a busy link."""


VECTOR = struct.Struct("@PN")
"""``struct iovec``: address and length."""

MESSAGE = struct.Struct("@PIPNPNi0PI0P")
"""``struct mmsghdr``: name, its length, vectors, their number, control data, its length, flags;
then how many bytes were received."""

RECEIVED = struct.calcsize("@PIPNPNi0P")
"""Where in a message that number is."""


class FrameReader:
    """Receives frames; one does for all sockets of a process.

    :raises OSError: there is no memory.
    """

    def __init__(self) -> None:
        self._buffer = mmap.mmap(-1, BATCH * STRIDE)
        self._starts = range(0, BATCH * STRIDE, STRIDE)
        base = _address(self._buffer)
        vectors = b"".join(VECTOR.pack(base + start, STRIDE) for start in self._starts)
        self._vectors = bytearray(vectors)
        base = _address(self._vectors)
        self._messages = bytearray().join(
            MESSAGE.pack(0, 0, base + number * VECTOR.size, 1, 0, 0, 0, 0)
            for number in range(BATCH)
        )
        words = memoryview(self._messages).cast("I")
        self._lengths = words[RECEIVED // 4 :: MESSAGE.size // 4]
        self._address = _address(self._messages)
        self._receive = ctypes.CDLL(None).recvmmsg
        self._receive.argtypes = (
            ctypes.c_int,
            ctypes.c_void_p,
            ctypes.c_uint,
            ctypes.c_int,
            ctypes.c_void_p,
        )

    def read(self, descriptor: int) -> list[bytes]:
        """Take the frames that wait in a socket, :data:`BATCH` at most.

        :returns: none if there are none, or if an error was told: that the other
            end has no socket yet, say, which says nothing about the frames to come.
        """
        count = self._receive(descriptor, self._address, BATCH, socket.MSG_DONTWAIT, None)
        if count <= 0:
            return []
        lengths = self._lengths[:count].tolist()
        buffer = self._buffer
        return [
            buffer[start : start + length]
            for start, length in zip(self._starts, lengths, strict=False)
        ]


def _address(buffer: mmap.mmap | bytearray) -> int:
    return ctypes.addressof(ctypes.c_char.from_buffer(buffer))


class FrameWriter:
    """Sends frames by a connected socket.

    :param connection: non-blocking.
    """

    def __init__(self, connection: socket.socket) -> None:
        self.unsent = 0
        """How many frames the kernel has not taken."""
        self._connection = connection
        self._segmenting = True

    def write(self, frames: Sequence[bytes]) -> None:
        """Send frames in their order."""
        if len(frames) == 1 or not self._segmenting:
            for frame in frames:
                self._one(frame)
            return
        for run in _runs(frames):
            if len(run) == 1:
                self._one(run[0])
            else:
                self._together(run)

    def _one(self, frame: bytes) -> None:
        try:
            self._connection.send(frame)
        except ConnectionRefusedError:
            self._again(frame)
        except OSError:
            self.unsent += 1

    def _again(self, frame: bytes) -> None:
        # What was refused is an earlier frame; this one was not sent.
        try:
            self._connection.send(frame)
        except OSError:
            self.unsent += 1

    def _together(self, frames: Sequence[bytes]) -> None:
        size = struct.pack("=H", len(frames[0]))
        try:
            self._connection.sendmsg(frames, [(socket.IPPROTO_UDP, UDP_SEGMENT, size)])
        except ConnectionRefusedError:
            for frame in frames:
                self._one(frame)
        except OSError as error:
            # An older kernel, or frames that are too long for the way to another host.
            self._segmenting = error.errno not in CANNOT_SEGMENT
            for frame in frames:
                self._one(frame)


def _runs(frames: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    """Cut a sequence into runs of frames of one length, each short enough to be sent at once."""
    position = 0
    for length, group in itertools.groupby(map(len, frames)):
        end = position + sum(1 for _ in group)
        most = min(SEGMENTS, LARGEST // length) if length else 1
        for begin in range(position, end, most):
            yield frames[begin : min(begin + most, end)]
        position = end


def ask_for_buffer(connection: socket.socket) -> None:
    """Have as much room for frames that wait as the machine grants."""
    try:
        connection.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER)
    except PermissionError:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)


def buffer_state(connection: socket.socket) -> tuple[int, int]:
    """How many bytes may wait in a socket, and how many frames found no room there."""
    memory = struct.unpack("=9I", connection.getsockopt(socket.SOL_SOCKET, SO_MEMINFO, 36))
    # The kernel doubles what it is asked for, and counts what it needs for itself.
    return memory[1] // 2, memory[8]
