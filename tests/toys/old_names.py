"""A plugin of version 0.1 that uses every name of then that has another one now."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from marshmallow import Schema

from gns3server import plugin


class OldCreateSchema(plugin.NodeCreateSchema):
    """A new node."""


class OldUpdateSchema(plugin.NodeUpdateSchema):
    """What can be changed."""


class OldObjectSchema(plugin.NodeObjectSchema):
    """A node."""


class OldNode(plugin.Node):
    """Tells an event whenever it is shown."""

    async def settle(self) -> None:
        """Tell an event, as plugins of then did."""
        await self.home.announce("vm.started", self)


class OldNioSchema(Schema):
    """A wire that is refused."""


async def check(values: Mapping[str, Any]) -> None:
    """Know of no machine but one."""
    raise plugin.Conflict(f"checked as before: {values}")


@plugin.hookimpl
def gns3_nio_types() -> list[plugin.NioType]:
    """One type."""
    return [plugin.NioType(name="nio_old", schema=OldNioSchema, check=check)]


@plugin.hookimpl
def gns3_node_types() -> list[plugin.NodeType]:
    """One type."""
    shapes: dict[str, Any] = {
        "create_schema": OldCreateSchema,
        "update_schema": OldUpdateSchema,
        "object_schema": OldObjectSchema,
    }
    values: dict[str, Any] = {"node_class": OldNode, "nio_types": ("nio_old",)}
    return [plugin.NodeType(name="old", title="old node", **values, **shapes)]


async def look(call: plugin.Call) -> None:
    """Use what a handler could use."""
    lab = call.lab
    assert isinstance(lab, plugin.Lab)
    assert lab.manager.projects is not None
    assert lab.hub.max_listeners > 0
    assert lab.images.path.is_absolute()
    assert not lab.stop.is_set()
    assert lab.config.current == lab.settings
    program = plugin.find_program("sh", "/bin")
    assert program is not None
    assert (await plugin.run_tool([program, "-c", "echo old"])).output == "old\n"
    assert await plugin.is_interface_up("lo")
    assert await plugin.resolve_ipv4("127.0.0.1") == "127.0.0.1"


@plugin.hookimpl
def gns3_routes() -> list[plugin.Route]:
    """One route."""
    return [
        plugin.Route(
            method="POST", path="/v1/old/look", handler=look, summary="Use old names", status=204
        )
    ]


@plugin.hookimpl
@asynccontextmanager
async def gns3_lifespan(server: plugin.Lab) -> AsyncIterator[None]:
    """Use what a lifespan could use."""
    assert server.manager.machine is not None
    yield
