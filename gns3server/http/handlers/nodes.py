"""The standard routes that every node type gets."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from gns3server.http.nio_shapes import NIO
from gns3server.http.routing import Call, Route, Scope
from gns3server.nodes.nio import Nio
from gns3server.nodes.node_type import NodeType

STORAGE = {507: "The records cannot be written"}


async def create(node_type: NodeType, call: Call) -> Mapping[str, Any]:
    """Create a node, or return the one that has the id."""
    node = await call.project.nodes.create(node_type, call.body)
    return await node.snapshot()


async def list_nodes(node_type: NodeType, call: Call) -> list[Mapping[str, Any]]:
    """All nodes of one type in a project."""
    nodes = [node for node in call.project.nodes if node.type is node_type]
    return [await node.snapshot() for node in nodes]


async def show(call: Call) -> Mapping[str, Any]:
    """One node."""
    return await call.node.snapshot()


async def update(call: Call) -> Mapping[str, Any]:
    """Change a node, all of it or nothing."""
    await call.node.update(call.body)
    return await call.node.snapshot()


async def delete(call: Call) -> None:
    """Stop a node and forget it."""
    await call.project.nodes.delete(call.node)


async def start(call: Call) -> None:
    """Start a node; the answer comes when it is ready."""
    await call.node.start()


async def stop(call: Call) -> None:
    """Stop a node; the answer comes when all its processes are gone."""
    await call.node.stop()


async def reload(call: Call) -> None:
    """Stop a node and start it again."""
    await call.node.reload()


async def add_nio(call: Call) -> Mapping[str, Any]:
    """Plug a NIO in."""
    values = dict(call.body)
    nio = Nio(values.pop("type"), values)
    await call.node.add_nio(call.path["adapter_number"], call.path["port_number"], nio)
    return nio.wire()


async def remove_nio(call: Call) -> None:
    """Unplug a NIO."""
    await call.node.remove_nio(call.path["adapter_number"], call.path["port_number"])


def node_routes(node_type: NodeType) -> tuple[Route, ...]:
    """The v1 routes of a node type (contract 2.6)."""
    nodes = f"/v1/projects/{{project_id}}/{node_type.name}/vms"
    node = nodes + "/{vm_id}"
    nio = node + r"/adapters/{adapter_number:\d+}/ports/{port_number:\d+}/nio"
    title, shape = node_type.title, node_type.object_schema
    on_node = partial(Route, scope=Scope.NODE, node_type=node_type.name, tag=node_type.name)
    did_not_start = {409: "It cannot start as it is, or its process did not come up", **STORAGE}
    return (
        Route(
            method="POST",
            path=nodes,
            handler=partial(create, node_type),
            status=201,
            scope=Scope.PROJECT,
            creates=True,
            tag=node_type.name,
            summary=f"Create a {title}",
            body=node_type.create_schema,
            answer=shape,
            errors={409: "The id, the console port or the project's room is taken", **STORAGE},
        ),
        Route(
            method="GET",
            path=nodes,
            handler=partial(list_nodes, node_type),
            changes=False,
            scope=Scope.PROJECT,
            tag=node_type.name,
            summary=f"Every {title} of a project",
            answer=shape,
            many=True,
        ),
        on_node(
            method="GET",
            path=node,
            handler=show,
            changes=False,
            summary=f"One {title}",
            answer=shape,
        ),
        on_node(
            method="PUT",
            path=node,
            handler=update,
            summary=f"Change a {title}",
            body=node_type.update_schema,
            answer=shape,
            errors={409: "The console port is taken", **STORAGE},
        ),
        on_node(
            method="DELETE",
            path=node,
            handler=delete,
            status=204,
            errors=STORAGE,
            summary=f"Stop a {title} and delete it",
        ),
        on_node(
            method="POST",
            path=f"{node}/start",
            handler=start,
            status=204,
            errors=did_not_start,
            summary=f"Start a {title}",
        ),
        on_node(
            method="POST", path=f"{node}/stop", handler=stop, status=204, summary=f"Stop a {title}"
        ),
        on_node(
            method="POST",
            path=f"{node}/reload",
            handler=reload,
            status=204,
            errors=did_not_start,
            summary=f"Stop a {title} and start it again",
        ),
        on_node(
            method="POST",
            path=nio,
            handler=add_nio,
            status=201,
            body=NIO,
            answer=NIO,
            errors={409: "There is no such port, or the NIO cannot be plugged in", **STORAGE},
            summary=f"Plug a NIO into a {title}",
        ),
        on_node(
            method="DELETE",
            path=nio,
            handler=remove_nio,
            status=204,
            errors={409: "There is no such port", **STORAGE},
            summary=f"Unplug a NIO of a {title}",
        ),
    )
