"""What every request passes through: caller, target, locks, the handler, the answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, cast

from aiohttp import web

from gns3server.errors import (
    Exhausted,
    InvalidRequest,
    LabError,
    NotFound,
    PluginFault,
    RequestTimeout,
    Unauthorized,
    advice,
)
from gns3server.http.access import TICKET, Authenticator
from gns3server.http.bodies import ask_for_body, check_expectation, waits_to_be_asked
from gns3server.http.connections import Connection
from gns3server.http.encoding import encode
from gns3server.http.endless import EndlessStreams
from gns3server.http.error_answers import ErrorAnswers, RouterError, out_of_service
from gns3server.http.lists import LongList, encoded
from gns3server.http.media_types import answer_type, body_type
from gns3server.http.parsing import SchemaOf, make_loader
from gns3server.http.path_resource import Serve
from gns3server.http.queries import read_integer, read_query
from gns3server.http.queueing import find_node, hold_all, read_in_line
from gns3server.http.request_log import FACTS, RequestFacts, log_outcome, request_ids
from gns3server.http.routing import JSON, Call, FailedPlugin, Handler, OneOf, Route, Scope
from gns3server.http.security import Gatekeeper
from gns3server.http.sending import has_gone, send_pieces
from gns3server.http.upgrades import Upgrades, asks_for_websocket
from gns3server.nodes import lifecycle
from gns3server.server import Server

PREFLIGHT = {
    "Access-Control-Allow-Methods": "GET, HEAD, POST, PUT, DELETE",
    "Access-Control-Allow-Headers": "Authorization, Content-Type",
    "Access-Control-Max-Age": "600",
}
"""What a web page from an allowed origin may send (fetch standard, CORS preflight)."""


def respond(status: int, value: Any) -> web.Response:
    """An answer with a JSON body, or an empty one for ``None``."""
    if value is None:
        return web.Response(status=status)
    return web.Response(body=encode(value), status=status, headers={"Content-Type": JSON})


def make_middleware(
    gatekeeper: Gatekeeper,
    authenticator: Authenticator,
    routes: Mapping[web.AbstractRoute, Route],
    failed_plugins: Mapping[str, FailedPlugin],
    answers: ErrorAnswers,
    *,
    culprit: Callable[[Exception], str | None],
) -> Any:
    """The middleware that checks the caller, names the request, maps errors and logs.

    :param routes: our routes by those that aiohttp resolves requests to.
    :param answers: makes the answers of errors.
    :param culprit: tells the plugin that an error comes from, if it comes from one.
    """
    ids = request_ids()

    def refuse(request: web.Request, error: LabError) -> web.Response:
        reason, bug = error.log or error.message, None
        if isinstance(error, PluginFault):
            bug = error.__cause__ if isinstance(error.__cause__, Exception) else None
            error = PluginFault(
                f"{reason} It is noted in the server's log as {request[FACTS].id}: tell the "
                "plugin's authors."
            )
        response = answers.respond(request, error)
        log_outcome(request, response, reason, bug=bug)
        return response

    @web.middleware
    async def edge(request: web.Request, handler: Serve) -> web.StreamResponse:
        facts = RequestFacts(next(ids), routes.get(request.match_info.route))
        request[FACTS] = facts
        try:
            connection = cast("Connection", request.protocol)
            connection.begin(request)
            check_method(request)
            gatekeeper.check(request.scheme, header(request, "Host"), header(request, "Origin"))
            if not request.raw_path.startswith(("/", "*")):
                # The target names the server as well, and then Host is ignored (RFC 9112).
                gatekeeper.check_host(request.host)
            if gatekeeper.is_preflight(request.method, request.headers):
                response: web.StreamResponse = web.Response(status=204, headers=PREFLIGHT)
            else:
                # Before anything else is told, even that there is no such path.
                facts.user = await authenticate(authenticator, request)
                connection.note_authentication()
                check_expectation(request)
                response = await handler(request)
        except Exception as error:
            known = _known_error(request, error, failed_plugins)
            if known is None and (plugin := culprit(error)) is not None:
                known = PluginFault(f"The plugin {plugin!r} failed to carry out this request.")
                known.__cause__ = error
            if known is not None:
                return refuse(request, known)
            response = answers.respond(request, _bug(request))
            log_outcome(request, response, "this is a bug of the server", bug=error)
            return response
        log_outcome(request, response)
        return response

    return edge


def header(request: web.Request, name: str) -> str | None:
    """The value of a header. Several are joined into one that means nothing, so no check passes."""
    values = request.headers.getall(name, None)
    return None if values is None else ", ".join(values)


def check_method(request: web.Request) -> None:
    """Refuse the method of proxies: what comes after it would not be HTTP.

    :raises InvalidRequest: it is that.
    """
    if request.method == "CONNECT":
        raise InvalidRequest("This server is no proxy, so CONNECT is not possible.", request={})


async def authenticate(authenticator: Authenticator, request: web.Request) -> str:
    """Check that the caller of a request may call; returns the user's name.

    Browsers have no way to send a password with a request for a websocket: there, and only
    there, a ticket will do.

    :raises Unauthorized: the caller may not.
    """
    route = request[FACTS].route
    if route is not None and takes_ticket(route, request) and TICKET in request.query:
        return authenticator.redeem(request.query[TICKET])
    credentials, guesses = header(request, "Authorization"), authenticator.guesses
    if credentials is None:
        return authenticator.check(None)
    if not cast("Connection", request.protocol).authenticated:
        await guesses.before(request.remote)
    try:
        return authenticator.check(credentials)
    except Unauthorized:
        await guesses.wrong(request.remote)
        raise


def takes_ticket(route: Route, request: web.Request) -> bool:
    """Whether a request is for a websocket, and so may hold a ticket."""
    return route.websocket or (route.upgrade is not None and asks_for_websocket(request))


def _known_error(
    request: web.Request, error: Exception, failed: Mapping[str, FailedPlugin]
) -> LabError | None:
    """The error to tell the client; ``None`` if it is a bug."""
    if isinstance(error, LabError):
        return error
    if isinstance(error, web.HTTPException):
        return _router_error(request, error, failed)
    if isinstance(error, ConnectionError) and has_gone(request):
        return RequestTimeout(f"The client went away: {error}.")
    if isinstance(error, OSError) and (help_text := advice(error)):
        what = f"{request.method} {request.rel_url.raw_path}"
        return Exhausted(f"{what} could not be done: {help_text}.")
    return None


def _router_error(
    request: web.Request, error: web.HTTPException, failed: Mapping[str, FailedPlugin]
) -> LabError:
    if error.status == 404:
        for plugin in failed.values():
            if plugin.would_answer(request.path):
                return out_of_service(plugin)
    return RouterError(error, request.path, request.method)


def _bug(request: web.Request) -> LabError:
    return LabError(
        "The server failed to carry out this request; it is noted in its log as "
        f"{request[FACTS].id}. Please report it with that part of the log."
    )


class Endpoint:
    """Serves the requests of one route.

    :param failed_plugins: live: the plugins whose routes answer 503 meanwhile, and why.
    :param streams: the registry that endless streams join.
    :param record: notes every accepted request, if the settings want that.
    :param schema_of: the instance of a schema, one for all routes: each takes a while to make, and
        so it is asked for when a request needs it.
    """

    def __init__(
        self,
        server: Server,
        route: Route,
        failed_plugins: Mapping[str, FailedPlugin],
        *,
        streams: EndlessStreams,
        record: Callable[[web.Request], None] | None,
        schema_of: SchemaOf,
    ) -> None:
        self._server = server
        self._route = route
        self._failed_plugins = failed_plugins
        self._streams = streams
        self._record = record
        self._integers, self._query = route.integers, route.parameters_of_query
        self._load = make_loader(server, route, schema_of)
        self._dump = make_dumper(route, schema_of)
        self._handler = Upgrades(route.handler).serve if route.websocket else route.handler
        self._upgrade = route.upgrade and Upgrades(route.upgrade, heeds_ending=True).serve
        # What is the same for every request is not worked out for each.
        self._negotiates = route.raw or bool(route.answer_types)
        self._endless = route.is_endless
        # A raw body comes from a client that is still there: without it, or once the server
        # stops, there is nothing to finish.
        self._finishes = route.changes and not route.raw

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Check and read a request, carry it out when its turn comes, and answer."""
        route = self._route
        if self._failed_plugins and route.plugin in self._failed_plugins:
            raise out_of_service(self._failed_plugins[route.plugin])
        call = self._call(request)
        # Nothing has been awaited so far: requests take their places in the order of their heads.
        await read_in_line(call, self._read)
        if self._endless:
            result = await self._stream(call)
        elif self._finishes:
            # In a task of its own, which a client that hangs up does not end.
            result = await asyncio.shield(self._server.own(_in_turn(call, self._handler)))
        else:
            result = await _in_turn(call, self._handler)
        if route.stream or route.websocket:
            response: web.StreamResponse = result
            return response
        if isinstance(result, LongList):
            return await send_pieces(call, JSON, encoded(result, self._dump))
        return respond(route.status, self._dump(result))

    def _call(self, request: web.Request) -> Call:
        """A request as handlers get it, without its body.

        :raises UnsupportedMediaType: the route does not take a body of that type.
        :raises NotAcceptable: it can answer with no type that the client accepts.
        """
        route, integers = self._route, self._integers
        path = {
            name: read_integer(value) if name in integers else value
            for name, value in request.match_info.items()
        }
        call = Call(
            self._server, route, request, path, body_type=JSON, answer_type=route.answer_type
        )
        if self._negotiates:
            call.body_type = body_type(route, request)
            call.answer_type = answer_type(route, request)
        return call

    async def _read(self, call: Call) -> None:
        """Read the body and the query."""
        if waits_to_be_asked(call.request):
            await ask_for_body(call.request)
        call.body = await self._load(call.request)
        if self._query:
            call.query = read_query(self._query, call.request)
        if self._record is not None:
            self._record(call.request)

    async def _stream(self, call: Call) -> web.StreamResponse:
        """Serve an endless stream, or a websocket where the client asks for one."""
        handler = self._handler
        if self._upgrade is not None and asks_for_websocket(call.request):
            handler = self._upgrade
        with _joined(self._streams, call):
            response: web.StreamResponse = await _in_turn(call, handler)
            return response


@contextmanager
def _joined(streams: EndlessStreams, call: Call) -> Iterator[None]:
    """Be one of the endless streams while the context lasts.

    :raises Conflict: there are too many.
    :raises NotFound: the project has gone meanwhile.
    """
    limit = call.server.settings.server.max_listeners
    with streams.joined(call.request, call.path.get("project_id"), limit) as ending:
        if call.found_project is not None and call.found_project.closed:
            raise call.found_project.gone()
        call.found_ending = ending
        yield


async def _in_turn(call: Call, handler: Handler) -> Any:
    route, entry = call.route, call.entry
    if entry is None:
        if route.closed_too and call.found_project is None and not route.unknown_too:
            await _check_known(call)
        if route.scope is Scope.FIND_NODE:
            call.project.check_open()
            call.found_node = find_node(call)
        return await handler(call)
    if route.scope is Scope.WHOLE_PROJECT:
        try:
            return await handler(call)
        finally:
            entry.leave()
    async with entry:
        await hold_all(call)
        call.project.check_open()
        if route.scope is Scope.NODE:
            call.found_node = find_node(call)
            await lifecycle.settle(call.node)
        return await handler(call)


async def _check_known(call: Call) -> None:
    """Check that the project exists that a route for closed projects names.

    :raises NotFound: there is no project with that id.
    """
    if not await call.server.projects.is_known(call.project_id):
        raise NotFound(
            f"This server has no project {call.project_id}, open or closed: create it first."
        )


def make_dumper(route: Route, schema_of: SchemaOf) -> Callable[[Any], Any]:
    """The function that puts a handler's result into the words of the wire.

    :param schema_of: the instance of a schema; asked for when a request needs it.
    """
    if route.answer is None:
        return lambda _: None
    if isinstance(route.answer, OneOf):
        return lambda result: result
    kind, many = route.answer, route.many
    return lambda result: schema_of(kind).dump(result, many=many)
