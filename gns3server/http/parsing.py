"""From a body to validated values: it is JSON whatever its content type says (contract 1.2)."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from aiohttp import web
from marshmallow import Schema, ValidationError

from gns3server.errors import InvalidRequest
from gns3server.http.bodies import read_body
from gns3server.http.encoding import MOST_REPEATED, decode
from gns3server.http.routing import OneOf, Route
from gns3server.server import Server

PARSED: web.RequestKey[Any] = web.RequestKey("parsed")
"""The parsed body, repeated to the client when it does not fit."""

LENGTH: web.RequestKey[int] = web.RequestKey("length")
"""How many bytes the body had."""

Loader = Callable[[web.Request], Awaitable[Mapping[str, Any]]]

SchemaOf = Callable[[type[Schema]], Schema]
"""Tells the instance of a schema."""


def make_loader(server: Server, route: Route, schema_of: SchemaOf) -> Loader:
    """The function that reads, parses and validates the bodies of a route.

    Without a schema, any JSON is accepted and counts as ``{}``; a raw body is
    left to the handler. The loader raises :class:`InvalidRequest` for what is
    not JSON or not of the route's shape.

    :param schema_of: the instance of a schema; asked for when a request needs it.
    """
    if route.raw or route.websocket:
        return _leave_it
    if route.body is None:
        return _load_nothing
    if isinstance(route.body, OneOf):
        return functools.partial(_load_one_of, server, route.body)
    return functools.partial(_load_schema, schema_of, route.body)


async def _leave_it(_request: web.Request) -> Mapping[str, Any]:
    return {}


async def _load_nothing(request: web.Request) -> Mapping[str, Any]:
    if request.can_read_body:
        await _parse(request)
    return {}


async def _load_schema(
    schema_of: SchemaOf, kind: type[Schema], request: web.Request
) -> Mapping[str, Any]:
    value = await _parse(request)
    if not isinstance(value, dict):
        raise InvalidRequest("Invalid request: the body must be a JSON object: {...}.")
    return _validate(schema_of(kind), value)


async def _load_one_of(server: Server, shape: OneOf, request: web.Request) -> Mapping[str, Any]:
    value = await _parse(request)
    choices = shape.choices(server)
    kind = value.get(shape.field) if isinstance(value, dict) else None
    if not isinstance(kind, str) or kind not in choices:
        known = ", ".join(sorted(choices)) or "none"
        raise InvalidRequest(
            f"Invalid request: it must be an object whose {shape.field!r} is one of: {known}."
        )
    rest = {key: item for key, item in value.items() if key != shape.field}
    return {**_validate(choices[kind](), rest), shape.field: kind}


async def _parse(request: web.Request) -> Any:
    body = await read_body(request)
    request[LENGTH] = len(body)
    value = decode(body)
    request[PARSED] = value
    return value


def repeated(request: web.Request) -> Any:
    """The body of a request that was refused, as answers repeat it; ``None`` without one."""
    length = request.get(LENGTH, 0)
    return request.get(PARSED) if length <= MOST_REPEATED else not_repeated(length)


def not_repeated(length: int) -> Any:
    """What stands for a body of this many bytes in an answer that would be too long with it."""
    return {"not_repeated": f"{length} bytes, which are more than an answer repeats"}


def _validate(schema: Schema, values: Mapping[str, Any]) -> Mapping[str, Any]:
    try:
        loaded: Mapping[str, Any] = schema.load(values)
    except ValidationError as error:
        raise InvalidRequest(f"Invalid request: {flatten(error.messages)}.") from error
    return loaded


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
