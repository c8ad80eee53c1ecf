"""The hooks: two node types, their settings, and the routes that only they have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from marshmallow import Schema, fields, validate

from gns3server.plugin import (
    NodeType,
    Presentation,
    Route,
    TextFile,
    hookimpl,
)
from gns3server_linux.frr import FrrNode
from gns3server_linux.holder.wanted import STARTUP
from gns3server_linux.node import LinuxNode
from gns3server_linux.programs import LinuxContext
from gns3server_linux.routes import routes
from gns3server_linux.schemas import (
    FrrCreateSchema,
    FrrObjectSchema,
    FrrUpdateSchema,
    LinuxCreateSchema,
    LinuxObjectSchema,
    LinuxUpdateSchema,
)

SCRIPT = TextFile(name=STARTUP, text="startup_script")


class LinuxConfigSchema(Schema):
    """The ``[linux]`` section of the configuration file. A change counts from the next start on."""

    restart_daemons = fields.Boolean(
        load_default=True, metadata={"help": "start a daemon of FRR again that has ended"}
    )
    most_processes = fields.Integer(
        load_default=500,
        validate=validate.Range(min=301, max=100_000),
        metadata={"help": "processes of one node, threads included"},
    )


@hookimpl
def gns3_config_schema() -> type[Schema]:
    """What becomes of daemons that end, and how many processes a node may have."""
    return LinuxConfigSchema


@hookimpl
def gns3_node_types(config: Mapping[str, Any]) -> list[NodeType]:
    """Offer a host and a router."""
    context = LinuxContext(config)
    return [
        NodeType(
            name="linux",
            title="Linux host",
            presentation=Presentation(
                symbol="computer",
                category="guest",
                name_format="Host{0}",
                port_name="eth{1}",
                short_port_name="eth{1}",
            ),
            node_class=LinuxNode,
            create_schema=LinuxCreateSchema,
            update_schema=LinuxUpdateSchema,
            object_schema=LinuxObjectSchema,
            nio_types=("nio_udp",),
            capabilities=frozenset({"hot_wiring"}),
            text_files=(SCRIPT,),
            examine=context.describe_host,
            context=context,
        ),
        NodeType(
            name="frr",
            title="FRR router",
            presentation=Presentation(
                symbol="router",
                category="router",
                name_format="R{0}",
                port_name="eth{1}",
                short_port_name="eth{1}",
            ),
            node_class=FrrNode,
            create_schema=FrrCreateSchema,
            update_schema=FrrUpdateSchema,
            object_schema=FrrObjectSchema,
            nio_types=("nio_udp",),
            capabilities=frozenset({"hot_wiring"}),
            text_files=(SCRIPT,),
            examine=context.describe_router,
            context=context,
        ),
    ]


@hookimpl
def gns3_routes() -> list[Route]:
    """Show what interfaces have counted, and read and write a router's configuration."""
    return routes()
