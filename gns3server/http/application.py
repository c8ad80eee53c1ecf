"""The aiohttp application: the routes, and listening."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import cast

from aiohttp import web
from aiohttp.web_urldispatcher import MatchInfoError

from gns3server.http.access import Authenticator
from gns3server.http.connections import connection_factory
from gns3server.http.edge import header, make_endpoint, make_middleware
from gns3server.http.handlers import browser, files, pages, projects, server
from gns3server.http.listener import listen
from gns3server.http.reading import BODY_LIMIT, expect_nothing_yet
from gns3server.http.request_log import name_answer
from gns3server.http.routing import FailedPlugin, Route, Server
from gns3server.http.security import Gatekeeper
from gns3server.http.sending import FOLLOWERS, Followers

CORE_ROUTES: tuple[Route, ...] = (
    *pages.ROUTES,
    *browser.ROUTES,
    *server.ROUTES,
    *projects.ROUTES,
    *files.ROUTES,
)

SHUTDOWN_SECONDS = 1.5
"""How long requests may take to end when the server stops, and then once more: until they
have ended after they were told to."""


class NoRoute(MatchInfoError):
    """What aiohttp does with a request that no route is for."""

    @property
    def expect_handler(self) -> Callable[[web.Request], Awaitable[None]]:
        """Leave ``Expect`` to the middleware, as on all routes."""
        return expect_nothing_yet


class Elsewhere(web.PlainResource):
    """The resource of all requests that no route of a router is for; to be registered last.

    Without it aiohttp itself would answer ``Expect`` on them, before anything is checked.
    """

    def __init__(self, router: web.UrlDispatcher) -> None:
        super().__init__("/")
        self._others = list(router.resources())

    async def resolve(self, request: web.Request) -> tuple[NoRoute, set[str]]:
        """404, or 405 if the path has other methods."""
        allowed: set[str] = set()
        for resource in self._others:
            allowed |= (await resource.resolve(request))[1]
        if allowed:
            return NoRoute(web.HTTPMethodNotAllowed(request.method, allowed)), allowed
        return NoRoute(web.HTTPNotFound()), allowed


def make_application(
    server: Server,
    routes: Iterable[Route],
    gatekeeper: Gatekeeper,
    authenticator: Authenticator,
    failed_plugins: Mapping[str, FailedPlugin],
) -> web.Application:
    """An application that serves exactly ``routes``.

    :param failed_plugins: live: the plugins whose routes answer 503 meanwhile, and why.
    """
    application = web.Application(
        middlewares=[make_middleware(gatekeeper, authenticator, failed_plugins)],
        client_max_size=BODY_LIMIT,
    )
    application[FOLLOWERS] = Followers()
    application.on_shutdown.append(application[FOLLOWERS].end)
    # One resource a path: of two, the first would refuse the methods of the second.
    resources: dict[str, web.Resource] = {}
    for route in routes:
        server.routes.append(route)
        endpoint = make_endpoint(server, route, failed_plugins)
        if route.path not in resources:
            resources[route.path] = application.router.add_resource(route.path)
        for method in methods(route):
            resources[route.path].add_route(method, endpoint, expect_handler=expect_nothing_yet)
    for resource in application.router.resources():
        if isinstance(resource, web.PlainResource):
            resource.add_route("*", _refuse_method, expect_handler=expect_nothing_yet)
    application.router.register_resource(Elsewhere(application.router))

    async def let_origins_read(request: web.Request, response: web.StreamResponse) -> None:
        origin = gatekeeper.allowed_origin(header(request, "Origin"))
        if origin is not None:
            response.headers["Access-Control-Allow-Origin"] = origin
            response.headers["Vary"] = "Origin"

    application.on_response_prepare.extend((name_answer, let_origins_read))
    return application


def methods(route: Route) -> tuple[str, ...]:
    """The methods that a route answers to: HEAD wherever GET is, unless its answer never ends."""
    return ("GET", "HEAD") if route.method == "GET" and not route.endless else (route.method,)


async def _refuse_method(request: web.Request) -> web.StreamResponse:
    """Answer 405 on a path without parameters: no pattern that it fits as well is asked."""
    resource = request.match_info.route.resource
    offered = {route.method for route in resource or ()} - {"*"}
    raise web.HTTPMethodNotAllowed(request.method, offered)


def check_installable(route: Route) -> None:
    """Refuse a route whose method or path aiohttp does not take.

    :raises ValueError: says why.
    """
    web.UrlDispatcher().add_route(route.method, route.path, _nowhere)


async def _nowhere(_request: web.Request) -> web.StreamResponse:
    raise web.HTTPNotFound


@asynccontextmanager
async def listening(
    application: web.Application, host: str, port: int, tls: ssl.SSLContext | None = None
) -> AsyncIterator[tuple[str, int]]:
    """Listen while the context lasts; yields the address that was bound.

    :raises OSError: the address cannot be bound; the text says which.
    """
    runner = web.AppRunner(
        application, access_log=None, handle_signals=False, shutdown_timeout=SHUTDOWN_SECONDS
    )
    await runner.setup()
    try:
        make = connection_factory(cast(web.Server, runner.server))
        listeners = await listen(make, host, port, tls)
        try:
            yield listeners[0].address
        finally:
            for listener in listeners:
                await listener.close()
    finally:
        await runner.cleanup()
