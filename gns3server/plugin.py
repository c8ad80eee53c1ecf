"""Everything a plugin may import from the server.

A plugin uses ``from gns3server.plugin import ...`` and no other module: anything not
listed here may change without notice. See :mod:`gns3server.hookspecs` for the hooks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gns3server.errors import (
    Conflict,
    Forbidden,
    InvalidRequest,
    LabError,
    NotFound,
    StorageFailed,
    Unavailable,
    warn_of_old_name,
)
from gns3server.events import Event, Listener, LogEntry
from gns3server.files.images import ImageKind, Images
from gns3server.hookspecs import hookimpl
from gns3server.http.bodies import raw_body
from gns3server.http.endless import Ending
from gns3server.http.families import ErrorShape, FailedRequest, StaticFiles
from gns3server.http.handlers.images import image_routes
from gns3server.http.routing import Call, OneOf, QueryParameter, Route, Scope
from gns3server.http.schemas import (
    NodeCreateSchema,
    NodeObjectSchema,
    NodeUpdateSchema,
    StrictBoolean,
    Text,
    UuidText,
    name_field,
    port_field,
)
from gns3server.http.websockets import WebSocket
from gns3server.nodes.machine import Machine
from gns3server.nodes.nio import Nio, NioType, resolve_ipv4
from gns3server.nodes.node import Change, Node
from gns3server.nodes.node_type import NodeType, TextFile
from gns3server.nodes.process_node import ProcessNode
from gns3server.nodes.states import NodeState
from gns3server.nodes.store import Store
from gns3server.nodes.supervised_run import SupervisedRun
from gns3server.nodes.view import LayoutView, NodeView
from gns3server.projects.layout import Layout
from gns3server.projects.manager import ProjectEntry, ProjectManager
from gns3server.projects.node_api import Nodes
from gns3server.projects.project import Project
from gns3server.running.interfaces import is_interface_up
from gns3server.running.spec import LaunchSpec, Port
from gns3server.running.tools import ToolFailed, ToolResult, find_program, run_tool
from gns3server.server import Server
from gns3server.storage.rows import NodeLayout

API_VERSION = (1, 1)
"""Version of this module: the first number changes when something is removed, the
second when something is added.
"""

__all__ = [
    "API_VERSION",
    "Call",
    "Change",
    "Conflict",
    "Ending",
    "ErrorShape",
    "Event",
    "FailedRequest",
    "Forbidden",
    "ImageKind",
    "Images",
    "InvalidRequest",
    "LabError",
    "LaunchSpec",
    "Layout",
    "LayoutView",
    "Listener",
    "LogEntry",
    "Machine",
    "Nio",
    "NioType",
    "Node",
    "NodeCreateSchema",
    "NodeLayout",
    "NodeObjectSchema",
    "NodeState",
    "NodeType",
    "NodeUpdateSchema",
    "NodeView",
    "Nodes",
    "NotFound",
    "OneOf",
    "Port",
    "ProcessNode",
    "Project",
    "ProjectEntry",
    "ProjectManager",
    "QueryParameter",
    "Route",
    "Scope",
    "Server",
    "StaticFiles",
    "StorageFailed",
    "Store",
    "StrictBoolean",
    "SupervisedRun",
    "Text",
    "TextFile",
    "ToolFailed",
    "ToolResult",
    "Unavailable",
    "UuidText",
    "WebSocket",
    "find_program",
    "hookimpl",
    "image_routes",
    "is_interface_up",
    "name_field",
    "port_field",
    "raw_body",
    "resolve_ipv4",
    "run_tool",
]


if TYPE_CHECKING:
    Lab = Server
else:

    def __getattr__(name: str) -> type[Server]:
        if name == "Lab":
            warn_of_old_name("gns3server.plugin.Lab", "gns3server.plugin.Server")
            return Server
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
