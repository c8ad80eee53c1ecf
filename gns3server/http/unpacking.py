"""Compressed bodies: unpacked in steps off the loop, and only taken if nothing of them is missing.

aiohttp unpacks whatever arrives, even for a request that is refused, and takes the beginning of a
gzip stream for all of it.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator

from aiohttp import web

from gns3server.errors import InvalidRequest, quoted

STEP = 1024 * 1024
"""The most bytes that come out of one step, and so are in memory at once."""

WINDOWS = {"gzip": 31, "deflate": 15}
"""How zlib is told the form of a stream (zlib's manual, inflateInit2), by the content coding."""

RAW_WINDOW = -15
"""The same for a stream without a header: many clients send that as ``deflate`` (RFC 9110, 8.4.1).
"""


class Unpacker:
    """The content of one compressed stream, or of several in a row (RFC 1952, 2.2)."""

    def __init__(self, coding: str) -> None:
        self._coding = coding
        self._stream: zlib._Decompress | None = None

    def step(self, piece: bytes) -> tuple[bytes, bytes]:
        """Unpack a part of a piece; returns content and what is left of the piece. Blocks.

        :raises ValueError: it is not of this coding.
        """
        if self._stream is None or (self._stream.eof and piece and self._coding == "gzip"):
            self._stream = zlib.decompressobj(self._window(piece))
        if self._stream.eof and piece:
            raise ValueError("something follows the compressed body")
        try:
            content = self._stream.decompress(piece, STEP)
        except zlib.error as error:
            raise ValueError(str(error)) from error
        return content, self._stream.unconsumed_tail or self._stream.unused_data

    def finish(self) -> None:
        """Tell that nothing else comes.

        :raises ValueError: something is missing.
        """
        if self._stream is None or not self._stream.eof:
            raise ValueError("the end of the compressed body is missing")

    def _window(self, piece: bytes) -> int:
        # The first byte of a stream with a header has 8 in its lower half (RFC 1950, 2.2).
        if self._coding == "deflate" and piece and piece[0] & 0xF != zlib.DEFLATED:
            return RAW_WINDOW
        return WINDOWS[self._coding]


def content_coding(request: web.Request) -> str:
    """How the body of a request is compressed: a key of :data:`WINDOWS`, or empty if it is not.

    :raises InvalidRequest: in a way that this server does not know, or in several.
    """
    transfer = ", ".join(request.headers.getall("Transfer-Encoding", ())).strip().lower()
    if transfer not in ("", "chunked"):
        # It would be taken as it is (RFC 9112, 6.1).
        raise InvalidRequest(
            f"The request's body has the Transfer-Encoding {quoted(transfer)}, which this server "
            "cannot undo: send it chunked, or with a length."
        )
    said = ", ".join(request.headers.getall("Content-Encoding", ())).strip().lower()
    if said in ("", "identity"):
        return ""
    if said not in WINDOWS:
        raise InvalidRequest(
            f"The request's body has the Content-Encoding {quoted(said)}, which this server cannot "
            "undo: send it with gzip or deflate, or as it is."
        )
    return said


async def unpacked(pieces: AsyncIterator[bytes], coding: str) -> AsyncIterator[bytes]:
    """The content of a compressed body that arrives in pieces.

    :param coding: what :func:`content_coding` has said, not empty.
    :raises ValueError: it is not of this coding, or something of it is missing.
    """
    unpacker = Unpacker(coding)
    async for piece in pieces:
        left, content = piece, b""
        while left or len(content) == STEP:
            content, left = await asyncio.to_thread(unpacker.step, left)
            yield content
    unpacker.finish()
