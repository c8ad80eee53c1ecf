"""Routes as frozen data, and what handlers are given."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType
from typing import Any, Literal

from aiohttp import web
from marshmallow import Schema

from gns3server.errors import warn_of_old_name
from gns3server.http.endless import Ending
from gns3server.http.families import is_below
from gns3server.http.websockets import WebSocket
from gns3server.locks import LockRequest
from gns3server.nodes.node import Node
from gns3server.projects.project import Project
from gns3server.server import Server

JSON = "application/json"
OCTETS = "application/octet-stream"
HTML = "text/html"

DIGITS = r"\d+"
"""The expression of a parameter that is a number."""

PARAMETER = re.compile(r"{(\w+)(?::([^{}]+))?}")
"""A parameter of a path pattern: its name, and the expression it must match if there is one."""


ANY = "[^{}/]+"
"""What a parameter without an expression matches."""


def expression(
    path: str, special: Mapping[str, str] = MappingProxyType({}), *, named: bool = False
) -> str:
    """The regular expression of a path pattern, or of a part of one.

    :param special: by name, what parameters without an expression match instead of the usual.
    :param named: make a group of each parameter, with its name.
    """
    pattern, end = "", 0
    for match in PARAMETER.finditer(path):
        name, rule = match.groups()
        pattern += re.escape(path[end : match.start()])
        pattern += f"(?P<{name}>" if named else "(?:"
        pattern += f"{rule or special.get(name, ANY)})"
        end = match.end()
    return pattern + re.escape(path[end:])


@dataclass(frozen=True, slots=True)
class FailedPlugin:
    """A plugin that is out of service, and how to recognize a request that was meant for it.

    :param reason: why it is out of service.
    :param node_types: names of its node types that no other plugin has.
    :param paths: paths of its routes that no other plugin has.
    :param prefixes: its families of routes that no other plugin has, as ``/v2``.
    """

    name: str
    reason: str
    node_types: frozenset[str] = frozenset()
    paths: frozenset[str] = frozenset()
    prefixes: frozenset[str] = frozenset()

    def would_answer(self, path: str) -> bool:
        """Whether a request that nothing answers was meant for this plugin."""
        for part in path.split("/"):
            if part == self.name or part.startswith(f"{self.name}-") or part in self.node_types:
                return True
        if any(is_below(path, prefix) for prefix in self.prefixes):
            return True
        return any(re.fullmatch(expression(own), path) for own in self.paths)


class Scope(Enum):
    """What a request works on, and so what it queues for.

    A path with ``{project_id}`` always gets its project looked up. Unless the route
    says otherwise, a closed or damaged project is refused.
    """

    SERVER = "nothing: no lock is taken"
    PROJECT = "the project, beside others"
    NODE = "one node: alone with it, beside others in its project"
    FIND_NODE = "one node, which others may change meanwhile: no lock is taken"
    LINK = "one link, alone with both of its nodes, beside others in its project"
    WHOLE_PROJECT = "the project, alone: for handlers of the core, which wait for that themselves"


@dataclass(frozen=True, slots=True)
class QueryParameter:
    """A value that the query of a request may hold.

    :param description: what it means, for the API document.
    :param kind: ``number`` for a whole number from 0 on, ``text`` for any text.
    :param default: its value if the query does not hold it; with ``None`` it is left out.
    :param choices: the texts that it may be, if not any.
    """

    description: str
    kind: Literal["number", "text"] = "number"
    default: int | str | None = None
    choices: tuple[str, ...] = ()


@dataclass(slots=True)
class Call:
    """One request, validated, with what it works on.

    :param path: the path's parameters; those that match digits are integers.
    :param query: the query's values that the route reads: numbers and texts.
    :param body: the validated body, in the words of the code.
    :param body_type: media type of a raw body: the one of the route's ``body_types`` that was sent.
    :param answer_type: media type of the answer: the one of the route's ``answer_types`` that the
        client prefers.
    :param request: the request itself, for streams.
    :param found_project: what :attr:`project` returns; ``None`` if the route is for projects that
        may be closed or damaged, and this one is. Set by the edge, as are ``found_node``,
        ``found_ending`` and ``found_websocket``.
    :param entry: its place in the queue of the project, by the route's scope; for the core.
    """

    server: Server
    route: Route
    request: web.Request
    path: Mapping[str, Any]
    body: Mapping[str, Any] = field(default_factory=dict)
    query: Mapping[str, Any] = field(default_factory=dict)
    body_type: str = ""
    answer_type: str = ""
    found_project: Project | None = None
    found_node: Node | None = None
    found_ending: Ending | None = None
    found_websocket: WebSocket | None = None
    entry: LockRequest | None = None

    @property
    def lab(self) -> Server:
        """Deprecated, removed in 0.3; use ``server``."""
        warn_of_old_name("Call.lab", "Call.server")
        return self.server

    @property
    def project(self) -> Project:
        """The project that the path names."""
        if self.found_project is None:
            raise LookupError(f"{self.route.path} names no project")
        return self.found_project

    @property
    def project_id(self) -> str:
        """The id of the project that the path names, which may be closed."""
        if "project_id" not in self.path:
            raise LookupError(f"{self.route.path} names no project")
        return str(self.path["project_id"])

    @property
    def node(self) -> Node:
        """The node that the path names; routes of scope NODE and FIND_NODE only."""
        if self.found_node is None:
            raise LookupError(f"{self.route.path} is not of scope NODE or FIND_NODE")
        return self.found_node

    @property
    def ending(self) -> Ending:
        """Whether the stream is to end; ``endless`` routes only."""
        if self.found_ending is None:
            raise LookupError(f"{self.route.path} is not endless")
        return self.found_ending

    @property
    def websocket(self) -> WebSocket:
        """The websocket; ``websocket`` routes only."""
        if self.found_websocket is None:
            raise LookupError(f"{self.route.path} is not a websocket")
        return self.found_websocket


@dataclass(frozen=True, slots=True)
class OneOf:
    """A body whose shape depends on one of its fields.

    :param field: the field that decides, such as ``type``.
    :param choices: looks up the shape's schema by the field's value.
    """

    field: str
    choices: Callable[[Server], Mapping[str, type[Schema]]]


Handler = Callable[[Call], Awaitable[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    r"""One route: where it is, what it takes, what it answers, and which handler serves it.

    :param path: pattern with parameters as ``{name}``, ``{name:\\d+}`` or, for the rest of the
        path, ``{name:.+}``, or ``{name:.*}`` if that may be empty.
    :param handler: gets a :class:`Call`, returns a plain object or mapping.
    :param summary: one line for the API document.
    :param query: what the query may hold: each name with its meaning, for a whole number, or
        with a :class:`QueryParameter`; nothing else is read.
    :param body: schema of the request's body; without one, any JSON is accepted.
    :param answer: schema of the answer, or of each line of an endless one; without it, the answer
        is empty, or a stream that the API document does not describe further.
    :param many: the answer is a list.
    :param errors: statuses it may answer besides those of its kind, and when.
    :param scope: what it works on.
    :param node_type: for scopes NODE and FIND_NODE, the type its node must have; ``None`` for any.
    :param node_parameter: for these scopes, the parameter of the path that is the node's id.
    :param neighbours_too: for scope NODE, it works on the nodes linked to it as well.
    :param creates: for scope PROJECT, the body may hold the id of the node or link to make, and
        names the nodes that a link joins.
    :param damaged_too: it works on damaged projects as well; for a damaged one,
        the call's ``found_project`` is ``None``.
    :param closed_too: it works on closed projects as well; for a closed one, the call's
        ``found_project`` is ``None``, and nothing keeps it from being opened meanwhile.
    :param unknown_too: with ``closed_too``: the project need not be on record.
    :param any_ids: an id in the path that is no UUID is answered as one that nothing has, with 404
        instead of 400.
    :param changes: it changes something, so that a client that hangs up must not stop it
        halfway.
    :param stream: the handler makes the response itself.
    :param raw: the handler reads the body itself, in pieces and whatever its size (see
        :func:`gns3server.http.bodies.raw_body`); ``body`` then only describes it.
    :param body_type: media type of a raw body, for the API document.
    :param body_types: several media types of a raw body, instead; a body that states another type
        is refused, and one that states none counts as the first.
    :param answer_type: media type of the answer that a ``stream`` handler makes; empty
        when it has no body.
    :param answer_types: several media types of such answers, instead, the usual first; the call's
        ``answer_type`` is what the client asks for.
    :param endless: the answer is a stream without an end of its own; there is no HEAD for it. It
        has to end when the call's ``ending`` says so, and is cut off some time later.
    :param upgrade: for an endless stream, the handler that serves it as a websocket to clients that
        ask for one; it gets that as the call's ``websocket``, and ends when ``ending`` says so.
    :param websocket: a websocket, of method GET; the handler gets it as the call's ``websocket``.
    :param limit: seconds that the handler of a plugin's route may take, 60 by default;
        after that it is cancelled, and the answer is 503. Streams, websockets and raw bodies have
        no limit.
    :param page: for a page for people, of method GET and without parameters: what the first page
        calls it in its list.
    :param confidential: bodies of requests and answers are kept out of the log and the record.
    :param tag: group in the API document.
    :param plugin: the plugin that it comes from; the server fills it in.
    """

    method: str
    path: str
    handler: Handler
    summary: str
    query: Mapping[str, str | QueryParameter] = field(default_factory=dict)
    body: type[Schema] | OneOf | None = None
    answer: type[Schema] | OneOf | None = None
    many: bool = False
    status: int = 200
    errors: Mapping[int, str] = field(default_factory=dict)
    scope: Scope = Scope.SERVER
    node_type: str | None = ""
    node_parameter: str = "vm_id"
    neighbours_too: bool = False
    creates: bool = False
    damaged_too: bool = False
    closed_too: bool = False
    unknown_too: bool = False
    any_ids: bool = False
    changes: bool = True
    stream: bool = False
    raw: bool = False
    body_type: str = OCTETS
    body_types: tuple[str, ...] = ()
    answer_type: str = JSON
    answer_types: tuple[str, ...] = ()
    endless: bool = False
    upgrade: Handler | None = None
    websocket: bool = False
    limit: float | None = None
    page: str = ""
    confidential: bool = False
    tag: str = "server"
    plugin: str = ""

    @property
    def is_endless(self) -> bool:
        """Whether it has no end of its own: an endless stream, or a websocket."""
        return self.endless or self.websocket

    @property
    def names_node(self) -> bool:
        """Whether the path names a node that is looked up."""
        return self.scope in (Scope.NODE, Scope.FIND_NODE)

    @property
    def parameters_of_query(self) -> Mapping[str, QueryParameter]:
        """What the query may hold."""
        return {
            name: QueryParameter(given) if isinstance(given, str) else given
            for name, given in self.query.items()
        }

    @property
    def plain_path(self) -> str:
        """The path for people and for the API document: parameters without their expressions."""
        return PARAMETER.sub(r"{\1}", self.path)

    @property
    def shape(self) -> tuple[str, str]:
        """Method and path with the parameters' names left out: no two routes may share it."""
        return self.method, PARAMETER.sub("{}", self.path)

    @property
    def parameters(self) -> list[tuple[str, str]]:
        """All parameters in order: name, and the expression to match, which may be empty."""
        return PARAMETER.findall(self.path)

    @property
    def path_names(self) -> frozenset[str]:
        """Names of all parameters."""
        return frozenset(name for name, _ in self.parameters)

    @property
    def integers(self) -> frozenset[str]:
        """Names of the parameters that match digits only."""
        return frozenset(name for name, rule in self.parameters if rule == DIGITS)


ROUTE_TABLE: web.AppKey[tuple[Route, ...]] = web.AppKey("route_table", tuple)
"""All routes of an application."""
