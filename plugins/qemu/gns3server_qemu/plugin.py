"""The hooks: one node type, its settings, its own kind of wire, and the routes that only it has."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from marshmallow import Schema, fields, validate

from gns3server.plugin import NioType, NodeType, Presentation, Route, Server, hookimpl
from gns3server_qemu.acceleration import KVM
from gns3server_qemu.context import KIND, QemuContext
from gns3server_qemu.node import QemuNode
from gns3server_qemu.routes import context_of, routes
from gns3server_qemu.schemas import (
    NioNatSchema,
    QemuCreateSchema,
    QemuObjectSchema,
    QemuUpdateSchema,
)
from gns3server_qemu.wires import NAT, TAP, UDP


class QemuConfigSchema(Schema):
    """The ``[qemu]`` section of the configuration file. Guests take a change when they start."""

    enable_kvm = fields.Boolean(
        load_default=True,
        metadata={"help": "run guests with KVM where one has booted with it"},
    )
    memory_reserve = fields.Integer(
        load_default=512,
        validate=validate.Range(min=0, max=1_000_000),
        metadata={"help": "megabytes of the machine's memory that guests must leave to it"},
    )
    shutdown_seconds = fields.Integer(
        load_default=30,
        validate=validate.Range(min=1, max=600),
        metadata={"help": "how long a guest has to shut down, or to be saved, when it is stopped"},
    )


@hookimpl
def gns3_config_schema() -> type[Schema]:
    """Whether KVM is used, how much memory guests leave, and how long a shutdown may take."""
    return QemuConfigSchema


@hookimpl
def gns3_node_types(config: Mapping[str, Any]) -> list[NodeType]:
    """Offer one type: a machine with up to 32 network cards."""
    context = QemuContext(config)
    return [
        NodeType(
            name="qemu",
            title="QEMU virtual machine",
            node_class=QemuNode,
            create_schema=QemuCreateSchema,
            update_schema=QemuUpdateSchema,
            object_schema=QemuObjectSchema,
            nio_types=(UDP, TAP, NAT),
            capabilities=frozenset({"suspend", "hot_wiring", "reset"}),
            image_kinds=(KIND,),
            legacy_directory="qemu/vm-{id}",
            examine=context.describe,
            programs={
                "binaries": context.list_emulators,
                "img-binaries": context.list_disk_tools,
            },
            accelerators={KVM: context.list_accelerated},
            # An overlay that is copied while a guest writes to it is no disk.
            copied_while_running=False,
            presentation=Presentation(
                symbol="qemu_guest",
                name_format="QEMU{0}",
                known_as="qemu",
                port_name="Ethernet{1}",
                short_port_name="e{1}",
            ),
            context=context,
        )
    ]


@hookimpl
def gns3_nio_types() -> list[NioType]:
    """Offer QEMU's own network."""
    return [NioType(name=NAT, schema=NioNatSchema)]


@hookimpl
def gns3_routes() -> list[Route]:
    """Images, programs, and what runs for a guest."""
    return routes()


@hookimpl
@asynccontextmanager
async def gns3_lifespan(server: Server) -> AsyncIterator[None]:
    """Remember what was found out about the machine, and leave no work behind."""
    context_of(server).accelerations.remember_in(server.store)
    try:
        yield
    finally:
        await context_of(server).end()
