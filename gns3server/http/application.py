"""The aiohttp application: the routes, and listening."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager

from aiohttp import web

from gns3server.http.edge import make_endpoint, make_middleware
from gns3server.http.handlers import projects, server
from gns3server.http.parsing import BODY_LIMIT
from gns3server.http.routing import Lab, Route
from gns3server.http.security import Gatekeeper

CORE_ROUTES: tuple[Route, ...] = (*server.ROUTES, *projects.ROUTES)

SHUTDOWN_SECONDS = 5.0
"""How long open connections may take to end when the server stops."""


def make_application(
    lab: Lab,
    routes: Iterable[Route],
    gatekeeper: Gatekeeper,
    failed_plugins: Callable[[], Mapping[str, str]],
) -> web.Application:
    """An application that serves exactly ``routes``."""
    application = web.Application(
        middlewares=[make_middleware(gatekeeper, failed_plugins)], client_max_size=BODY_LIMIT
    )
    for route in routes:
        lab.routes.append(route)
        application.router.add_route(route.method, route.path, make_endpoint(lab, route))
    return application


@asynccontextmanager
async def listening(
    application: web.Application, host: str, port: int, tls: ssl.SSLContext | None = None
) -> AsyncIterator[tuple[str, int]]:
    """Listen while the context lasts; yields the address that was bound.

    :raises OSError: the address cannot be bound.
    """
    runner = web.AppRunner(
        application, access_log=None, handle_signals=False, shutdown_timeout=SHUTDOWN_SECONDS
    )
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port, ssl_context=tls, backlog=1024)
        await site.start()
        address = runner.addresses[0]
        yield address[0], address[1]
    finally:
        await runner.cleanup()
