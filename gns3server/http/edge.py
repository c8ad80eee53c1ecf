"""The way of every request: who calls, what is wanted, the locks, the handler, the answer."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any

from aiohttp import web

from gns3server import __version__
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
from gns3server.http.encoding import encode
from gns3server.http.parsing import make_loader, unknown_id
from gns3server.http.reading import PARSED, answer_expectation
from gns3server.http.request_log import ID, ROUTE, USER, begin, log_outcome, request_ids
from gns3server.http.routing import JSON, Call, OneOf, Route, Scope, Server
from gns3server.http.security import Gatekeeper
from gns3server.locks import LockRequest
from gns3server.nodes import lifecycle
from gns3server.projects.project import Project

SERVER = f"Python/{sys.version_info.major}.{sys.version_info.minor} GNS3/{__version__}"
WHOLE_NUMBER = re.compile("[0-9]+")

PREFLIGHT = {
    "Server": SERVER,
    "Access-Control-Allow-Methods": "GET, HEAD, POST, PUT, DELETE",
    "Access-Control-Allow-Headers": "Authorization, Content-Type",
    "Access-Control-Max-Age": "600",
}
"""What a web page of an allowed origin may send (fetch standard, CORS preflight)."""

Endpoint = Callable[[web.Request], Awaitable[web.StreamResponse]]


def respond(status: int, value: Any, route: Route | None = None) -> web.Response:
    """An answer with a JSON body, or an empty one for ``None``."""
    headers = {"Server": SERVER}
    if route is not None:
        headers["X-Route"] = route.path
    if value is None:
        return web.Response(status=status, headers=headers)
    headers["Content-Type"] = JSON
    return web.Response(body=encode(value), status=status, headers=headers)


def respond_error(request: web.Request, error: LabError) -> web.Response:
    """The one shape of every error (HTTP-03, HTTP-04)."""
    route = request.get(ROUTE)
    body: dict[str, Any] = {"message": error.message, "status": error.status}
    if isinstance(error, InvalidRequest):
        body["path"] = route.path if route else request.path
        body["request"] = request.get(PARSED) if error.request is None else error.request
    response = respond(error.status, body, route)
    response.headers.update(error.headers)
    return response


def make_middleware(
    gatekeeper: Gatekeeper, authenticator: Authenticator, failed_plugins: Mapping[str, str]
) -> Any:
    """The one middleware: checks the caller, names the request, maps errors, logs."""
    ids = request_ids()

    @web.middleware
    async def edge(request: web.Request, handler: Endpoint) -> web.StreamResponse:
        begin(request, next(ids))
        try:
            gatekeeper.check(request.scheme, header(request, "Host"), header(request, "Origin"))
            if not request.raw_path.startswith(("/", "*")):
                # The target names the server as well, and then nobody looks at Host (RFC 9112).
                gatekeeper.check_host(request.host)
            if gatekeeper.is_preflight(request.method, request.headers):
                response: web.StreamResponse = web.Response(status=204, headers=PREFLIGHT)
            else:
                if request.match_info.http_exception is None:
                    request[USER] = authenticator.check(header(request, "Authorization"))
                    await answer_expectation(request)
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
    request: web.Request, error: web.HTTPException, failed: Mapping[str, str]
) -> web.Response:
    plugin = failed_plugin(request.path, failed) if error.status == 404 else None
    if plugin is not None:
        return _refuse(request, out_of_service(plugin, failed))
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


def failed_plugin(path: str, failed: Mapping[str, str]) -> str | None:
    """The plugin that would answer to a path if it had not failed."""
    segments = path.split("/")
    return next(
        (
            name
            for name in failed
            if any(part == name or part.startswith(f"{name}-") for part in segments)
        ),
        None,
    )


def out_of_service(plugin: str, failed: Mapping[str, str]) -> Unavailable:
    """What a client is told that asks for something of a failed plugin."""
    return Unavailable(
        f"The plugin {plugin!r} could not be used: {failed[plugin].rstrip('.')}. Mend it, then "
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
    server: Server, route: Route, failed_plugins: Mapping[str, str]
) -> Callable[[web.Request], Coroutine[Any, Any, Any]]:
    """The aiohttp handler of a route."""
    integers = route.integers
    scoped = "project_id" in route.path_names
    load, dump = make_loader(server, route), make_dumper(route)

    async def endpoint(request: web.Request) -> web.StreamResponse:
        request[ROUTE] = route
        if failed_plugins and route.plugin in failed_plugins:
            raise out_of_service(route.plugin, failed_plugins)
        path: dict[str, Any] = {
            name: read_integer(value) if name in integers else value
            for name, value in request.match_info.items()
        }
        call = Call(server, route, request, path, await load(request))
        if route.query:
            call.query = read_query(route, request)
        if server.record is not None:
            server.record(request)
        if scoped and not (route.damaged_too and path["project_id"] in server.manager.damaged):
            call.found_project = find_project(server, path["project_id"])
        result = await _carry_out(call)
        if route.stream:
            response: web.StreamResponse = result
            return response
        return respond(route.status, dump(result), route)

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


def find_project(server: Server, project_id: str) -> Project:
    """An open project by the id in a path.

    :raises InvalidRequest: that is no id.
    :raises NotFound: nobody has that id.
    :raises Conflict: it is damaged.
    """
    try:
        return server.manager.get(project_id)
    except NotFound as error:
        raise unknown_id("project", project_id, error) from None


async def _carry_out(call: Call) -> Any:
    """Run the handler inside the locks of its scope; a change in a task of its own."""
    route = call.route
    if route.scope is Scope.SERVER:
        work = route.handler(call)
    else:
        node_id = call.path.get("vm_id") if route.scope is Scope.NODE else None
        if route.creates:
            wanted = call.body.get("id")
            node_id = wanted if isinstance(wanted, str) else None
        # The queue is joined here, before any task is made: order of arrival is order of service.
        work = _inside(call, call.project.enter(node_id))
    # A raw body comes from a client that is still there: without it, or once the server
    # stops, there is nothing to finish.
    if not route.changes or route.raw:
        return await work
    return await asyncio.shield(call.server.own(_as_coroutine(work)))


async def _as_coroutine(work: Awaitable[Any]) -> Any:
    return await work


async def _inside(call: Call, entry: LockRequest) -> Any:
    async with entry:
        call.project.check_open()
        if call.route.scope is Scope.NODE:
            node_id = call.path["vm_id"]
            try:
                call.found_node = call.project.nodes.get(call.route.node_type, node_id)
            except NotFound as error:
                raise unknown_id("VM", node_id, error) from None
            await lifecycle.settle(call.node)
        return await call.route.handler(call)


def make_dumper(route: Route) -> Callable[[Any], Any]:
    """What puts a handler's result into the words of the wire."""
    if route.answer is None:
        return lambda _: None
    if isinstance(route.answer, OneOf):
        return lambda result: result
    schema = route.answer()
    return lambda result: schema.dump(result, many=route.many)
