"""Everything a plugin may import from the server.

A plugin uses ``from gns3server.plugin import ...`` and no other module: anything not
listed here may change without notice. See :mod:`gns3server.hookspecs` for the hooks.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from gns3server.consoles.stage import DemoStage
from gns3server.consoles.stream import ConsoleStream
from gns3server.errors import (
    BodyTooLarge,
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
from gns3server.http.console_messages import show_console
from gns3server.http.endless import Ending
from gns3server.http.families import ErrorShape, FailedRequest, StaticFiles
from gns3server.http.handlers.files import send_file
from gns3server.http.handlers.images import image_routes
from gns3server.http.handlers.links import send_capture
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
from gns3server.links.filters import FILTERS, Filter, Parameter
from gns3server.links.link import CaptureView, LinkEnd, LinkView
from gns3server.nodes.nio import Nio, NioType
from gns3server.nodes.node import Change, Node
from gns3server.nodes.node_type import NodeType, TextFile
from gns3server.nodes.presentation import Presentation
from gns3server.nodes.process_node import ProcessNode
from gns3server.nodes.states import NodeState
from gns3server.nodes.store import Store
from gns3server.nodes.view import LayoutView, NodeView
from gns3server.projects.archive import Archive, ArchivedFile
from gns3server.projects.arriving import Arrived, StagedProject
from gns3server.projects.file_api import Files
from gns3server.projects.layout import Layout
from gns3server.projects.link_api import Links
from gns3server.projects.manager import ProjectEntry, ProjectManager
from gns3server.projects.node_api import Nodes
from gns3server.projects.project import Project
from gns3server.projects.snapshot_view import SnapshotView
from gns3server.projects.snapshots import Snapshots
from gns3server.running import network, tools
from gns3server.running.console import Console, Farewell, TerminalInput
from gns3server.running.helper_client import HelperClient, HelperFailed
from gns3server.running.machine import FileStamp, Machine
from gns3server.running.spec import LaunchSpec, Port
from gns3server.running.tools import ToolFailed, ToolResult
from gns3server.server import Server
from gns3server.settings.fields import PathText
from gns3server.storage.rows import NodeLayout
from gns3server.supervision.supervised_run import SupervisedRun

P = ParamSpec("P")
T = TypeVar("T")

API_VERSION = (1, 1)
"""Version of this module: the first number changes when something is removed, the
second when something is added.
"""

__all__ = [
    "API_VERSION",
    "FILTERS",
    "Archive",
    "ArchivedFile",
    "Arrived",
    "BodyTooLarge",
    "Call",
    "CaptureView",
    "Change",
    "Conflict",
    "Console",
    "ConsoleStream",
    "DemoStage",
    "Ending",
    "ErrorShape",
    "Event",
    "FailedRequest",
    "Farewell",
    "FileStamp",
    "Files",
    "Filter",
    "Forbidden",
    "HelperClient",
    "HelperFailed",
    "ImageKind",
    "Images",
    "InvalidRequest",
    "LabError",
    "LaunchSpec",
    "Layout",
    "LayoutView",
    "LinkEnd",
    "LinkView",
    "Links",
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
    "Parameter",
    "PathText",
    "Port",
    "Presentation",
    "ProcessNode",
    "Project",
    "ProjectEntry",
    "ProjectManager",
    "QueryParameter",
    "Route",
    "Scope",
    "Server",
    "SnapshotView",
    "Snapshots",
    "StagedProject",
    "StaticFiles",
    "StorageFailed",
    "Store",
    "StrictBoolean",
    "SupervisedRun",
    "TerminalInput",
    "Text",
    "TextFile",
    "ToolFailed",
    "ToolResult",
    "Unavailable",
    "UuidText",
    "WebSocket",
    "hookimpl",
    "image_routes",
    "name_field",
    "port_field",
    "raw_body",
    "send_capture",
    "send_file",
    "show_console",
]


def _of_machine(function: Callable[P, T]) -> Callable[P, T]:
    """A function of before there were other machines; to go with 0.3."""
    name = function.__name__

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        warn_of_old_name(f"gns3server.plugin.{name}", f"Machine.{name}")
        return function(*args, **kwargs)

    return call


find_program = _of_machine(tools.find_program)
is_interface_up = _of_machine(network.is_interface_up)
resolve_ipv4 = _of_machine(network.resolve_ipv4)
run_tool = _of_machine(tools.run_tool)


if TYPE_CHECKING:
    Lab = Server
else:

    def __getattr__(name: str) -> type[Server]:
        if name == "Lab":
            warn_of_old_name("gns3server.plugin.Lab", "gns3server.plugin.Server")
            return Server
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
