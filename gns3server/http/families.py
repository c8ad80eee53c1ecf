"""What a plugin may offer beside single routes: files of its own, and a shape for errors."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from aiohttp import web
from marshmallow import Schema

from gns3server.errors import LabError

PREFIX = re.compile(r"(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)+")
"""A path of literal segments, as ``/web``."""

SHARED = "v1"
"""The first segment of paths that the server and every plugin may have."""


def family(path: str) -> str:
    """The first segment of a path, which is one plugin's or the server's unless it is shared."""
    return path.split("/")[1]


def is_below(path: str, prefix: str) -> bool:
    """Whether a path is a prefix, or begins with it and a slash."""
    return path == prefix or path.startswith(f"{prefix}/")


@dataclass(frozen=True, slots=True, kw_only=True)
class StaticFiles:
    """Files of the plugin's own package, for browsers. To be returned by ``gns3_routes``.

    Everything below the folder that is not hidden is served. A path that ends with a slash
    is answered with the folder's ``index.html``.

    :param prefix: the path below which they are served, such as ``/web``.
    :param package: the package that contains them, most often ``__package__``.
    :param folder: the folder in the package, such as ``static`` or ``web/dist``.
    :param tag: group in the API document.
    """

    prefix: str
    package: str
    folder: str
    tag: str = "pages"


@dataclass(frozen=True, slots=True)
class FailedRequest:
    """What is known about a request that is answered with an error.

    :param id: its name in the server's log, and in the header ``X-Request-Id``.
    :param path: as the client sent it, decoded, without the query.
    :param route: the pattern of the route that it came to; empty if there is none.
    :param body: the parsed body, if it was read.
    """

    id: str
    method: str
    path: str
    route: str
    body: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorShape:
    """How errors look below a prefix, including URLs that no route has. From ``gns3_routes``.

    :param prefix: where, such as ``/v2``; no other plugin may have a route in the same family.
    :param render: makes the JSON object of an answer; status and headers stay the error's. It
        must not block. If it fails, the answer has the usual shape.
    :param schema: describes what it makes, for the API document.
    :param plugin: the plugin that it comes from; the server fills it in.
    """

    prefix: str
    render: Callable[[LabError, FailedRequest], Mapping[str, Any]]
    schema: type[Schema] | None = None
    plugin: str = ""


ERROR_SHAPES: web.AppKey[tuple[ErrorShape, ...]] = web.AppKey("error_shapes", tuple)
"""All shapes of errors of an application."""
