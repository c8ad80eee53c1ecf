"""A family of routes with errors of its own shape, and with all that a route can ask for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiohttp import web
from marshmallow import Schema, fields

from gns3server.plugin import (
    Call,
    Conflict,
    ErrorShape,
    FailedRequest,
    LabError,
    QueryParameter,
    Route,
    Scope,
    hookimpl,
    raw_body,
)


class ProblemSchema(Schema):
    """An error of this family."""

    problem = fields.String(required=True)
    code = fields.Integer(required=True)
    where = fields.String(required=True)
    sent = fields.Raw(required=True, allow_none=True)


class NameSchema(Schema):
    """A name."""

    name = fields.String(required=True)


class QuerySchema(Schema):
    """What the query held."""

    word = fields.String(required=True)
    count = fields.Integer()


class StateSchema(Schema):
    """Whether a project is open."""

    project_id = fields.String(required=True)
    open = fields.Boolean(required=True)


def render(error: LabError, request: FailedRequest) -> Mapping[str, Any]:
    """An error as this family shows it."""
    where = f"{request.method} {request.route or request.path}"
    return {
        "problem": error.message,
        "code": error.status,
        "where": where,
        "sent": request.body,
    }


async def refuse(call: Call) -> None:
    """Fail in the way that the path names."""
    if call.path["how"] == "bug":
        raise RuntimeError("toy fault")
    raise Conflict("It cannot be done now.")


async def rename(call: Call) -> Mapping[str, Any]:
    """Take a name; it is given back."""
    return call.body


async def search(call: Call) -> Mapping[str, Any]:
    """Show what the query holds."""
    return call.query


async def show_state(call: Call) -> Mapping[str, Any]:
    """Whether a project is open."""
    return {"project_id": call.project_id, "open": call.found_project is not None}


async def show_type(call: Call) -> Mapping[str, Any]:
    """The type of a node."""
    return {"name": call.node.type.name}


async def draw(call: Call) -> web.StreamResponse:
    """A picture, of the type that is asked for."""
    return web.Response(text="picture", content_type=call.answer_type)


async def take_picture(call: Call) -> Mapping[str, Any]:
    """A picture, whose type is told."""
    size = sum([len(piece) async for piece in raw_body(call)])
    return {"name": f"{call.body_type} {size}"}


async def count(call: Call) -> web.StreamResponse:
    """A stream that has no end of its own."""
    response = web.StreamResponse(headers={"Content-Type": "text/plain"})
    await response.prepare(call.request)
    await response.write(b"begun ")
    await call.ending.wait()
    await response.write(b"ended")
    await response.write_eof()
    return response


def route(method: str, path: str, handler: Any, **values: Any) -> Route:
    """One of its routes."""
    values = {"summary": "A route", "tag": "family", **values}
    return Route(method=method, path=f"/v9/{path}", handler=handler, **values)


PROJECT = "projects/{project_id}"
NODE = PROJECT + "/nodes/{node_id}"


@hookimpl
def gns3_routes() -> list[Route | ErrorShape]:
    """The routes and the shape."""
    any_node: dict[str, Any] = {"node_type": None, "node_parameter": "node_id"}
    pictures = ("image/svg+xml", "image/png")
    return [
        ErrorShape(prefix="/v9", render=render, schema=ProblemSchema),
        route("POST", "refusals/{how}", refuse, errors={409: "It cannot be done now"}),
        route("PUT", "name", rename, body=NameSchema, answer=NameSchema),
        route(
            "GET",
            "search",
            search,
            query={
                "word": QueryParameter("What to look for", kind="text", default="any"),
                "count": "How many",
            },
            answer=QuerySchema,
            changes=False,
        ),
        route("GET", PROJECT, show_state, closed_too=True, answer=StateSchema, changes=False),
        route("GET", NODE, show_type, scope=Scope.FIND_NODE, **any_node, answer=NameSchema),
        route("POST", NODE, show_type, scope=Scope.NODE, **any_node, answer=NameSchema),
        route("GET", "picture", draw, stream=True, answer_types=pictures, changes=False),
        route("POST", "picture", take_picture, raw=True, body_types=pictures, answer=NameSchema),
        route(
            "GET",
            f"{PROJECT}/count",
            count,
            stream=True,
            endless=True,
            answer_type="text/plain",
            changes=False,
        ),
    ]
