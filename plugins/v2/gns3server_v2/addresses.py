"""MAC addresses of nodes, which a copy of a project does without where the client asks for that.

Whatever runs a node then gives it others.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from marshmallow import missing

from gns3server.plugin import Server
from gns3server_v2.state import KEY

ADDRESS = "mac_address"
"""The property of a node, and of each of its custom adapters, that is dropped."""


def without_addresses(described: Mapping[str, Any]) -> dict[str, Any]:
    """What a project file says, without the addresses of nodes."""
    copy: dict[str, Any] = json.loads(json.dumps(described))
    nodes = copy.get("topology", {}).get("nodes", [])
    for node in nodes:
        _drop(node)
    return copy


def dropper(server: Server) -> Callable[[dict[str, Any]], None]:
    """What drops the addresses of a node on record; its type's default counts then."""

    def drop(node: dict[str, Any]) -> None:
        _drop(node["values"].get(KEY, {}).get(KEY, {}))
        for each in node["properties"].get("custom_adapters") or ():
            if isinstance(each, dict):
                each.pop(ADDRESS, None)
        kind = server.registry.node_types.get(node["type"])
        fields = {} if kind is None else kind.create_schema().fields
        named = [name for name, field in fields.items() if (field.data_key or name) == ADDRESS]
        for name in (ADDRESS, *named):
            if node["properties"].pop(name, None) is None or name not in fields:
                continue
            default = fields[name].load_default
            if default is not missing:
                node["properties"][name] = default() if callable(default) else default

    return drop


def _drop(node: Mapping[str, Any]) -> None:
    """Drop the addresses of a node in a file, or of what clients have said of one."""
    for each in (node.get("properties"), *(node.get("custom_adapters") or ())):
        if isinstance(each, dict):
            each.pop(ADDRESS, None)
