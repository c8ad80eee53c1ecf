"""Bodies that a handler reads itself, in pieces, as they come."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from typing import TypeVar

from aiohttp import BodyPartReader, web
from aiohttp.http import HttpProcessingError

from gns3server.errors import InvalidRequest, RequestTimeout
from gns3server.http import reading
from gns3server.http.routing import Call

PART_CHUNK = 256 * 1024
"""Bytes of a part of a form that are read in one go."""

UNREADABLE = (ValueError, AssertionError, HttpProcessingError, web.RequestPayloadError)
"""What aiohttp raises for a body, or a form in it, that is not as its headers say."""

T = TypeVar("T")


async def raw_body(call: Call) -> AsyncIterator[bytes]:
    """The body of a request of a ``raw`` route, in pieces. Of any size: the limit is the caller's.

    :raises RequestTimeout: nothing has come for a while.
    :raises InvalidRequest: it is not coded as its headers say.
    :raises ConnectionError: the client has gone.
    """
    while piece := await patiently(call.request.content.readany()):
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
    reader = await patiently(request.multipart())
    while (part := await patiently(reader.next())) is not None:
        if not isinstance(part, BodyPartReader):
            raise InvalidRequest("A field of the form holds a form of its own: send plain fields.")
        yield part


async def part_content(part: BodyPartReader) -> AsyncIterator[bytes]:
    """The content of a form's field, in pieces. Raises what :func:`raw_body` does."""
    while not part.at_eof():
        piece = await patiently(part.read_chunk(PART_CHUNK))
        if piece:
            yield piece


async def patiently(work: Awaitable[T]) -> T:
    """Wait for a piece of a body, but not for ever.

    :raises RequestTimeout: nothing has come for a while.
    :raises InvalidRequest: what came cannot be read.
    """
    limit = reading.READ_LIMIT
    try:
        async with asyncio.timeout(limit):
            return await work
    except TimeoutError as error:
        raise RequestTimeout(
            f"Nothing of the request's body has come for {limit:.0f} seconds: send it again."
        ) from error
    except UNREADABLE as error:
        raise InvalidRequest(
            f"The request's body cannot be read: {error}. Check how it was encoded, and "
            "send it again."
        ) from error
