"""What is done to nodes, each operation as a whole; for who is alone with the node."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from gns3server.errors import Conflict
from gns3server.nodes.nio import Nio
from gns3server.nodes.node import Node
from gns3server.ports import Use
from gns3server.storage.rows import NodeRow


async def start(node: Node) -> None:
    """Bring a node up; one that is up is left alone.

    :raises Conflict: it did not come up; everything is as before.
    """
    await node.start()


async def stop(node: Node) -> None:
    """Bring a node down, and return when all that ran for it is gone; needs no disk."""
    await node.stop()


async def reload(node: Node) -> None:
    """Stop a node, then start it."""
    await stop(node)
    await start(node)


async def update(node: Node, values: Mapping[str, Any]) -> None:
    """Apply a validated update body: all of it, or nothing.

    :raises Conflict: the console port is taken, or the plugin refuses.
    :raises StorageFailed: the change could not be written.
    """
    prepared = await node.prepare(values)
    row = node.row(
        name=values.get("name") or node.name,
        console=values.get("console") or node.console,
        properties={**node.properties, **prepared.properties},
    )
    ports, holder = node.project.machine.ports.tcp, node.holder(Use.CONSOLE)
    async with node.project.change() as change:
        if row.console is not None and row.console != node.console:
            ports.hold(row.console, holder)
            change.undo(partial(ports.release, row.console, holder))
            if node.console is not None:
                change.then(partial(ports.release, node.console, holder))
        change.save_node(row, prepared.files, node.directory)
        change.then(partial(_take, node, row))


def _take(node: Node, row: NodeRow) -> None:
    node.name, node.console, node.properties = row.name, row.console, dict(row.properties)


async def add_nio(node: Node, adapter: int, port: int, nio: Nio) -> None:
    """Plug a NIO in, replacing the one that is there. A running node gets it at its next start.

    :raises Conflict: the type does not fit the node, the port is taken, or
        the NIO type's own check refuses.
    """
    place = _place(node, adapter, port)
    if nio.type not in node.type.nio_types:
        takes = ", ".join(node.type.nio_types) or "none at all"
        raise Conflict(
            f"NIO of type {nio.type} is not supported by {node.title}: it takes {takes}."
        )
    nio_type = node.project.nio_type(nio.type)
    if nio_type.check is not None:
        await nio_type.check(nio.values)
    async with node.project.change() as change:
        node.wiring.replace(change, place, nio)


async def remove_nio(node: Node, adapter: int, port: int) -> None:
    """Unplug what is there; nothing there is fine.

    :raises Conflict: the node has no such adapter or port.
    """
    place = _place(node, adapter, port)
    if place in node.wiring.nios:
        async with node.project.change() as change:
            node.wiring.replace(change, place, None)


def _place(node: Node, adapter: int, port: int) -> tuple[int, int]:
    """Where a NIO goes that a request wants at this adapter and port.

    :raises Conflict: the node has no such adapter or port.
    """
    if node.type.adapters is None:
        adapter = 0
    elif adapter >= node.type.adapters:
        raise Conflict(
            f"{node.title} has no adapter {adapter}: its adapters are numbered "
            f"0 to {node.type.adapters - 1}."
        )
    if port >= node.type.ports:
        raise Conflict(
            f"{node.title} has no port {port} on adapter {adapter}: "
            f"ports are numbered 0 to {node.type.ports - 1}."
        )
    return adapter, port
