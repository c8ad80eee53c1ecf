"""Paths in the OpenAPI document: their parameters, and how one operation leads to others."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from marshmallow import Schema

from gns3server.http.routing import DIGITS, PARAMETER, Route
from gns3server.http.schemas import UUID_PATTERN

KNOWN: Mapping[str, str] = {
    "project_id": "Id of an open project",
    "vm_id": "Id of a VM of the project",
    "link_id": "Id of a link of the project",
    "snapshot_id": "Id of a snapshot of the project",
    "adapter_number": "Number of a network adapter of the VM",
    "port_number": "Number of a port of the adapter",
}
"""What the parameters of the core's paths mean."""

IDS = frozenset({"project_id", "vm_id", "link_id", "snapshot_id"})
"""The ids that are looked up; without such an object there is nothing to do."""


def operation_id(route: Route) -> str:
    """A name for the operation, unique because method and path are."""
    words = re.findall(r"\w+", PARAMETER.sub(r"by_\1", route.path))
    return "_".join([route.method.lower(), *words])


def parameter(route: Route, name: str, rule: str) -> dict[str, Any]:
    """One parameter of a route's path.

    :param rule: the expression that it must match, if the path has one.
    """
    schema: dict[str, Any] = {"type": "string"}
    is_node = route.names_node and name == route.node_parameter
    if name in IDS or is_node:
        schema.update(format="uuid", pattern=UUID_PATTERN)
    elif rule == DIGITS:
        schema = {"type": "integer", "minimum": 0}
    elif rule in ("", ".+"):
        schema["minLength"] = 1
    elif rule != ".*":
        schema["pattern"] = f"^(?:{rule})$"
    described = {"name": name, "in": "path", "required": True, "schema": schema}
    known = KNOWN.get(name) or (KNOWN["vm_id"] if is_node else "")
    return {**described, "description": known} if known else described


def links(route: Route, routes: Iterable[Route]) -> dict[str, Any]:
    """What can be done with an object that a route has made, by the operations' ids.

    These are the routes below its path whose missing ids are in the answer.
    """
    if route.status != 201 or not (isinstance(route.answer, type) and not route.many):
        return {}
    made = wire_names(route.answer) & IDS - route.path_names
    known = made | route.path_names
    return {
        operation_id(target): {
            "operationId": operation_id(target),
            "parameters": {
                name: f"$response.body#/{name}" if name in made else f"$request.path.{name}"
                for name, _ in target.parameters
                if name in known
            },
        }
        for target in routes
        if target.path.startswith(f"{route.path}/{{")
        and target.path_names & made
        and not (target.path_names & IDS) - known
    }


def wire_names(schema: type[Schema]) -> set[str]:
    """The fields of a schema as they are called on the wire."""
    return {field.data_key or name for name, field in schema().fields.items()}
