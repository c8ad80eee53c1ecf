"""A plugin of version 0.1 that uses every name of then that has another one now."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

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


@plugin.hookimpl
def gns3_node_types() -> list[plugin.NodeType]:
    """One type."""
    shapes: dict[str, Any] = {
        "create_schema": OldCreateSchema,
        "update_schema": OldUpdateSchema,
        "object_schema": OldObjectSchema,
    }
    return [plugin.NodeType(name="old", title="old node", node_class=OldNode, **shapes)]


async def look(call: plugin.Call) -> None:
    """Use what a handler could use."""
    lab = call.lab
    assert isinstance(lab, plugin.Lab)
    assert lab.manager.projects is not None
    assert lab.hub.max_listeners > 0
    assert lab.images.path.is_absolute()
    assert not lab.stop.is_set()
    assert lab.config.current == lab.settings


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
