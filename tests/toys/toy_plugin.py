"""A plugin that implements every hook, and nothing but. Tests append faults to its source."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from marshmallow import Schema, fields

from gns3server.plugin import (
    Call,
    NioType,
    Node,
    NodeCreateSchema,
    NodeObjectSchema,
    NodeType,
    NodeUpdateSchema,
    Project,
    Route,
    Server,
    hookimpl,
    port_field,
)


class MineConfigSchema(Schema):
    """The plugin's section."""

    number = fields.Integer(load_default=1)


class MineCreateSchema(NodeCreateSchema):
    """A new node."""


class MineUpdateSchema(NodeUpdateSchema):
    """What can be changed."""


class MineObjectSchema(NodeObjectSchema):
    """A node."""


class NioMineSchema(Schema):
    """A wire."""

    lport = port_field(required=True)


class NumberSchema(Schema):
    """What the plugin's own route answers."""

    number = fields.Integer(required=True)


MINE = NodeType(
    name="mine",
    title="toy",
    node_class=Node,
    create_schema=MineCreateSchema,
    update_schema=MineUpdateSchema,
    object_schema=MineObjectSchema,
    nio_types=("nio_mine",),
)
NIO_MINE = NioType(name="nio_mine", schema=NioMineSchema, local_udp_port="lport")


@hookimpl
def gns3_config_schema() -> type[Schema]:
    """One number."""
    return MineConfigSchema


@hookimpl
def gns3_node_types() -> list[NodeType]:
    """One type."""
    return [MINE]


@hookimpl
def gns3_nio_types() -> list[NioType]:
    """One kind of wire."""
    return [NIO_MINE]


@hookimpl
def gns3_routes(config: Mapping[str, Any]) -> list[Route]:
    """One route, which shows the configuration."""

    async def show(_call: Call) -> Mapping[str, Any]:
        return config

    return [
        Route(
            method="GET",
            path="/v1/number",
            handler=show,
            changes=False,
            summary="The number of the configuration",
            answer=NumberSchema,
        )
    ]


@hookimpl
@asynccontextmanager
async def gns3_lifespan(server: Server) -> AsyncIterator[None]:
    """Nothing to set up."""
    yield


@hookimpl
async def gns3_project_opened(project: Project) -> None:
    """Nothing to note."""


@hookimpl
async def gns3_project_closing(project: Project) -> None:
    """Nothing to note."""


@hookimpl
async def gns3_project_closed(project: Project) -> None:
    """Nothing to note."""


@hookimpl
async def gns3_project_committed(project: Project) -> None:
    """Nothing to note."""
