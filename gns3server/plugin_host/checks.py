"""What the server refuses of what a plugin offers, before it installs any of it.

Every function raises ``TypeError`` or ``ValueError`` that says what to change.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from inspect import isroutine
from typing import Any

from marshmallow import EXCLUDE, Schema, ValidationError

from gns3server.files.images import ImageKind
from gns3server.http.application import check_route
from gns3server.http.reading import flatten
from gns3server.http.routing import Route
from gns3server.http.schemas import NodeCreateSchema, NodeObjectSchema, NodeUpdateSchema
from gns3server.nodes.nio import NioType
from gns3server.nodes.node import Node
from gns3server.nodes.node_type import NodeType

NAME = re.compile(r"[a-z][a-z0-9_-]*")
FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


def check_name(name: str) -> None:
    """Refuse a plugin whose name cannot be the segment of a path."""
    if NAME.fullmatch(name) is None:
        raise ValueError(f"the name {name!r} cannot be part of a path")


def check_marks(module: object, prefix: str, hooks: Collection[str]) -> None:
    """Refuse a module with a function that is named as a hook but not marked as one."""
    for name, value in vars(module).items() if hasattr(module, "__dict__") else ():
        if name.startswith(prefix) and name not in hooks and isroutine(value):
            raise ValueError(f"{name} is named as a hook but not marked with @hookimpl")


def read_section(section: str, schema: object, values: Mapping[str, str]) -> Mapping[str, Any]:
    """A plugin's section of the settings as the plugin's schema reads it."""
    if not (isinstance(schema, type) and issubclass(schema, Schema)):
        raise TypeError(f"{schema!r} is no schema class")
    try:
        read: Mapping[str, Any] = schema(unknown=EXCLUDE).load(dict(values))
    except ValidationError as error:
        raise ValueError(f"[{section}] in the settings: {flatten(error.messages)}") from error
    return read


def check_node_types(kinds: Iterable[NodeType], taken: Collection[str]) -> None:
    """Refuse node types that another plugin has, or that could not be used."""
    seen = set(taken)
    for kind in kinds:
        if NAME.fullmatch(kind.name) is None:
            raise ValueError(f"the node type name {kind.name!r} cannot be part of a path")
        if kind.name in seen:
            raise ValueError(f"the node type {kind.name!r} exists already")
        for value, base in (
            (kind.node_class, Node),
            (kind.create_schema, NodeCreateSchema),
            (kind.update_schema, NodeUpdateSchema),
            (kind.object_schema, NodeObjectSchema),
        ):
            if not (isinstance(value, type) and issubclass(value, base)):
                raise TypeError(
                    f"the node type {kind.name!r} has {value!r} where a subclass of "
                    f"{base.__name__} belongs"
                )
        seen.add(kind.name)


def check_image_kinds(kinds: Iterable[ImageKind], taken: Mapping[str, ImageKind]) -> None:
    """Refuse kinds of images that could not be told apart, or not be kept in a directory."""
    known = dict(taken)
    for kind in kinds:
        if not isinstance(kind, ImageKind):
            raise TypeError(f"{kind!r} is no ImageKind")
        for value in (kind.name, kind.directory):
            if FILE_NAME.fullmatch(value) is None:
                raise ValueError(f"the image kind {kind.name!r} cannot be kept in {value!r}")
        for other in known.values():
            same = kind.name == other.name or kind.directory == other.directory
            if same and kind != other:
                raise ValueError(f"the image kind {kind.name!r} is not the one that exists already")
        known[kind.name] = kind


def check_nio_types(kinds: Iterable[NioType], taken: Collection[str]) -> None:
    """Refuse NIO types that another plugin has, or that could not be used."""
    seen = set(taken)
    for kind in kinds:
        if kind.name in seen:
            raise ValueError(f"the NIO type {kind.name!r} exists already")
        if not (isinstance(kind.schema, type) and issubclass(kind.schema, Schema)):
            raise TypeError(f"the NIO type {kind.name!r} has no schema class: {kind.schema!r}")
        fields = kind.schema().fields
        if kind.local_udp_port is not None and kind.local_udp_port not in fields:
            raise ValueError(f"the NIO type {kind.name!r} has no field {kind.local_udp_port!r}")
        seen.add(kind.name)


def check_routes(routes: Iterable[Route], taken: Collection[tuple[str, str]]) -> None:
    """Refuse routes outside the API, ones that would meet another, and ones that cannot work."""
    seen = set(taken)
    for route in routes:
        if not route.path.startswith("/v1/"):
            raise ValueError(f"the route {route.path} does not begin with /v1/")
        if route.shape in seen:
            raise ValueError(f"the route {route.method} {route.path} exists already")
        check_route(route)
        seen.add(route.shape)
