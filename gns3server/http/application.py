"""The aiohttp application: the routes, and listening."""

from __future__ import annotations

import ssl
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import asynccontextmanager
from functools import cache, partial
from typing import cast

from aiohttp import web, web_app
from aiohttp.hdrs import METH_ANY
from marshmallow import Schema

from gns3server.http.accepting import accepting
from gns3server.http.access import AUTHENTICATOR, Authenticator
from gns3server.http.bodies import BODY_LIMIT, expect_nothing_yet
from gns3server.http.connections import SERVER
from gns3server.http.edge import Endpoint, header, make_middleware
from gns3server.http.endless import EndlessStreams
from gns3server.http.error_answers import ErrorAnswers
from gns3server.http.families import ERROR_SHAPES, ErrorShape
from gns3server.http.handlers import (
    browser,
    consoles,
    files,
    links,
    manual,
    pages,
    projects,
    server,
    snapshots,
    tickets,
    whole_project,
)
from gns3server.http.path_resource import PathResource
from gns3server.http.request_log import FACTS
from gns3server.http.routing import ROUTE_TABLE, FailedPlugin, Route, Scope
from gns3server.http.security import Gatekeeper
from gns3server.server import Server

CORE_ROUTES: tuple[Route, ...] = (
    *pages.ROUTES,
    *browser.ROUTES,
    *manual.ROUTES,
    *server.ROUTES,
    *tickets.ROUTES,
    *projects.ROUTES,
    *whole_project.ROUTES,
    *links.ROUTES,
    *snapshots.ROUTES,
    *consoles.ROUTES,
    *files.ROUTES,
)

SHUTDOWN_SECONDS = 1.5
"""How long requests may take to end when the server stops, and as long again once they
have been told to end."""


def make_application(
    server: Server,
    routes: Iterable[Route],
    gatekeeper: Gatekeeper,
    authenticator: Authenticator,
    failed_plugins: Mapping[str, FailedPlugin],
    *,
    culprit: Callable[[Exception], str | None],
    streams: EndlessStreams,
    error_shapes: Sequence[ErrorShape] = (),
    record: Callable[[web.Request], None] | None = None,
) -> web.Application:
    """An application that serves exactly ``routes``.

    :param failed_plugins: live: the plugins whose routes answer 503 meanwhile, and why.
    :param culprit: tells the plugin that an error comes from, if it comes from one.
    :param streams: the registry that endless streams join.
    :param record: notes every accepted request, if the settings want that.
    """
    routes = tuple(routes)
    known: dict[web.AbstractRoute, Route] = {}
    answers = ErrorAnswers(error_shapes, failed_plugins, server.plugin_mistake)
    edge = make_middleware(
        gatekeeper, authenticator, known, failed_plugins, answers, culprit=culprit
    )
    application = web.Application(middlewares=[edge], client_max_size=BODY_LIMIT)
    application[ROUTE_TABLE] = routes
    application[ERROR_SHAPES] = tuple(error_shapes)
    application[AUTHENTICATOR] = authenticator
    # One resource per path: of two, the first would refuse the methods of the second.
    resources: dict[str, web.Resource | PathResource] = {}
    schema_of = cache(_instance)
    for route in sorted(routes, key=_rarity):
        endpoint = Endpoint(
            server, route, failed_plugins, streams=streams, record=record, schema_of=schema_of
        )
        if route.path not in resources:
            resources[route.path] = _add_resource(application.router, route.path)
        add_route = partial(resources[route.path].add_route, expect_handler=expect_nothing_yet)
        for method in methods(route):
            known[add_route(method, endpoint.serve)] = route
    for path in _words_among_parameters(resources):
        resources[path].add_route(METH_ANY, _refuse_method, expect_handler=expect_nothing_yet)
    application.on_response_prepare.append(make_headers(gatekeeper))
    return application


def _instance(schema: type[Schema]) -> Schema:
    return schema()


def _add_resource(router: web.UrlDispatcher, path: str) -> web.Resource | PathResource:
    if "{" not in path:
        return router.add_resource(path)
    resource = PathResource(path)
    router.register_resource(resource)
    return resource


def _rarity(route: Route) -> tuple[bool, bool]:
    """The order of routes: aiohttp tries the patterns below one beginning in turn.

    Most requests are for a node, and most of those show it.
    """
    shows_node = route.path.endswith(f"/{{{route.node_parameter}}}")
    return route.scope is not Scope.NODE, not shows_node


def make_headers(
    gatekeeper: Gatekeeper,
) -> Callable[[web.Request, web.StreamResponse], Awaitable[None]]:
    """The function that sets the headers of every answer, including streams and websockets."""

    async def set_headers(request: web.Request, response: web.StreamResponse) -> None:
        headers = response.headers
        headers["Server"] = SERVER
        if (facts := request.get(FACTS)) is not None:
            headers["X-Request-Id"] = facts.id
            if facts.route is not None:
                headers["X-Route"] = facts.route.path
        if "Origin" not in request.headers:
            return
        origin = gatekeeper.allowed_origin(header(request, "Origin"))
        if origin is not None:
            headers["Access-Control-Allow-Origin"] = origin
            headers["Vary"] = "Origin"

    return set_headers


def methods(route: Route) -> tuple[str, ...]:
    """The methods that a route answers to: HEAD goes with GET, unless the answer never ends."""
    return ("GET", "HEAD") if route.method == "GET" and not route.is_endless else (route.method,)


def _words_among_parameters(paths: Iterable[str]) -> Iterator[str]:
    """The paths that end with a word, of which another path may take any for a parameter."""
    split = {path: path.rpartition("/") for path in paths}
    general = {above for above, _, last in split.values() if last.startswith("{")}
    for path, (above, _, last) in split.items():
        if "{" not in path or (above in general and not last.startswith("{")):
            yield path


async def _refuse_method(request: web.Request) -> web.StreamResponse:
    """Answer 405 on such a path: patterns that also match it are not tried."""
    resource = request.match_info.route.resource
    offered = {route.method for route in resource or ()} - {METH_ANY}
    raise web.HTTPMethodNotAllowed(request.method, offered)


@asynccontextmanager
async def listening(
    application: web.Application, host: str, port: int, tls: ssl.SSLContext | None = None
) -> AsyncIterator[tuple[str, int]]:
    """Listen while the context lasts; yields the address that was bound.

    :raises OSError: the address cannot be bound; the text says which.
    """
    runner = web.AppRunner(application, shutdown_timeout=SHUTDOWN_SECONDS)
    await runner.setup()
    try:
        server, asks = cast("web.Server", runner.server), lambda: application[AUTHENTICATOR].asks
        async with accepting(server, host, port, tls, asks) as address:
            yield address
    finally:
        await runner.cleanup()
        _forget_handlers()


def _forget_handlers() -> None:
    """Let go of the server, which aiohttp remembers with each of its routes that was asked for.

    It would keep the servers that a test run starts one after the other.
    """
    remembered = getattr(web_app, "_cached_build_middleware", None)
    if remembered is not None:
        remembered.cache_clear()
