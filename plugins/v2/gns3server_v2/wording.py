"""Projects and nodes in the words of the /v2 wire."""

from __future__ import annotations

import ipaddress
import shlex
from collections.abc import Mapping
from typing import Any

from gns3server.plugin import NodeLayout, NodeType, NodeView, Project
from gns3server_v2.making import ALSO_TAKEN
from gns3server_v2.names import ALWAYS_STARTED, COMPUTE, STATUS, wire_type
from gns3server_v2.pictures import dimensions, symbol_id
from gns3server_v2.ports import ports_of
from gns3server_v2.state import ProjectState, ServerState

FILE_NAME = "project.gns3"
"""The file in a project's directory that describes it in words that other servers read."""

IMAGES = "images/"
"""Where an archive holds images, below the directory of their kind."""

SNAPSHOTS, SUFFIX = "snapshots/", ".gns3project"
"""Where an archive holds snapshots, and how names of archives end."""

UNNAMED = "unnamed"

PROJECT_VALUES: Mapping[str, Any] = {
    "auto_open": False,
    "auto_close": True,
    "auto_start": False,
    "scene_width": 2000,
    "scene_height": 1000,
    "zoom": 100,
    "show_layers": False,
    "snap_to_grid": False,
    "show_grid": False,
    "grid_size": 75,
    "drawing_grid_size": 25,
    "show_interface_labels": False,
    "supplier": None,
    "variables": None,
}
"""The values that a project has in this API alone, with what they are in a new one."""


def project_object(
    project_id: str, name: str | None, path: str, status: str, values: Mapping[str, Any]
) -> dict[str, Any]:
    """A project, open or not.

    :param values: its values of :data:`PROJECT_VALUES`, as far as they are known.
    """
    own = {key: values.get(key, default) for key, default in PROJECT_VALUES.items()}
    return {
        "project_id": project_id,
        "name": name or UNNAMED,
        "status": status,
        "path": path,
        "filename": FILE_NAME,
        **own,
    }


def open_project(project: Project, state: ProjectState) -> dict[str, Any]:
    """An open project."""
    values = state.settings or {}
    return project_object(project.id, project.name, str(project.given), "opened", values)


class NodeWording:
    """Words nodes for clients that reach the server by one name.

    :param host: that name; consoles are there if they listen on all addresses.
    """

    def __init__(self, state: ServerState, host: str) -> None:
        self._state = state
        console_host = state.server.settings.console_host
        self._console_host = host if _is_wildcard(console_host) else console_host

    def _size(self, symbol: str, kept: Mapping[str, Any]) -> tuple[int, int]:
        """Width and height of a node: as its file says, or those of its symbol."""
        given = [kept.get("file", {}).get(name) for name in ("width", "height")]
        if all(isinstance(number, int) for number in given):
            return given[0], given[1]
        return self._state.symbols.sizes.get(symbol) or dimensions(symbol)

    @property
    def types(self) -> Mapping[str, NodeType]:
        """The node types that plugins of this server offer, by name."""
        return self._state.server.registry.node_types

    def node(self, project: Project, view: NodeView) -> dict[str, Any]:
        """A node of an open project."""
        state, kind = self._state.peek(project.id), self.types.get(view.type)
        place, kept = state.place(project, view), state.nodes.get(view.id, {})
        lasting = self.lasting(
            (view.id, view.type, view.name),
            kept,
            console=view.console,
            properties=view.properties,
            place=place,
        )
        return {
            **lasting,
            "properties": {**lasting["properties"], **view.runs_with},
            "project_id": view.project_id,
            "status": self._status(view, kind, lasting["node_type"]),
            "console_host": self._console_host,
            "command_line": shlex.join(view.command),
            "node_directory": str(view.directory),
            "ports": self.ports(project, view),
        }

    def lasting(
        self,
        told: tuple[str, str, str],
        kept: Mapping[str, Any],
        *,
        console: int | None,
        properties: Mapping[str, Any],
        place: NodeLayout,
    ) -> dict[str, Any]:
        """What a node is wherever it is, and whether it runs or not.

        :param told: its id, type and name.
        :param kept: what clients have said of it, and only they know.
        :param properties: what its plugin says of it.
        """
        node_id, type_name, name = told
        kind = self.types.get(type_name)
        known = with_own(kept, properties)
        special = {key: value for key, value in properties.items() if key not in ALSO_TAKEN}
        symbol = place.symbol or default_symbol(kind)
        width, height = self._size(symbol, kept)
        return {
            "node_id": node_id,
            "compute_id": COMPUTE,
            "template_id": kept.get("template_id"),
            "node_type": wire_type(type_name, kind),
            "name": name,
            "console": console if kind is not None else kept.get("console"),
            "console_type": console_type(kind, known),
            "console_auto_start": kept.get("console_auto_start", False),
            "properties": properties_of(type_name, special, kind, kept),
            "label": label_of(name, place),
            "x": round(place.x),
            "y": round(place.y),
            "z": round(place.z),
            "locked": kept.get("locked", False),
            "width": width,
            "height": height,
            "symbol": symbol,
            "port_name_format": kept.get("port_name_format", "Ethernet{0}"),
            "port_segment_size": kept.get("port_segment_size", 0),
            "first_port_name": kept.get("first_port_name"),
            "custom_adapters": known.get("custom_adapters", []),
        }

    def ports(self, project: Project, view: NodeView) -> list[dict[str, Any]]:
        """The ports of a node."""
        state, kind = self._state.peek(project.id), self.types.get(view.type)
        kept = with_own(state.nodes.get(view.id, {}), view.properties)
        return ports_of(view, kind, kept, () if kind else self._used(project, view))

    def _used(self, project: Project, view: NodeView) -> list[tuple[int, int]]:
        ends = (end for link in project.links for end in link.ends)
        return [end.place for end in ends if end.node_id == view.id]

    def _status(self, view: NodeView, kind: NodeType | None, word: str) -> str:
        always = word in ALWAYS_STARTED if kind is None else kind.always_on
        return "started" if always else STATUS[view.state]


def with_own(kept: Mapping[str, Any], properties: Mapping[str, Any]) -> dict[str, Any]:
    """What is kept of a node for clients, as its type has it where it knows that too."""
    return {**kept, **{key: properties[key] for key in ALSO_TAKEN if key in properties}}


def _is_wildcard(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False


def default_symbol(kind: NodeType | None) -> str:
    """The symbol of a node that clients have given none."""
    return symbol_id("computer" if kind is None else kind.presentation.symbol)


def console_type(kind: NodeType | None, kept: Mapping[str, Any]) -> str:
    """What a client needs to open a node's console."""
    if kind is None:
        return str(kept.get("console_type") or "none")
    if not kind.console:
        return "none"
    return str(kept.get("console_type") or "telnet")


PLATFORM = {"platform": "c3725"}
"""What clients need to know of a router, if its file does not say it."""


def properties_of(
    type_name: str,
    properties: Mapping[str, Any],
    kind: NodeType | None,
    kept: Mapping[str, Any],
) -> dict[str, Any]:
    """What is special about a node: as clients have said it, and as its plugin says it now."""
    said: dict[str, Any] = kept.get("properties", {})
    if type_name == "dynamips":
        said = {**PLATFORM, **said}
    return said if kind is None else {**said, **properties}


def label_of(name: str, place: NodeLayout) -> dict[str, Any]:
    """How a node's name is written; its text is always the name."""
    usual = {"x": None, "y": -40, "rotation": 0, "style": None}
    return {**usual, **place.label, "text": name}
