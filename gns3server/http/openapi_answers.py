"""Answers in the OpenAPI document: which a route may give, and what they look like."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from gns3server.http.families import ErrorShape
from gns3server.http.routing import HTML, JSON, OCTETS, Route, Scope
from gns3server.http.schemas import ErrorSchema, InvalidRequestSchema

EVERYWHERE = {
    400: "The request is not JSON, or not of the shape asked for",
    401: "The server asks for a user and a password, and these were not sent",
    403: "The request's Host or Origin is not one that this server answers to",
    408: "The body did not arrive in time",
    413: "The body is over the limit",
    500: "The server failed; its log has the id that the message names",
}
"""Errors that any route may answer."""

SHARED = {
    **EVERYWHERE,
    404: "There is no such object, or not in that project",
    503: "The plugin is out of service; the message says why",
}
"""Errors that are described once for all routes that say nothing else about them."""

HEADERS: Mapping[int, Mapping[str, str]] = {
    206: {"Content-Range": "Which part it is, and how long the whole is"},
    302: {"Location": "Where to go on"},
    401: {"WWW-Authenticate": "How to log in"},
    416: {"Content-Range": "How long the whole is"},
}
"""Headers that a client needs from an answer, by status."""

ANY_OBJECT = {"type": "object"}
BYTES = {"type": "string", "format": "binary"}
STREAMED: Mapping[str, Any] = {OCTETS: BYTES, HTML: {"type": "string"}}
"""Schemas of answers that handlers make themselves, by media type; others are not described."""

NOTHING: Mapping[str, Any] = MappingProxyType({})


def problems_of(route: Route) -> dict[int, str]:
    """The answers that a route may give besides its own, by status, and when."""
    # The limit of a raw body is the handler's own.
    problems = {n: text for n, text in EVERYWHERE.items() if n != 413 or not route.raw}
    problems |= {n: also(text, problems.get(n)) for n, text in route.errors.items()}
    if route.parameters:
        problems.setdefault(404, SHARED[404])
    if route.scope is Scope.NODE:
        problems.setdefault(409, "The object's state does not allow it")
    elif "project_id" in route.path_names:
        problems.setdefault(409, "The project is damaged")
    if route.plugin:
        problems.setdefault(503, SHARED[503])
    if route.body_types:
        problems.setdefault(415, "The body is of a media type that is not taken")
    if route.answer_types:
        problems.setdefault(406, "There is no answer of a media type that Accept asks for")
    if route.websocket or route.upgrade is not None:
        problems.setdefault(426, "The request does not ask for a websocket as it should")
    return problems


def answer(status: int, meaning: str, content: Mapping[str, Any] = NOTHING) -> dict[str, Any]:
    """One answer of an operation.

    :param content: schemas of its body by media types; without any, it has no body.
    """
    described: dict[str, Any] = {"description": meaning}
    if status in HEADERS:
        described["headers"] = {
            name: {"description": text, "schema": {"type": "string"}}
            for name, text in HEADERS[status].items()
        }
    if content:
        described["content"] = {
            media: {"schema": schema} if schema else {} for media, schema in content.items()
        }
    return described


def also(meaning: str, other: str | None) -> str:
    """The meaning of an error that may have another reason as well."""
    return f"{meaning}. Or: {other}" if other else meaning


def describe_error(status: int, meaning: str, shape: ErrorShape | None = None) -> dict[str, Any]:
    """The shape that all errors with a status have; an answer that is not an error has no body."""
    if status < 400:
        return answer(status, meaning)
    usual = InvalidRequestSchema if status == 400 else ErrorSchema
    schema = usual if shape is None else shape.schema or ANY_OBJECT
    return answer(status, meaning, {JSON: schema})


def problem(status: int, meaning: str, shape: ErrorShape | None) -> dict[str, Any]:
    """An error of an operation."""
    if shape is None and SHARED.get(status) == meaning:
        return {"$ref": f"#/components/responses/Error{status}"}
    return describe_error(status, meaning, shape)
