"""What passes between the server and the console server on a connection that was attached.

Both sides send frames: one byte that says what it is, four with the length of what follows (most
significant first), and that many bytes::

    b"o"  down: output of the console, as it is
    b"i"  up: keys
    b"w"  up: the size of a window: columns and rows, two bytes each, most significant first

The output begins with the scroll-back. When the console ends, the connection does. Frames that
are not known are ignored.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

OUTPUT, KEYS, WINDOW = b"o", b"i", b"w"

MAX_FRAME = 1024 * 1024
"""How many bytes a frame may carry; whoever sends longer ones is hung up on."""

_HEAD = struct.Struct(">cI")
_WINDOW = struct.Struct(">HH")


def frame(kind: bytes, data: bytes) -> bytes:
    """Wrap bytes in a frame."""
    return _HEAD.pack(kind, len(data)) + data


def window(columns: int, rows: int) -> bytes:
    """The frame that tells a window's size, in characters."""
    return frame(WINDOW, _WINDOW.pack(columns, rows))


def size_of(data: bytes) -> tuple[int, int]:
    """The columns and rows that a window's frame tells.

    :raises ValueError: it does not.
    """
    if len(data) != _WINDOW.size:
        raise ValueError("a window's size has four bytes")
    columns, rows = _WINDOW.unpack(data)
    return columns, rows


class Frames:
    """Finds the frames in bytes, however these are split."""

    def __init__(self) -> None:
        self._received = bytearray()

    def feed(self, data: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Yield the frames that are complete: what each is, and what it carries.

        :raises ValueError: one is too long.
        """
        self._received += data
        while len(self._received) >= _HEAD.size:
            kind, length = _HEAD.unpack_from(self._received)
            if length > MAX_FRAME:
                raise ValueError("a frame is too long")
            end = _HEAD.size + length
            if len(self._received) < end:
                return
            carried = bytes(self._received[_HEAD.size : end])
            del self._received[:end]
            yield kind, carried
