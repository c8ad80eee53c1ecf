"""What the server refuses of a plugin's routes, before it installs any of them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from itertools import permutations
from typing import Any

from gns3server.http.application import check_installable
from gns3server.http.routing import PARAMETER, OneOf, Route, Scope
from gns3server.plugin_host.checks import (
    Unfit,
    check_schema,
    check_text,
    is_coroutine_function,
    is_whole,
)
from gns3server.plugin_host.paths import Claim

METHODS = ("DELETE", "GET", "PATCH", "POST", "PUT")
"""Those that a route may have; HEAD and OPTIONS are the server's own business."""

SCOPE_PARAMETERS = {
    Scope.SERVER: frozenset[str](),
    Scope.PROJECT: frozenset({"project_id"}),
    Scope.WHOLE_PROJECT: frozenset({"project_id"}),
    Scope.NODE: frozenset({"project_id", "vm_id"}),
}
"""What the path of a route must name, by the route's scope."""


def check_routes(routes: Iterable[Route]) -> None:
    """Refuse routes that could not be installed or served, each by itself.

    :raises Unfit: says which, and what to change.
    """
    for route in routes:
        where = f"the route {route.method} {route.path}"
        _check_path(where, route)
        _check_handler(where, route.handler)
        _check_answers(where, route)
        for name in ("summary", "tag", "body_type", "answer_type"):
            check_text(where, name, getattr(route, name))
        if not _maps(route.query, str):
            raise Unfit(f"{where} has {route.query!r} as its query: write {{name: meaning}}")
        for shape in (route.body, route.answer):
            _check_shape(where, shape)
        _check_limit(where, route)


def _check_path(where: str, route: Route) -> None:
    if route.method not in METHODS:
        raise Unfit(f"{where}: there is no method {route.method!r}, only {', '.join(METHODS)}")
    if not (isinstance(route.path, str) and route.path.startswith("/v1/")):
        raise Unfit(f"{where} does not begin with /v1/")
    try:
        check_installable(route)
    except ValueError as error:
        raise Unfit(f"{where} cannot be installed: {error}") from error
    if set("{}") & set(PARAMETER.sub("", route.path)):
        raise Unfit(f"{where} has braces in the expression of a parameter: do without them")
    if not isinstance(route.scope, Scope):
        raise Unfit(f"{where} has {route.scope!r} where a Scope belongs")
    missing = SCOPE_PARAMETERS[route.scope] - route.path_names
    if missing:
        raise Unfit(f"{where} is of scope {route.scope.name} and must name {sorted(missing)}")
    if route.scope is Scope.NODE and not route.node_type:
        raise Unfit(f"{where} is of scope NODE and must say node_type, the type of its nodes")


def _check_handler(where: str, handler: Callable[..., Any]) -> None:
    if not callable(handler):
        raise Unfit(f"{where} has {handler!r} where a function belongs")
    if not is_coroutine_function(handler):
        raise Unfit(f"{where}: its handler {name_of(handler)} is awaited: write it with async def")
    try:
        inspect.signature(handler).bind(None)
    except TypeError as error:
        raise Unfit(
            f"{where}: its handler {name_of(handler)} must take one argument, the call: {error}"
        ) from error


def _check_answers(where: str, route: Route) -> None:
    if not is_whole(route.status, 200, 399):
        raise Unfit(f"{where} has {route.status!r} as its status: one of 200 to 399 is possible")
    if route.status == 204 and route.answer is not None:
        raise Unfit(f"{where} has the status 204, which has no body, and an answer: leave one out")
    if not _maps(route.errors, int):
        raise Unfit(f"{where} has {route.errors!r} as its errors: write {{status: reason}}")
    for status in route.errors:
        if not is_whole(status, 400, 599):
            raise Unfit(f"{where} has {status!r} among its errors: statuses are 400 to 599")


def _maps(value: object, kind: type) -> bool:
    return isinstance(value, Mapping) and all(
        isinstance(key, kind) and isinstance(text, str) for key, text in value.items()
    )


def _check_shape(where: str, shape: object) -> None:
    if isinstance(shape, OneOf):
        check_text(where, "field of a OneOf", shape.field)
        if not callable(shape.choices):
            raise Unfit(f"{where}: the choices of a OneOf are {shape.choices!r}, and no function")
    elif shape is not None:
        check_schema(where, shape)


def _check_limit(where: str, route: Route) -> None:
    if route.limit is None:
        return
    if route.stream or route.raw:
        raise Unfit(f"{where} takes as long as its stream does: leave out its limit")
    if type(route.limit) not in (int, float) or not 0 < route.limit < float("inf"):
        raise Unfit(f"{where} has {route.limit!r} as its limit: write seconds, more than 0")


def name_of(handler: object) -> str:
    """What people call a handler."""
    while not hasattr(handler, "__qualname__") and hasattr(handler, "func"):
        handler = handler.func
    return str(getattr(handler, "__qualname__", type(handler).__qualname__))


def check_own_paths(claims: Sequence[Claim]) -> None:
    """Refuse routes of one plugin of which one gets all that another is for.

    :raises Unfit: says which.
    """
    for first, second in permutations(claims, 2):
        if first.precedes(second):
            if first.route.shape == second.route.shape:
                raise Unfit(f"the route {_name(second)} exists already, as {_name(first)}")
            if first.hides(second):
                raise Unfit(
                    f"the route {_name(second)} would never be asked: {_name(first)} is asked "
                    "first, and matches all of it"
                )


def check_free(claims: Iterable[Claim], taken: Collection[Claim]) -> None:
    """Refuse routes that would answer to what is another's, or the other way round.

    :raises Unfit: says which, and whose.
    """
    for claim in claims:
        for other in taken:
            if claim.route.shape == other.route.shape:
                raise Unfit(f"the route {_name(claim)} exists already: {_owner(other)} has it")
            path = meeting(claim, other)
            if path is not None:
                raise Unfit(
                    f"the route {_name(claim)} meets {_name(other)} of {_owner(other)}: both "
                    f"would answer to {path}; choose a path of its own"
                )


def meeting(one: Claim, other: Claim) -> str | None:
    """A path that two routes would both answer to, which one of them never gets."""
    return one.takes_from(other) if one.precedes(other) else other.takes_from(one)


def is_wider(claim: Claim, others: Iterable[Claim]) -> bool:
    """Whether one of these others would never be asked because of a route that matches more."""
    return any(
        claim.precedes(other) and claim.hides(other) and not other.hides(claim) for other in others
    )


def _name(claim: Claim) -> str:
    return f"{claim.route.method} {claim.route.path}"


def _owner(claim: Claim) -> str:
    return f"the plugin {claim.route.plugin!r}" if claim.route.plugin else "the server"
