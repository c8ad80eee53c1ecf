"""The last bytes that a console has shown, for whoever comes late."""

from __future__ import annotations

MAX_SEARCH = 4096
"""How many bytes are given up to begin at the start of a line."""


class ScrollBack:
    """A bounded end of an output.

    :param size: how many bytes are kept; none if it is 0.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._data = bytearray()
        self._cut = False

    def add(self, data: bytes) -> None:
        """Keep more output, and give up the oldest."""
        self._data += data
        self._trim()

    def resize(self, size: int) -> None:
        """Keep more or fewer bytes from now on."""
        self._size = size
        self._trim()

    def tail(self, most: int) -> bytes:
        """Return the last bytes as they are, ``most`` at most."""
        return bytes(self._data[-most:]) if most else b""

    def replay(self) -> bytes:
        """Return all that is kept, from a place on at which a terminal can begin.

        What was cut may end within a character or an escape sequence. So it begins after the
        first line that ends soon, or else at the first escape sequence, or else at the first
        character.
        """
        if not self._cut:
            return bytes(self._data)
        end = self._data.find(b"\n", 0, MAX_SEARCH)
        if end >= 0:
            return bytes(self._data[end + 1 :])
        escape = self._data.find(b"\x1b", 0, MAX_SEARCH)
        if escape >= 0:
            return bytes(self._data[escape:])
        start = 0
        # Bytes that go on with a character of UTF-8; there are three at most.
        while start < min(3, len(self._data)) and self._data[start] & 0xC0 == 0x80:
            start += 1
        return bytes(self._data[start:])

    def _trim(self) -> None:
        excess = len(self._data) - self._size
        if excess > 0:
            del self._data[:excess]
            self._cut = True
