"""From a request to validated values."""

from __future__ import annotations

import asyncio
import functools
import uuid
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NoReturn

from aiohttp import web
from marshmallow import Schema, ValidationError
from webargs.aiohttpparser import AIOHTTPParser

from gns3server.errors import BodyTooLarge, InvalidRequest, NotFound, RequestTimeout
from gns3server.http.encoding import decode
from gns3server.http.routing import Lab, OneOf, Route

BODY_LIMIT = 16 * 1024 * 1024
"""Bytes a request body may have."""

READ_LIMIT = 30.0
"""Seconds a request body may take to arrive."""

PARSED: web.RequestKey[Any] = web.RequestKey("parsed")
"""The parsed body, repeated to the client when it does not fit."""


async def read_body(request: web.Request) -> bytes:
    """The whole body, whatever its transfer coding.

    :raises BodyTooLarge: over :data:`BODY_LIMIT`.
    :raises RequestTimeout: it took longer than :data:`READ_LIMIT`.
    """
    if not request.can_read_body:
        return b""
    try:
        async with asyncio.timeout(READ_LIMIT):
            return await request.read()
    except web.HTTPRequestEntityTooLarge as error:
        raise BodyTooLarge(
            f"The request's body is over the limit of {BODY_LIMIT} bytes: send less at once."
        ) from error
    except TimeoutError as error:
        raise RequestTimeout(
            f"The request's body did not arrive within {READ_LIMIT:.0f} seconds: send it again."
        ) from error


class BodyParser(AIOHTTPParser):
    """Parses every body as JSON, whatever its content type says, and answers 400.

    ``curl -d`` names a form type, and the sessions people copy depend on it
    (contract 1.2).
    """

    async def load_json(self, req: web.Request, schema: Schema) -> Any:
        """Read and decode the body, and keep it for the answer to a bad one."""
        value = decode(await read_body(req))
        req[PARSED] = value
        return value

    def handle_error(
        self,
        error: ValidationError,
        req: web.Request,
        schema: Schema,
        *,
        error_status_code: int | None,
        error_headers: Mapping[str, str] | None,
    ) -> NoReturn:
        """Turn a validation error into the 400 of this API."""
        messages: Any = error.messages
        if isinstance(messages, dict):
            messages = messages.get("json", messages)
        raise InvalidRequest(f"Invalid request: {flatten(messages)}.", request=req.get(PARSED))


PARSER = BodyParser()


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


Loader = Callable[[web.Request], Awaitable[Mapping[str, Any]]]


def make_loader(lab: Lab, route: Route) -> Loader:
    """What reads, parses and validates the bodies of a route.

    Without a schema any JSON is let through and taken for ``{}``; a raw body is
    left to the handler. The loader raises :class:`InvalidRequest` for what is
    not JSON or not of the route's shape.
    """
    if route.raw:
        return _leave_it
    if route.body is None:
        return _load_nothing
    if isinstance(route.body, OneOf):
        return functools.partial(_load_one_of, lab, route.body)
    return functools.partial(_load_schema, route.body())


async def _leave_it(_request: web.Request) -> Mapping[str, Any]:
    return {}


async def _load_nothing(request: web.Request) -> Mapping[str, Any]:
    if request.can_read_body:
        request[PARSED] = decode(await read_body(request))
    return {}


async def _load_schema(schema: Schema, request: web.Request) -> Mapping[str, Any]:
    values: Mapping[str, Any] = await PARSER.parse(schema, request, location="json")
    return values


async def _load_one_of(lab: Lab, shape: OneOf, request: web.Request) -> Mapping[str, Any]:
    value = decode(await read_body(request))
    request[PARSED] = value
    choices = shape.choices(lab)
    kind = value.get(shape.field) if isinstance(value, dict) else None
    if not isinstance(kind, str) or kind not in choices:
        known = ", ".join(sorted(choices)) or "none"
        raise InvalidRequest(
            f"Invalid request: it must be an object whose {shape.field!r} is one of: {known}.",
            request=value,
        )
    try:
        rest = {key: item for key, item in value.items() if key != shape.field}
        return {**choices[kind]().load(rest), shape.field: kind}
    except ValidationError as error:
        raise InvalidRequest(
            f"Invalid request: {flatten(error.messages)}.", request=value
        ) from error


def unknown_id(kind: str, text: str, error: NotFound) -> NotFound | InvalidRequest:
    """Which error an id deserves that nobody has: it may not be an id at all (HTTP-11)."""
    try:
        uuid.UUID(text)
    except ValueError:
        return InvalidRequest(f"{text!r} is no {kind} id: an id is a UUID of 36 characters.")
    return error
