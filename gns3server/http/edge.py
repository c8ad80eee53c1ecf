"""The way of every request: who calls, what is wanted, the locks, the handler, the answer."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, cast

from aiohttp import web

from gns3server.errors import (
    Exhausted,
    InvalidRequest,
    LabError,
    NotFound,
    PluginFault,
    RequestTimeout,
    Unavailable,
    advice,
)
from gns3server.http.access import Authenticator
from gns3server.http.bodies import ask_for_body, check_expectation
from gns3server.http.connections import Connection
from gns3server.http.encoding import encode
from gns3server.http.parsing import PARSED, make_loader
from gns3server.http.queueing import queued, unknown_id
from gns3server.http.request_log import ID, ROUTE, USER, begin, log_outcome, request_ids
from gns3server.http.routing import JSON, Call, FailedPlugin, OneOf, Route, Scope
from gns3server.http.security import Gatekeeper
from gns3server.nodes import lifecycle
from gns3server.nodes.holding import holding
from gns3server.server import Server

WHOLE_NUMBER = re.compile("[0-9]+")

PREFLIGHT = {
    "Access-Control-Allow-Methods": "GET, HEAD, POST, PUT, DELETE",
    "Access-Control-Allow-Headers": "Authorization, Content-Type",
    "Access-Control-Max-Age": "600",
}
"""What a web page of an allowed origin may send (fetch standard, CORS preflight)."""

Endpoint = Callable[[web.Request], Awaitable[web.StreamResponse]]


def respond(status: int, value: Any) -> web.Response:
    """An answer with a JSON body, or an empty one for ``None``."""
    if value is None:
        return web.Response(status=status)
    return web.Response(body=encode(value), status=status, headers={"Content-Type": JSON})


def respond_error(request: web.Request, error: LabError) -> web.Response:
    """The one shape of every error (HTTP-03, HTTP-04)."""
    route = request.get(ROUTE)
    body: dict[str, Any] = {"message": error.message, "status": error.status}
    if isinstance(error, InvalidRequest):
        body["path"] = route.path if route else request.path
        body["request"] = request.get(PARSED) if error.request is None else error.request
    response = respond(error.status, body)
    response.headers.update(error.headers)
    return response


def make_middleware(
    gatekeeper: Gatekeeper,
    authenticator: Authenticator,
    routes: Mapping[web.AbstractRoute, Route],
    failed_plugins: Mapping[str, FailedPlugin],
) -> Any:
    """The middleware that checks the caller, names the request, maps errors and logs.

    :param routes: our routes by those that aiohttp resolves requests to.
    """
    ids = request_ids()

    @web.middleware
    async def edge(request: web.Request, handler: Endpoint) -> web.StreamResponse:
        begin(request, next(ids), routes.get(request.match_info.route))
        try:
            cast("Connection", request.protocol).begin(request)
            gatekeeper.check(request.scheme, header(request, "Host"), header(request, "Origin"))
            if not request.raw_path.startswith(("/", "*")):
                # The target names the server as well, and then nobody looks at Host (RFC 9112).
                gatekeeper.check_host(request.host)
            if gatekeeper.is_preflight(request.method, request.headers):
                response: web.StreamResponse = web.Response(status=204, headers=PREFLIGHT)
            else:
                if request.match_info.http_exception is None:
                    request[USER] = authenticator.check(header(request, "Authorization"))
                    check_expectation(request)
                response = await handler(request)
        except LabError as error:
            return _refuse(request, error)
        except web.HTTPException as error:
            return _router_error(request, error, failed_plugins)
        except Exception as error:
            if isinstance(error, ConnectionError) and has_gone(request):
                return _refuse(request, RequestTimeout(f"The client went away: {error}."))
            if isinstance(error, OSError) and (help_text := advice(error)):
                what = f"{request.method} {request.rel_url.raw_path}"
                return _refuse(request, Exhausted(f"{what} could not be done: {help_text}."))
            return _bug(request, error)
        log_outcome(request, response)
        return response

    return edge


def header(request: web.Request, name: str) -> str | None:
    """The value of a header. Of several all, as one that means nothing: no check lets it pass."""
    values = request.headers.getall(name, None)
    return None if values is None else ", ".join(values)


def has_gone(request: web.Request) -> bool:
    """Whether nobody is there any more to read the answer."""
    return request.transport is None or request.transport.is_closing()


def _refuse(request: web.Request, error: LabError) -> web.Response:
    reason, bug = error.log or error.message, None
    if isinstance(error, PluginFault):
        bug = error.__cause__ if isinstance(error.__cause__, Exception) else None
        error = PluginFault(
            f"{reason} It is noted in the server's log as {request[ID]}: tell whoever has made "
            "the plugin."
        )
    response = respond_error(request, error)
    log_outcome(request, response, reason, bug=bug)
    return response


def _router_error(
    request: web.Request, error: web.HTTPException, failed: Mapping[str, FailedPlugin]
) -> web.Response:
    if error.status == 404:
        for plugin in failed.values():
            if plugin.would_answer(request.path):
                return _refuse(request, out_of_service(plugin))
    allowed = error.headers.get("Allow", "")
    text = {
        404: f"There is no {request.path} here: see /v1/openapi.json for what there is.",
        405: f"{request.method} is not possible on {request.path}: it takes {allowed}.",
    }.get(error.status, error.reason)
    response = respond(error.status, {"message": text, "status": error.status})
    if allowed:
        response.headers["Allow"] = allowed
    log_outcome(request, response, error.reason)
    return response


def out_of_service(plugin: FailedPlugin) -> Unavailable:
    """What a client is told that asks for something of a failed plugin."""
    return Unavailable(
        f"The plugin {plugin.name!r} could not be used: {plugin.reason.rstrip('.')}. Mend it, then "
        "start the server again; /v1/plugins tells more."
    )


def _bug(request: web.Request, bug: Exception) -> web.Response:
    error = LabError(
        f"The server failed to carry out this request; it is noted in its log as {request[ID]}. "
        "Please report it with that part of the log."
    )
    response = respond_error(request, error)
    log_outcome(request, response, "this is a bug of the server or a plugin", bug=bug)
    return response


def make_endpoint(
    server: Server,
    route: Route,
    failed_plugins: Mapping[str, FailedPlugin],
    record: Callable[[web.Request], None] | None,
) -> Callable[[web.Request], Coroutine[Any, Any, Any]]:
    """The aiohttp handler of a route.

    :param record: notes every accepted request, if the settings want that.
    """
    integers = route.integers
    load, dump = make_loader(server, route), make_dumper(route)

    async def endpoint(request: web.Request) -> web.StreamResponse:
        if failed_plugins and route.plugin in failed_plugins:
            raise out_of_service(failed_plugins[route.plugin])
        path: dict[str, Any] = {
            name: read_integer(value) if name in integers else value
            for name, value in request.match_info.items()
        }
        call = Call(server, route, request, path)
        # Nothing was awaited so far: requests have their places in the order of their heads.
        with queued(call):
            await ask_for_body(request)
            call.body = await load(request)
            if route.query:
                call.query = read_query(route, request)
            if record is not None:
                record(request)
        result = await _carry_out(call)
        if route.stream:
            response: web.StreamResponse = result
            return response
        return respond(route.status, dump(result))

    return endpoint


def read_integer(digits: str) -> int:
    """The number that digits mean, cut to one that is still greater than anything needs."""
    return int(digits.lstrip("0")[:20] or "0")


def read_query(route: Route, request: web.Request) -> dict[str, int]:
    """What the query holds of the numbers that the route reads.

    :raises InvalidRequest: one of them is none.
    """
    given = {name: request.query[name] for name in route.query if name in request.query}
    for name, text in given.items():
        if not WHOLE_NUMBER.fullmatch(text):
            raise InvalidRequest(f"Invalid request: {name} must be a whole number, not {text!r}.")
    return {name: read_integer(text) for name, text in given.items()}


async def _carry_out(call: Call) -> Any:
    """Run the handler when its turn comes; a change in a task of its own."""
    work = _in_turn(call)
    # A raw body comes from a client that is still there: without it, or once the server
    # stops, there is nothing to finish.
    if not call.route.changes or call.route.raw:
        return await work
    return await asyncio.shield(call.server.own(work))


async def _in_turn(call: Call) -> Any:
    route, entry = call.route, call.entry
    if entry is None:
        return await route.handler(call)
    if route.scope is Scope.WHOLE_PROJECT:
        try:
            return await route.handler(call)
        finally:
            entry.leave()
    async with entry:
        call.project.check_open()
        if route.scope is Scope.NODE:
            node_id = call.path["vm_id"]
            try:
                call.found_node = call.project.members.get(route.node_type, node_id)
            except NotFound as error:
                raise unknown_id("VM", node_id, error) from None
            await lifecycle.settle(call.node)
        with holding(call.project.id, *entry.keys):
            return await route.handler(call)


def make_dumper(route: Route) -> Callable[[Any], Any]:
    """What puts a handler's result into the words of the wire."""
    if route.answer is None:
        return lambda _: None
    if isinstance(route.answer, OneOf):
        return lambda result: result
    schema = route.answer()
    return lambda result: schema.dump(result, many=route.many)
