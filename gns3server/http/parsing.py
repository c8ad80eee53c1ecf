"""From a request to validated values."""

from __future__ import annotations

import functools
import uuid
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from aiohttp import web
from marshmallow import Schema, ValidationError

from gns3server.errors import InvalidRequest, NotFound
from gns3server.http.encoding import decode
from gns3server.http.reading import PARSED, flatten, read_body
from gns3server.http.routing import OneOf, Route, Server

Loader = Callable[[web.Request], Awaitable[Mapping[str, Any]]]


def make_loader(server: Server, route: Route) -> Loader:
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
        return functools.partial(_load_one_of, server, route.body)
    return functools.partial(_load_schema, route.body())


async def _leave_it(_request: web.Request) -> Mapping[str, Any]:
    return {}


async def _load_nothing(request: web.Request) -> Mapping[str, Any]:
    if request.can_read_body:
        request[PARSED] = decode(await read_body(request))
    return {}


async def _load_schema(schema: Schema, request: web.Request) -> Mapping[str, Any]:
    # Imported when the first body comes: a start must not pay for it.
    from gns3server.http.bodies import PARSER

    values: Mapping[str, Any] = await PARSER.parse(schema, request, location="json")
    return values


async def _load_one_of(server: Server, shape: OneOf, request: web.Request) -> Mapping[str, Any]:
    value = decode(await read_body(request))
    request[PARSED] = value
    choices = shape.choices(server)
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
