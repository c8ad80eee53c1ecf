"""Making nodes: from templates, from requests, and as copies of others."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from marshmallow import ValidationError

from gns3server.plugin import NodeType, NodeView, Project
from gns3server_v2.state import KEY, ProjectState

KEPT = (
    "locked",
    "console_type",
    "console_auto_start",
    "port_name_format",
    "port_segment_size",
    "first_port_name",
    "custom_adapters",
    "template_id",
)
"""Values of a node that the core does not know: they are kept for clients."""

ALSO_TAKEN = ("console_type", "custom_adapters")
"""Those of them that a type may have a field for: it is then told as well."""

PLACED = ("x", "y", "z", "symbol", "label")
"""Values of a node that are the core's layout."""

OWN_FIELDS = frozenset({"vm_id", "name", "console"})
"""Fields of a type's schemas that are no properties."""

FIRST_SCRIPT = "set pcname %h\n"
"""What a new virtual PC runs whose template says nothing else: its prompt is then its name."""


def free_name(taken: set[str], wanted: str, template_name: str = "") -> str:
    """A name that no node of a project has.

    :param wanted: the name, or a pattern with ``{0}`` for a number and ``{name}``.
    :param template_name: what ``{name}`` stands for.
    """
    pattern = wanted.replace("{name}", template_name)
    if "{0}" not in pattern:
        if pattern not in taken:
            return pattern
        pattern += "-{0}"
    number = 1
    while (name := pattern.replace("{0}", str(number))) in taken:
        number += 1
    return name


@contextmanager
def naming(
    state: ProjectState, project: Project, wanted: str, template_name: str = ""
) -> Iterator[str]:
    """A free name, which nobody else gets while the context lasts."""
    taken = {*project.nodes.names().values(), *state.coming}
    name = free_name(taken, wanted, template_name)
    state.coming.add(name)
    try:
        yield name
    finally:
        state.coming.discard(name)


def sorted_properties(
    properties: Mapping[str, Any], fields: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The properties that a type takes, and those that are only kept.

    :param fields: the fields of the type's schema.
    """
    names = {field.data_key or name for name, field in fields.items()} - OWN_FIELDS
    taken = {key: value for key, value in properties.items() if key in names}
    return taken, {key: value for key, value in properties.items() if key not in names}


def fitting(node: Mapping[str, Any], kind: NodeType) -> dict[str, Any]:
    """A node of a file, without what its type would refuse of :data:`ALSO_TAKEN`.

    Another server may know consoles that the type has not: the node then has the usual one.
    """
    known, fit = kind.create_schema().fields, dict(node)
    for key in ALSO_TAKEN:
        if key in known and node.get(key) is not None:
            try:
                known[key].deserialize(node[key])
            except ValidationError:
                del fit[key]
    return fit


async def make_node(
    project: Project,
    state: ProjectState,
    kind: NodeType,
    *,
    name: str,
    body: Mapping[str, Any],
    node_id: str | None = None,
) -> NodeView:
    """Make a node, whose event tells all of it.

    :param name: its name, which is free.
    :param body: the other values, in the words of the wire.
    """
    new_id = node_id or str(uuid.uuid4())
    properties, rest = sorted_properties(body.get("properties") or {}, kind.create_schema().fields)
    values: dict[str, Any] = {"vm_id": new_id, "name": name, **properties}
    if kind.console and body.get("console") is not None:
        values["console"] = body["console"]
    values |= {
        key: body[key]
        for key in ALSO_TAKEN
        if key in kind.create_schema().fields and body.get(key) is not None
    }
    kept = {key: body[key] for key in KEPT if body.get(key) is not None}
    if rest:
        kept["properties"] = rest
    if body.get("file"):
        kept["file"] = body["file"]
    layout = {"z": 1, **{key: body[key] for key in PLACED if body.get(key) is not None}}
    # The event of the creation tells it.
    before = state.nodes.get(new_id)
    state.nodes.setdefault(new_id, kept)
    try:
        return await project.nodes.create(kind.name, values, layout=layout, stored={KEY: kept})
    except BaseException:
        if before is None:
            state.nodes.pop(new_id, None)
        raise


def from_template(template: Mapping[str, Any], kind: NodeType) -> dict[str, Any]:
    """The values of a node that a template stands for, but for its name and place."""
    core = {"template_id", "template_type", "name", "category", "symbol", "default_name_format"}
    settings = {
        key: value
        for key, value in template.items()
        if key not in core | {"builtin", "compute_id", "properties"}
    }
    top = {key: settings.pop(key) for key in KEPT if key in settings}
    properties = {**template.get("properties", {}), **settings}
    if kind.name == "vpcs":
        properties = {"startup_script": FIRST_SCRIPT, **properties}
    return {
        **top,
        "template_id": template["template_id"],
        "symbol": template["symbol"],
        "properties": {
            key: value for key, value in properties.items() if key != "base_script_file"
        },
    }
