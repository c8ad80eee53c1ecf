"""Bodies of requests as they arrive: whole, or in pieces; never too large, too late or broken."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from typing import TypeVar

from aiohttp import BodyPartReader, web
from aiohttp.http import HttpProcessingError, HttpVersion11

from gns3server.errors import (
    BodyTooLarge,
    ExpectationFailed,
    InvalidRequest,
    RequestTimeout,
    quoted,
)
from gns3server.http.routing import Call
from gns3server.http.unpacking import content_coding, unpacked

BODY_LIMIT = 2 * 1024 * 1024
"""The most bytes that a body read whole may have, and so what a client can make answers, events
and records hold at once. It is twice what a file of a node may have, which a body brings along."""

READ_LIMIT = 30.0
"""Seconds that a body read whole, or the next piece of one read in pieces, may take to arrive."""

PART_CHUNK = 256 * 1024
"""Bytes of a part of a form that are read in one go."""

UNREADABLE = (ValueError, AssertionError, HttpProcessingError, web.RequestPayloadError)
"""What aiohttp raises for a body, or a form in it, that does not match its headers."""

T = TypeVar("T")


async def expect_nothing_yet(_request: web.Request) -> None:
    """Leave ``Expect`` for later: aiohttp would ask for the body before anything is checked."""


def waits_to_be_asked(request: web.Request) -> bool:
    """Whether the client sends the body only once the server has said so (RFC 9110, 10.1.1)."""
    return "Expect" in request.headers and request.version >= HttpVersion11


def check_expectation(request: web.Request) -> None:
    """Let a client expect that its body is asked for, and nothing else.

    :raises ExpectationFailed: it expects something else.
    """
    if not waits_to_be_asked(request):
        return
    expected = request.headers["Expect"]
    if expected.lower() != "100-continue":
        raise ExpectationFailed(
            f"This server cannot do what the header Expect asks for, {quoted(expected)}: "
            "leave it out."
        )


async def ask_for_body(request: web.Request) -> None:
    """Ask for the body of a client that waits to be asked."""
    await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")


async def read_body(request: web.Request) -> bytes:
    """The whole body, whatever its transfer and content coding.

    :raises BodyTooLarge: over :data:`BODY_LIMIT`.
    :raises RequestTimeout: it took longer than :data:`READ_LIMIT`, or the client went away.
    :raises InvalidRequest: its transfer or content coding is broken.
    """
    coding = content_coding(request) if request.body_exists else ""
    body = await _receive(request) if request.can_read_body else b""
    if not coding:
        return body
    whole = bytearray()
    try:
        async for content in unpacked(_one(body), coding):
            whole += content
            if len(whole) > BODY_LIMIT:
                raise _too_large()
    except ValueError as error:
        raise _unreadable(error) from error
    return bytes(whole)


async def _one(piece: bytes) -> AsyncIterator[bytes]:
    yield piece


async def _receive(request: web.Request) -> bytes:
    try:
        async with asyncio.timeout(READ_LIMIT):
            return await request.read()
    except web.HTTPRequestEntityTooLarge as error:
        raise _too_large() from error
    except web.RequestPayloadError as error:
        raise _unreadable(error) from error
    except ConnectionError as error:
        raise RequestTimeout("The client went away before its request was complete.") from error
    except TimeoutError as error:
        raise RequestTimeout(
            f"The request's body did not arrive within {READ_LIMIT:.0f} seconds: send it again."
        ) from error


async def raw_body(call: Call) -> AsyncIterator[bytes]:
    """The body of a request of a ``raw`` route, in pieces. Of any size: the limit is the caller's.

    :raises RequestTimeout: nothing has come for a while.
    :raises InvalidRequest: it is not coded as its headers say, or something of it is missing.
    :raises ConnectionError: the client has gone.
    """
    coding, pieces = content_coding(call.request), _arriving(call.request)
    if not coding:
        async for piece in pieces:
            yield piece
        return
    try:
        async for piece in unpacked(pieces, coding):
            yield piece
    except ValueError as error:
        raise _unreadable(error) from error


async def _arriving(request: web.Request) -> AsyncIterator[bytes]:
    while piece := await _patiently(request.content.readany()):
        yield piece


async def form_parts(request: web.Request) -> AsyncIterator[BodyPartReader]:
    """The fields of a form with files. Each must be read before the next is asked for.

    :raises InvalidRequest: it is no such form.
    """
    if request.content_type != "multipart/form-data":
        raise InvalidRequest(
            "The body must be a form with a file: send it as multipart/form-data, as the form "
            "on this page does, or with curl -F."
        )
    if content_coding(request):
        raise InvalidRequest("The form is compressed: send it as it is.")
    reader = await _patiently(request.multipart())
    while (part := await _patiently(reader.next())) is not None:
        if not isinstance(part, BodyPartReader):
            raise InvalidRequest("A field of the form holds a form of its own: send plain fields.")
        yield part


async def part_content(part: BodyPartReader) -> AsyncIterator[bytes]:
    """The content of a form's field, in pieces. Raises what :func:`raw_body` does."""
    while not part.at_eof():
        piece = await _patiently(part.read_chunk(PART_CHUNK))
        if piece:
            yield piece


async def _patiently(work: Awaitable[T]) -> T:
    """Wait for a piece of a body, but not for ever.

    :raises RequestTimeout: nothing has come for a while.
    :raises InvalidRequest: what came cannot be read.
    """
    try:
        async with asyncio.timeout(READ_LIMIT):
            return await work
    except TimeoutError as error:
        raise RequestTimeout(
            f"Nothing of the request's body has come for {READ_LIMIT:.0f} seconds: send it again."
        ) from error
    except UNREADABLE as error:
        raise _unreadable(error) from error


def _too_large() -> BodyTooLarge:
    return BodyTooLarge(
        f"The request's body is over the limit of {BODY_LIMIT} bytes: send less at once."
    )


def _unreadable(error: Exception) -> InvalidRequest:
    return InvalidRequest(
        "The request's body cannot be read, because it is not as its headers say: check how it was "
        "encoded, and send it again.",
        log=f"the request's body cannot be read: {error}",
    )
