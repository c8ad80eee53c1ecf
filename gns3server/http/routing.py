"""Routes as frozen data, and what a handler gets."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any

from aiohttp import web
from marshmallow import Schema

from gns3server.events import EventBus
from gns3server.files.images import Images
from gns3server.nodes.node import Node
from gns3server.nodes.registry import Registry
from gns3server.projects.manager import ProjectManager
from gns3server.projects.project import Project
from gns3server.settings.live import LiveSettings
from gns3server.settings.schema import Settings
from gns3server.storage.event_log import Translate

if TYPE_CHECKING:
    from collections.abc import Coroutine

JSON = "application/json"
OCTETS = "application/octet-stream"
HTML = "text/html"

DIGITS = r"\d+"
"""The expression of a parameter that is a number."""

PARAMETER = re.compile(r"{(\w+)(?::([^{}]+))?}")
"""A parameter of a path pattern: its name, and the expression it must match if there is one."""


class Scope(Enum):
    """What a request works on, and so what it queues for.

    A path with ``{project_id}`` always gets its project looked up. Unless the route
    says otherwise, a damaged one is refused.
    """

    SERVER = "nothing: no lock is taken"
    PROJECT = "the project, beside others"
    NODE = "one node: alone with it, beside others in its project"


@dataclass(frozen=True, slots=True)
class Server:
    """What handlers, plugin routes and plugin lifespans may use of the server.

    :param translate: puts events into the lines of the v1 API.
    :param own: runs a change in a task that a client's hanging up does not end.
    :param record: notes every accepted request, if the settings want that.
    :param stop: set it to end the server.
    :param plugins: a report of each plugin, as its wire object's fields.
    """

    config: LiveSettings
    manager: ProjectManager
    registry: Registry
    hub: EventBus
    translate: Translate
    own: Callable[[Coroutine[Any, Any, Any]], asyncio.Task[Any]]
    plugins: Callable[[], list[Mapping[str, Any]]]
    stop: asyncio.Event
    record: Callable[[web.Request], None] | None = None
    routes: list[Route] = field(default_factory=list)

    @property
    def images(self) -> Images:
        """The image files of this server."""
        return self.manager.machine.images

    @property
    def settings(self) -> Settings:
        """The newest settings."""
        return self.config.current


@dataclass(slots=True)
class Call:
    """One request, validated, with what it works on.

    :param path: the path's parameters; those that match digits are integers.
    :param query: those of the query that the route reads.
    :param body: the validated body, in the words of the code.
    :param request: the request itself, for streams.
    :param found_project: what :attr:`project` returns; set by the edge, as is ``found_node``.
    """

    server: Server
    route: Route
    request: web.Request
    path: Mapping[str, Any]
    body: Mapping[str, Any] = field(default_factory=dict)
    query: Mapping[str, int] = field(default_factory=dict)
    found_project: Project | None = None
    found_node: Node | None = None

    @property
    def project(self) -> Project:
        """The project that the path names."""
        if self.found_project is None:
            raise LookupError(f"{self.route.path} names no project")
        return self.found_project

    @property
    def node(self) -> Node:
        """The node that the path names; routes of scope NODE only."""
        if self.found_node is None:
            raise LookupError(f"{self.route.path} is not of scope NODE")
        return self.found_node


@dataclass(frozen=True, slots=True)
class OneOf:
    """A body whose shape depends on one of its fields.

    :param field: the field that tells, as ``type``.
    :param choices: looks up the shape's schema by the field's value.
    """

    field: str
    choices: Callable[[Server], Mapping[str, type[Schema]]]


Handler = Callable[[Call], Awaitable[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    r"""One route: where it is, what it takes, what it answers, and who does it.

    :param path: pattern with parameters as ``{name}``, ``{name:\\d+}`` or, for the rest of the
        path, ``{name:.*}``.
    :param handler: gets a :class:`Call`, returns a plain object or mapping.
    :param summary: one line for the API document.
    :param query: whole numbers that the query may hold, and what they mean; no other is read.
    :param body: schema of the request's body; without one any JSON is let through.
    :param answer: schema of the answer, or of a line of an endless one; without it the answer
        is empty, or a stream that the API document says nothing else of.
    :param many: the answer is a list.
    :param errors: statuses it may answer besides the ones of its kind, and when.
    :param scope: what it works on.
    :param node_type: for scope NODE, the type its node must have.
    :param creates: for scope PROJECT, the body may hold the id of the node to make.
    :param damaged_too: it works on damaged projects as well; of such a one
        the call's ``found_project`` is ``None``.
    :param changes: it changes something, so that a client that hangs up must not stop it
        halfway.
    :param stream: the handler makes the response itself.
    :param raw: the handler reads the body itself, in pieces and whatever its size (see
        :func:`gns3server.http.raw.raw_body`); ``body`` then only describes it.
    :param body_type: media type of a raw body, for the API document.
    :param answer_type: media type of the answer that a ``stream`` handler makes; empty
        when it has no body.
    :param endless: the answer is a stream that only its end ends; there is no HEAD for it.
    :param tag: group in the API document.
    :param plugin: the plugin that it comes from; the server fills it in.
    """

    method: str
    path: str
    handler: Handler
    summary: str
    query: Mapping[str, str] = field(default_factory=dict)
    body: type[Schema] | OneOf | None = None
    answer: type[Schema] | OneOf | None = None
    many: bool = False
    status: int = 200
    errors: Mapping[int, str] = field(default_factory=dict)
    scope: Scope = Scope.SERVER
    node_type: str = ""
    creates: bool = False
    damaged_too: bool = False
    changes: bool = True
    stream: bool = False
    raw: bool = False
    body_type: str = OCTETS
    answer_type: str = JSON
    endless: bool = False
    tag: str = "server"
    plugin: str = ""

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
