"""Checks of a plugin's routes, made before the server installs any of them."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from itertools import permutations
from typing import Any

from gns3server.http.families import SHARED, family
from gns3server.http.path_resource import check_pattern
from gns3server.http.routing import PARAMETER, OneOf, QueryParameter, Route, Scope
from gns3server.plugin_host.checks import (
    Unfit,
    check_collection,
    check_schema,
    check_text,
    is_coroutine_function,
)
from gns3server.plugin_host.paths import Claim
from gns3server.running.values import is_whole

METHODS = ("DELETE", "GET", "PATCH", "POST", "PUT")
"""The methods that a route may have; HEAD and OPTIONS are the server's own business."""

SCOPE_PARAMETERS = {
    Scope.SERVER: frozenset[str](),
    Scope.PROJECT: frozenset({"project_id"}),
    Scope.WHOLE_PROJECT: frozenset({"project_id"}),
    Scope.NODE: frozenset({"project_id"}),
    Scope.FIND_NODE: frozenset({"project_id"}),
}
"""What the path of a route must name, by the route's scope, besides a node."""

OF_FILES = (206, 304)
"""Statuses of files that are no errors: a part was asked for, or the client has it already."""

MEDIA_TYPE = re.compile(r"[a-z0-9][a-z0-9!#$&^_.+-]*/[a-z0-9][a-z0-9!#$&^_.+-]*")
BEGINNING = re.compile(r"/[A-Za-z0-9_~-][A-Za-z0-9._~-]*(/.*)?")
"""How a path begins: with a literal segment, which is the family that it belongs to."""


def check_routes(routes: Iterable[Route]) -> None:
    """Refuse routes that could not be installed or served, each by itself.

    :raises Unfit: says which, and what to change.
    """
    checked = list[object]()
    for route in routes:
        where = f"the route {route.method} {route.path}"
        _check_path(where, route)
        _check_handler(where, route.handler)
        _check_answers(where, route)
        for name in ("summary", "tag", "body_type", "answer_type"):
            check_text(where, name, getattr(route, name))
        _check_query(where, route.query)
        _check_media_types(where, route)
        _check_stream(where, route)
        _check_page(where, route)
        for shape in (route.body, route.answer):
            # Each once: to make an instance takes a while.
            if not any(shape is one for one in checked):
                _check_shape(where, shape)
                checked.append(shape)
        _check_limit(where, route)


def _check_path(where: str, route: Route) -> None:
    if route.method not in METHODS:
        raise Unfit(f"{where}: there is no method {route.method!r}, only {', '.join(METHODS)}")
    if not (isinstance(route.path, str) and BEGINNING.fullmatch(route.path)):
        raise Unfit(f"{where} does not begin with a word of its own, as /v1/ or /web/ do")
    if set("{}") & set(PARAMETER.sub("", route.path)):
        raise Unfit(
            f"{where} has braces outside of a parameter, or in the expression of one: do without "
            "them"
        )
    try:
        check_pattern(route.path)
    except ValueError as error:
        raise Unfit(f"{where} cannot be installed: {error}") from error
    if not isinstance(route.scope, Scope):
        raise Unfit(f"{where} has {route.scope!r} where a Scope belongs")
    missing = SCOPE_PARAMETERS[route.scope] - route.path_names
    if missing:
        raise Unfit(f"{where} is of scope {route.scope.name} and must name {sorted(missing)}")
    if route.names_node:
        _check_node(where, route)
    if route.unknown_too and not route.closed_too:
        raise Unfit(
            f"{where} is for projects that are not on record, which only a route for closed ones "
            "can be: say closed_too=True"
        )
    if route.closed_too and route.scope in (Scope.NODE, Scope.FIND_NODE):
        raise Unfit(f"{where} is for closed projects as well, which have no node: choose either")


def _check_node(where: str, route: Route) -> None:
    """Refuse a route on nodes that does not say which."""
    scope = route.scope.name
    if route.node_parameter not in route.path_names:
        raise Unfit(f"{where} is of scope {scope} and must name [{route.node_parameter!r}]")
    if route.node_type is not None and not (isinstance(route.node_type, str) and route.node_type):
        raise Unfit(
            f"{where} is of scope {scope} and must say node_type, the type of its nodes, or None "
            "if any will do"
        )


def _check_query(where: str, query: object) -> None:
    """Refuse a query that does not say what it may hold."""
    if not isinstance(query, Mapping) or not all(isinstance(name, str) for name in query):
        raise Unfit(f"{where} has {query!r} as its query: write {{name: meaning}}")
    for name, given in query.items():
        if isinstance(given, str):
            continue
        if not isinstance(given, QueryParameter):
            raise Unfit(
                f"{where} has {given!r} as {name!r} in its query: write its meaning, or a "
                "QueryParameter"
            )
        check_text(where, f"description of {name!r} in its query", given.description)
        if given.kind not in ("number", "text"):
            raise Unfit(
                f"{where}: {name!r} in its query is of the kind {given.kind!r}, neither 'number' "
                "nor 'text'"
            )
        fits = (
            isinstance(given.default, str) if given.kind == "text" else is_whole(given.default, 0)
        )
        if given.default is not None and not fits:
            raise Unfit(
                f"{where}: {given.default!r} cannot be the default of {name!r} in its query, "
                f"a {given.kind}"
            )


def _check_media_types(where: str, route: Route) -> None:
    """Refuse texts that are not media types, and media types that nothing would use."""
    for name, value, made_by_handler, needed in (
        ("body_types", route.body_types, route.raw, "raw"),
        ("answer_types", route.answer_types, route.stream, "stream"),
    ):
        check_collection(where, name, value)
        for item in value:
            if not (isinstance(item, str) and MEDIA_TYPE.fullmatch(item)):
                raise Unfit(f"{where}: {item!r} in its {name} is not a media type like 'image/png'")
        if value and not made_by_handler:
            raise Unfit(f"{where} has {name}, which only a {needed} route heeds: say {needed}=True")


def _check_stream(where: str, route: Route) -> None:
    """Refuse what never ends while it holds something, or cannot be a stream."""
    if route.endless and not (route.stream or route.websocket):
        raise Unfit(f"{where} is endless, which only a stream can be: say stream=True")
    if route.is_endless and route.scope not in (Scope.SERVER, Scope.FIND_NODE):
        raise Unfit(
            f"{where} never ends and would hold its project or node forever: set its scope to "
            "SERVER, which can find a project too, or FIND_NODE"
        )
    if route.upgrade is not None:
        if route.method != "GET" or not (route.stream and route.endless):
            raise Unfit(
                f"{where} has an upgrade, which only an endless stream with the method GET can have"
            )
        _check_handler(where, route.upgrade)
    if not route.websocket:
        return
    if route.method != "GET":
        raise Unfit(f"{where} is a websocket, which begins with GET")
    if route.raw or route.stream or route.body is not None or route.answer is not None:
        raise Unfit(f"{where} is a websocket: leave out stream, raw, body and answer")


def _check_page(where: str, route: Route) -> None:
    """Refuse a page that the first page could not lead to."""
    check_text(where, "page", route.page)
    if route.page and (route.method != "GET" or not route.stream or route.parameters):
        raise Unfit(
            f"{where} is a page, to which a link leads: say stream=True, with the method GET and "
            "no parameters in its path"
        )


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
        if not (is_whole(status, 400, 599) or status in OF_FILES):
            raise Unfit(f"{where} has {status!r} among its errors: statuses are 400 to 599")


def _maps(value: object, kind: type) -> bool:
    return isinstance(value, Mapping) and all(
        isinstance(key, kind) and isinstance(text, str) for key, text in value.items()
    )


def _check_shape(where: str, shape: object) -> None:
    if isinstance(shape, OneOf):
        check_text(where, "field of a OneOf", shape.field)
        if not callable(shape.choices):
            raise Unfit(f"{where}: the choices of a OneOf are {shape.choices!r}, not a function")
    elif shape is not None:
        check_schema(where, shape)


def _check_limit(where: str, route: Route) -> None:
    if route.limit is None:
        return
    if route.stream or route.raw or route.websocket:
        raise Unfit(f"{where} takes as long as its stream does: leave out its limit")
    if type(route.limit) not in (int, float) or not 0 < route.limit < float("inf"):
        raise Unfit(f"{where} has {route.limit!r} as its limit: write seconds, more than 0")


def name_of(handler: object) -> str:
    """The name of a handler, for people."""
    while not hasattr(handler, "__qualname__") and hasattr(handler, "func"):
        handler = handler.func
    return str(getattr(handler, "__qualname__", type(handler).__qualname__))


def check_own_paths(claims: Sequence[Claim]) -> None:
    """Refuse routes of one plugin if one of them would get every request meant for another.

    :raises Unfit: says which.
    """
    for first, second in permutations(claims, 2):
        if first.may_meet(second) and first.precedes(second):
            if first.shape == second.shape:
                raise Unfit(f"the route {_name(second)} exists already, as {_name(first)}")
            if first.hides(second):
                raise Unfit(
                    f"the route {_name(second)} would never be asked: {_name(first)} is asked "
                    "first, and matches all of it"
                )


def check_families(families: Collection[str], taken: Mapping[str, str]) -> None:
    """Refuse families of paths that something else already has.

    :param taken: the owner of each family, by its first segment; empty for the server.
    :raises Unfit: says which, and whose.
    """
    for name in sorted(families):
        if name in taken:
            owner = f"the plugin {taken[name]!r}" if taken[name] else "the server"
            raise Unfit(
                f"paths below /{name} belong to {owner}: choose another beginning, or "
                f"/{SHARED}/, which all may use"
            )


def families_of(routes: Iterable[Route]) -> frozenset[str]:
    """The families of paths that some routes belong to, without the shared one."""
    return frozenset(family(route.path) for route in routes) - {SHARED}


def check_free(claims: Iterable[Claim], taken: Collection[Claim]) -> None:
    """Refuse routes that would get requests meant for other routes, or the other way round.

    :raises Unfit: says which, and whose.
    """
    for claim in claims:
        for other in taken:
            if not claim.may_meet(other):
                continue
            if claim.shape == other.shape:
                raise Unfit(f"the route {_name(claim)} exists already: {_owner(other)} has it")
            path = meeting(claim, other)
            if path is not None:
                raise Unfit(
                    f"the route {_name(claim)} meets {_name(other)} of {_owner(other)}: both "
                    f"would answer to {path}; choose a path of its own"
                )


def meeting(one: Claim, other: Claim) -> str | None:
    """A path that two routes would both answer to, so that one of them never gets it."""
    return one.takes_from(other) if one.precedes(other) else other.takes_from(one)


def is_wider(claim: Claim, others: Iterable[Claim]) -> bool:
    """Whether one of these others would never be asked because of a route that matches more."""
    return any(
        claim.hides(other) and claim.precedes(other) and not other.hides(claim) for other in others
    )


def _name(claim: Claim) -> str:
    return f"{claim.route.method} {claim.route.path}"


def _owner(claim: Claim) -> str:
    return f"the plugin {claim.route.plugin!r}" if claim.route.plugin else "the server"
