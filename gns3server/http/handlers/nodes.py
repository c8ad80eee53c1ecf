"""The standard routes that every node type gets."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from functools import partial
from typing import Any

from gns3server.http.lists import LongList, gather
from gns3server.http.nio_shapes import NIO
from gns3server.http.routing import Call, Route, Scope
from gns3server.http.schemas import NodeShapes
from gns3server.nodes import lifecycle
from gns3server.nodes.nio import Nio
from gns3server.nodes.node_type import RESET, NodeType
from gns3server.nodes.states import NodeState


async def create(node_type: NodeType, call: Call) -> Mapping[str, Any]:
    """Create a node, or show the one that already has the id.

    A node restored from disk takes the first such body as an update, which is how clients
    reopen a project (contract 2.6).
    """
    nodes, values = call.project.members, call.body
    node = nodes.find(values.get("id"))
    if node is None or node.type is not node_type:
        node = await nodes.create(node_type, values)
    else:
        await lifecycle.settle(node)
        if node.restored and node.state is NodeState.STOPPED:
            await lifecycle.update(node, values)
            node.restored = False
    return await lifecycle.show(node)


async def list_nodes(node_type: NodeType, call: Call) -> list[Mapping[str, Any]] | LongList:
    """All nodes of one type in a project."""
    nodes = [node for node in call.project.members if node.type is node_type]

    async def shown() -> AsyncIterator[Mapping[str, Any]]:
        for node in nodes:
            yield await node.shown()

    return await gather(shown())


async def show(call: Call) -> Mapping[str, Any]:
    """One node."""
    return await lifecycle.show(call.node)


async def update(call: Call) -> Mapping[str, Any]:
    """Change a node: everything that is given, or nothing."""
    return await lifecycle.update(call.node, call.body)


async def delete(call: Call) -> None:
    """Stop a node and forget it."""
    await call.project.members.delete(call.node)


async def start(call: Call) -> None:
    """Start a node; the answer comes when it is ready."""
    await lifecycle.start(call.node)


async def stop(call: Call) -> None:
    """Stop a node; the answer comes when all its processes are gone."""
    await lifecycle.stop(call.node)


async def reload(call: Call) -> None:
    """Stop a node and start it again, or reset it in place."""
    await lifecycle.reload(call.node)


async def suspend(call: Call) -> None:
    """Freeze a node."""
    await lifecycle.suspend(call.node)


async def resume(call: Call) -> None:
    """Let a frozen node go on."""
    await lifecycle.resume(call.node)


async def add_nio(call: Call) -> Mapping[str, Any]:
    """Plug a NIO in."""
    values = dict(call.body)
    nio = Nio(values.pop("type"), values)
    place = call.path["adapter_number"], call.path["port_number"]
    await lifecycle.add_nio(call.node, *place, nio)
    return nio.wire()


async def remove_nio(call: Call) -> None:
    """Unplug a NIO."""
    place = call.path["adapter_number"], call.path["port_number"]
    await lifecycle.remove_nio(call.node, *place)


STORAGE = {507: "The records cannot be written"}
DID_NOT_START = {409: "It cannot start as it is, or its process did not come up", **STORAGE}


def node_routes(node_type: NodeType) -> tuple[Route, ...]:
    """The v1 routes of a node type (contract 2.6)."""
    nodes = f"/v1/projects/{{project_id}}/{node_type.name}/vms"
    node = nodes + "/{vm_id}"
    nio = node + r"/adapters/{adapter_number:\d+}/ports/{port_number:\d+}/nio"
    in_project = partial(Route, path=nodes, scope=Scope.PROJECT, tag=node_type.name)
    on_node = partial(Route, scope=Scope.NODE, node_type=node_type.name, tag=node_type.name)
    action = partial(on_node, method="POST", status=204)
    shapes = NodeShapes.of(node_type)
    suspending = _suspend_routes(action, node, node_type.title)
    return (
        *_collection_routes(in_project, node_type, shapes),
        *_object_routes(partial(on_node, path=node), node_type, shapes),
        *_action_routes(action, node, node_type),
        *(suspending if "suspend" in node_type.capabilities else ()),
        *_nio_routes(partial(on_node, path=nio), node_type.title),
    )


def _collection_routes(
    route: Callable[..., Route], node_type: NodeType, shapes: NodeShapes
) -> tuple[Route, ...]:
    return (
        route(
            method="POST",
            handler=partial(create, node_type),
            status=201,
            creates=True,
            summary=f"Create a {node_type.title}",
            body=shapes.create,
            answer=shapes.shown,
            errors={409: "The id, the console port or the project's room is taken", **STORAGE},
        ),
        route(
            method="GET",
            handler=partial(list_nodes, node_type),
            changes=False,
            summary=f"Every {node_type.title} of a project",
            answer=shapes.shown,
            many=True,
        ),
    )


def _object_routes(
    route: Callable[..., Route], node_type: NodeType, shapes: NodeShapes
) -> tuple[Route, ...]:
    return (
        route(
            method="GET",
            handler=show,
            changes=False,
            summary=f"One {node_type.title}",
            answer=shapes.shown,
        ),
        route(
            method="PUT",
            handler=update,
            summary=f"Change a {node_type.title}",
            body=shapes.update,
            answer=shapes.shown,
            errors={409: "The console port is taken", **STORAGE},
        ),
        route(
            method="DELETE",
            handler=delete,
            neighbours_too=True,
            status=204,
            errors=STORAGE,
            summary=f"Stop a {node_type.title} and delete it",
        ),
    )


def _action_routes(
    route: Callable[..., Route], node: str, node_type: NodeType
) -> tuple[Route, ...]:
    title = node_type.title
    again = f"Reset a {title}" if RESET in node_type.capabilities else None
    return (
        route(
            path=f"{node}/start", handler=start, errors=DID_NOT_START, summary=f"Start a {title}"
        ),
        route(path=f"{node}/stop", handler=stop, summary=f"Stop a {title}"),
        route(
            path=f"{node}/reload",
            handler=reload,
            errors=DID_NOT_START,
            summary=again or f"Stop a {title} and start it again",
        ),
    )


def _suspend_routes(route: Callable[..., Route], node: str, title: str) -> tuple[Route, ...]:
    return (
        route(
            path=f"{node}/suspend",
            handler=suspend,
            errors={409: "That is not possible now", **STORAGE},
            summary=f"Freeze a {title}; one that is stopped is left alone",
        ),
        route(
            path=f"{node}/resume",
            handler=resume,
            errors={409: "It is stopped, or that is not possible now", **STORAGE},
            summary=f"Let a frozen {title} go on",
        ),
    )


def _nio_routes(route: Callable[..., Route], title: str) -> tuple[Route, ...]:
    return (
        route(
            method="POST",
            handler=add_nio,
            status=201,
            body=NIO,
            answer=NIO,
            errors={409: "There is no such port, or the NIO cannot be plugged in", **STORAGE},
            summary=f"Plug a NIO into a {title}",
        ),
        route(
            method="DELETE",
            handler=remove_nio,
            status=204,
            errors={409: "There is no such port", **STORAGE},
            summary=f"Unplug a NIO of a {title}",
        ),
    )
