"""Examples in the OpenAPI document, which work when they are sent in the order of a lab's life.

A client may choose the ids of what it creates (contract 2.3, 2.6). So the examples that create
something carry ids, and all others name the same ones: nobody has to copy any.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Set
from typing import Any

from marshmallow import Schema

from gns3server.http.nio_shapes import NIO, SHAPES, nio_schemas
from gns3server.http.routing import DIGITS, OneOf, Route
from gns3server.http.schemas import (
    PROJECT_EXAMPLE,
    FileStreamSchema,
    LayoutSchema,
    UploadFormSchema,
    VersionCheckSchema,
)
from gns3server.http.static import INDEX, REST
from gns3server.nodes.node_type import NodeType
from gns3server.server import Server


def node_example(node_type: str) -> str:
    """The id of the example of a node type."""
    return str(uuid.uuid5(uuid.UUID(PROJECT_EXAMPLE), node_type))


class Examples:
    """Finds the examples of requests.

    :param hidden: names of node types that are not described.
    """

    def __init__(self, server: Server, hidden: Set[str]) -> None:
        self._server = server
        self._nio_schemas = nio_schemas(server)
        self._types = {
            name: kind
            for name, kind in sorted(server.registry.node_types.items())
            if name not in hidden
        }

    def parameter(self, route: Route, name: str, rule: str) -> Any:
        """The example of a parameter of a route's path; ``None`` if there is none."""
        if rule == DIGITS:
            return 0
        if name == "project_id":
            return PROJECT_EXAMPLE
        if route.names_node and name == route.node_parameter:
            kind = self._types.get(route.node_type) if route.node_type else self._first()
            return None if kind is None else node_example(kind.name)
        if name == REST:
            return self._file() if "project_id" in route.path_names else INDEX
        return None

    def body(self, route: Route) -> Any:
        """The example of a route's body; ``None`` if there is none."""
        shape = route.body
        if shape is NIO:
            return self._nio(self._types.get(route.node_type or ""))
        if shape is None or isinstance(shape, OneOf):
            return None
        example = self._special(shape)
        if example is None:
            example = from_fields(shape)
        if example is not None and route.creates and route.tag in self._types:
            example["vm_id"] = node_example(route.tag)
        return example

    def _special(self, shape: type[Schema]) -> dict[str, Any] | None:
        """What depends on the server; ``None`` for other shapes."""
        if shape is VersionCheckSchema:
            return {"version": self._server.settings.server.announced_version}
        if shape is LayoutSchema:
            kind = self._first()
            return {} if kind is None else {node_example(kind.name): {"x": 120, "y": -40}}
        if shape is FileStreamSchema and (file := self._file()):
            projects = self._server.settings.projects_path
            return {"location": f"{projects}/{PROJECT_EXAMPLE}/{file}"}
        if shape is UploadFormSchema and (kinds := self._server.machine.images.kinds()):
            return {"type": next(iter(kinds))}
        return None

    def _first(self) -> NodeType | None:
        """A node type whose example can be made."""
        return next((k for k in self._types.values() if from_fields(k.create_schema)), None)

    def _file(self) -> str | None:
        """A file that a project has once an example of its nodes is made."""
        for kind in self._types.values():
            made = from_fields(kind.create_schema) or {}
            for file in kind.text_files:
                if file.text in made:
                    return f"project-files/{kind.name}/{node_example(kind.name)}/{file.name}"
        return None

    def _nio(self, kind: NodeType | None) -> dict[str, Any] | None:
        """A NIO that the nodes of a type take."""
        for name in kind.nio_types if kind else ():
            for schema in (self._nio_schemas.get(name), SHAPES.get(name)):
                if schema is not None and (example := from_fields(schema)):
                    return {**example, "type": name}
        return None


def from_fields(schema: type[Schema]) -> dict[str, Any] | None:
    """The examples that a schema's fields have; ``None`` if one that is required has none."""
    fields = schema().load_fields
    example = {
        field.data_key or name: field.metadata["example"]
        for name, field in fields.items()
        if "example" in field.metadata
    }
    required = (field.data_key or name for name, field in fields.items() if field.required)
    return example if set(required) <= set(example) else None


def with_example(described: Mapping[str, Any], example: Any) -> dict[str, Any]:
    """A parameter or a body with its example, if it has one."""
    return dict(described) if example is None else {**described, "example": example}
