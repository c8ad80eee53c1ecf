"""Handlers of plugins' routes, which may hang, or raise anything."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import partial
from typing import Any

from gns3server.calls import (
    CallFailed,
    LimitedCalls,
    TookTooLong,
    guarded,
    on_behalf_of,
    tamed,
)
from gns3server.errors import LabError, PluginFault, Unavailable
from gns3server.http.families import ErrorShape, FailedRequest
from gns3server.http.routing import Call, Route
from gns3server.nodes.holding import holding
from gns3server.plugin_host.route_checks import name_of

MISTAKES = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    NameError,
    RuntimeError,
    TypeError,
    ValueError,
)
"""Errors that a handler raises only by mistake. Any other may be meant for its caller."""

HANDLER_SECONDS = 60.0
"""How long the handler of a plugin's route may take, if the route sets no limit."""


class Handlers:
    """Calls handlers so that none can hold up the server, or end it."""

    def __init__(self) -> None:
        self._limited = LimitedCalls(math.inf)

    def hurry(self) -> None:
        """Shorten the limit of every handler: the server is stopping."""
        self._limited.hurry()

    def wrap(self, plugin: str, route: Route) -> Route:
        """The route to install in place of one of a plugin's own."""
        endless = route.stream or route.raw or route.websocket
        limit = None if endless else route.limit or HANDLER_SECONDS
        own = replace(route, plugin=plugin, limit=limit)
        handler, upgrade = partial(self._handle, own), None
        if route.upgrade is not None:
            upgrade = partial(self._handle, replace(own, handler=route.upgrade, websocket=True))
        return replace(own, handler=handler, upgrade=upgrade)

    def wrap_shape(self, plugin: str, shape: ErrorShape) -> ErrorShape:
        """The shape of errors to install in place of one of a plugin's own."""
        return replace(shape, plugin=plugin, render=partial(_render, shape))

    async def _handle(self, route: Route, call: Call) -> Any:
        name = name_of(route.handler)
        try:
            with on_behalf_of(route.plugin), _holding(call):
                if route.limit is None:
                    return await guarded(partial(route.handler, call))
                return await self._limited.run(partial(route.handler, call), route.limit)
        except TookTooLong as error:
            raise Unavailable(
                f"The plugin {route.plugin!r} was given up: its handler {name} did not answer "
                f"within {route.limit:g} seconds. Try again; if that does not help, tell its "
                "authors."
            ) from error
        except CallFailed as error:
            raise LabError(
                f"The plugin {route.plugin!r} failed: its handler {name} tried to end the server, "
                "or its own request. Nothing else was harmed; tell its authors.",
                log=f"the plugin {route.plugin!r} failed in {name}: {error}",
            ) from error
        except MISTAKES as error:
            if route.websocket:
                # The websocket is closed with a code that stands for a failure.
                raise
            what = f"The plugin {route.plugin!r} failed in its handler {name}."
            raise PluginFault(what) from error


def _holding(call: Call) -> AbstractContextManager[None]:
    """Note what the handler's request holds, if anything."""
    if call.entry is None:
        return nullcontext()
    return holding(call.project.id, *call.entry.keys)


def _render(shape: ErrorShape, error: LabError, request: FailedRequest) -> Mapping[str, Any]:
    """Call a plugin's function so that it cannot end the server.

    :raises CallFailed: it tried to.
    """
    try:
        return shape.render(error, request)
    except Exception:
        raise
    except BaseException as mistake:
        raise tamed(mistake) from mistake
