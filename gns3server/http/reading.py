"""Bodies of requests as they arrive, and what is wrong with them as a sentence."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from aiohttp import web
from aiohttp.http import HttpVersion11

from gns3server.errors import BodyTooLarge, ExpectationFailed, InvalidRequest, RequestTimeout

BODY_LIMIT = 16 * 1024 * 1024
"""Bytes a request body may have."""

READ_LIMIT = 30.0
"""Seconds a request body may take to arrive."""

PARSED: web.RequestKey[Any] = web.RequestKey("parsed")
"""The parsed body, repeated to the client when it does not fit."""


async def expect_nothing_yet(_request: web.Request) -> None:
    """Leave ``Expect`` for later: aiohttp would ask for the body before anything is checked."""


def expectation(request: web.Request) -> str | None:
    """What the client expects before it sends the body (RFC 9110, 10.1.1)."""
    return request.headers.get("Expect") if request.version >= HttpVersion11 else None


def check_expectation(request: web.Request) -> None:
    """Let a client expect that its body is asked for, and nothing else.

    :raises ExpectationFailed: it expects something else.
    """
    expected = expectation(request)
    if expected is not None and expected.lower() != "100-continue":
        raise ExpectationFailed(
            f"This server cannot do what the header Expect asks for, {expected[:200]!r}: "
            "leave it out."
        )


async def ask_for_body(request: web.Request) -> None:
    """Ask for the body, if the client waits for that with it."""
    if expectation(request) is not None:
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        # None of the answer proper has been sent yet.
        request.writer.output_size = 0


async def read_body(request: web.Request) -> bytes:
    """The whole body, whatever its transfer coding.

    :raises BodyTooLarge: over :data:`BODY_LIMIT`.
    :raises RequestTimeout: it took longer than :data:`READ_LIMIT`, or the client went away.
    :raises InvalidRequest: its transfer or content coding is broken.
    """
    body = await _receive(request) if request.can_read_body else b""
    if not body and request.body_exists and request.content.total_compressed_bytes:
        # The beginning of something: an absent body would be carried out.
        raise InvalidRequest(
            "The request's body is compressed, and nothing is in it: send all of it, or none."
        )
    return body


async def _receive(request: web.Request) -> bytes:
    try:
        async with asyncio.timeout(READ_LIMIT):
            return await request.read()
    except web.HTTPRequestEntityTooLarge as error:
        raise BodyTooLarge(
            f"The request's body is over the limit of {BODY_LIMIT} bytes: send less at once."
        ) from error
    except web.RequestPayloadError as error:
        raise InvalidRequest(
            f"The request's body cannot be decoded: {error}. Check how it was encoded, and send it "
            "again."
        ) from error
    except ConnectionError as error:
        raise RequestTimeout("The client went away before its request was complete.") from error
    except TimeoutError as error:
        raise RequestTimeout(
            f"The request's body did not arrive within {READ_LIMIT:.0f} seconds: send it again."
        ) from error


def flatten(messages: Any, prefix: str = "") -> str:
    """Validation messages as one sentence: ``field: what is wrong; field: ...``."""
    if isinstance(messages, Mapping):
        parts = []
        for key, value in messages.items():
            name = prefix if key == "_schema" else f"{prefix}.{key}" if prefix else str(key)
            parts.append(flatten(value, name))
        return "; ".join(parts)
    texts = messages if isinstance(messages, list) else [messages]
    joined = ", ".join(str(text).rstrip(".") for text in texts)
    return f"{prefix}: {joined}" if prefix else joined
