"""The operations on nodes, each as a whole. The caller must hold the node's lock."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager
from functools import partial
from typing import Any

from gns3server.errors import Conflict, LabError
from gns3server.nodes.nio import Nio
from gns3server.nodes.node import Change, Node, check_properties
from gns3server.nodes.node_type import RESET
from gns3server.nodes.states import NodeState, check_move
from gns3server.ports import Use
from gns3server.storage.change import ProjectChange
from gns3server.storage.rows import NodeRow

log = logging.getLogger(__name__)


@contextmanager
def _logged(message: str, node: Node) -> Iterator[None]:
    """Log an error that ends the block, and raise nothing."""
    try:
        yield
    except Exception:
        log.exception(message, node.id)


async def settle(node: Node) -> None:
    """Take note of what has happened to a node on its own, before a request works on it.

    If its plugin fails here, the node can still be stopped or deleted: only requests that need
    the plugin are told.
    """
    try:
        if node.calls.is_overridden("settle"):
            await node.calls.settle()
    finally:
        await node.note_end()


async def show(node: Node) -> dict[str, Any]:
    """What answers show of a node.

    :raises Unavailable: its plugin does not answer.
    """
    node.calls.check()
    return await node.shown()


# Its life ---------------------------------------------------------------------------


async def start(node: Node) -> None:
    """Bring a node up; one that is up is left alone, and a suspended one goes on.

    :raises Conflict: it did not come up; everything is as before.
    """
    node.calls.check()
    if node.state is NodeState.SUSPENDED:
        await _switch(node, NodeState.STARTED, "resume", "started", undo="suspend")
    elif node.state is not NodeState.STARTED:
        check_move(node.name, node.state, NodeState.STARTING)
        node.wiring.note_start()
        await node.bring_up()


async def stop(node: Node) -> None:
    """Bring a node down, and return when all that ran for it is gone; needs no disk.

    A node that is down is left alone, and so is one that is always on.

    :raises gns3server.errors.LabError: its plugin failed; the node is down all the same.
    """
    if not node.type.always_on:
        await end(node)


async def end(node: Node) -> None:
    """Bring a node down, even one that is always on; see :func:`stop`."""
    await settle(node)
    if node.state is not NodeState.STOPPED:
        await node.bring_down()


async def end_anyway(node: Node) -> None:
    """Bring down a node that is about to be removed. Failures are logged."""
    with _logged("VM %s was not stopped cleanly", node):
        await end(node)


async def reload(node: Node) -> None:
    """Stop a node, then start it; or reset it in place, if its type has that.

    :raises Conflict: it did not come up, or cannot be reset now.
    """
    if RESET in node.type.capabilities:
        node.calls.check()
        if node.state is not NodeState.STOPPED:
            await node.calls.run("reset")
        return
    await end(node)
    await start(node)


async def suspend(node: Node) -> None:
    """Freeze a started node; one that is suspended or stopped is left alone.

    :raises Conflict: that is not possible now.
    """
    if node.state is NodeState.STOPPED:
        node.calls.check()
        return
    await _switch(node, NodeState.SUSPENDED, "suspend", "suspended", undo="resume")


async def resume(node: Node) -> None:
    """Let a suspended node continue; a started one is left alone.

    :raises Conflict: it is stopped, or that is not possible now.
    """
    if node.state is NodeState.STOPPED:
        raise Conflict(f"{node.title} is stopped and cannot be resumed: start it instead.")
    await _switch(node, NodeState.STARTED, "resume", "resumed", undo="suspend")


async def _switch(node: Node, state: NodeState, method: str, word: str, *, undo: str) -> None:
    node.calls.check()
    if node.state is state:
        return
    check_move(node.name, node.state, state)
    async with AsyncExitStack() as undoing:
        await node.calls.run(method)
        undoing.push_async_callback(node.calls.run, undo)
        async with node.project.change() as change:
            node.record_state(change, state)
            change.then(partial(node.move, state))
            change.tell(await node.event(word, state=state))
        undoing.pop_all()


# Coming and going --------------------------------------------------------------------


async def finish_creation(node: Node) -> None:
    """Tell a node's plugin that the node was created, and start a node that is always on.

    Failures are logged and told to listeners: the node exists all the same.
    """
    if node.fresh:
        with _logged("VM %s was created, although its plugin failed", node):
            await node.calls.run("created")
            async with node.project.change() as change:
                change.settle_node(node.id)
                change.then(partial(setattr, node, "fresh", False))
    if node.type.always_on:
        await start_always_on(node)


async def start_always_on(node: Node) -> None:
    """Start a node that is always on and not up. If that fails, listeners are told why."""
    try:
        await start(node)
    except Exception as error:
        reason = error.message if isinstance(error, LabError) else "The server's log says why."
        log.exception("VM %s was not started", node.id)
        await node.project.report(node.id, f"{node.title} is not up: {reason}")


async def take_up(node: Node) -> None:
    """Let a node's plugin continue with what an earlier server left started.

    A node without a process is stopped if its plugin fails here.
    """
    try:
        await node.calls.run("adopted")
    except Exception:
        log.exception("the plugin of VM %s could not continue with it", node.id)
        await node.taken_up_in_vain()


async def forget(node: Node) -> None:
    """Bring down a node that is being deleted, and tell its plugin; failures never prevent it."""
    node.being_deleted = True
    await end_anyway(node)
    with _logged("VM %s is deleted, although its plugin failed", node):
        await node.calls.run("deleted")


async def leave(node: Node) -> None:
    """Leave what still runs for a node alone: the node leaves memory. Failures are logged."""
    with _logged("VM %s was not released cleanly", node):
        await node.calls.run("leave")
    await node.let_go()


# Changes -----------------------------------------------------------------------------


def nothing_else(_change: ProjectChange) -> None:
    """Change nothing besides the node."""


async def update(
    node: Node,
    values: Mapping[str, Any],
    join: Callable[[ProjectChange], None] = nothing_else,
) -> dict[str, Any]:
    """Apply a validated update body: all of it, or nothing.

    :param join: adds to the change.
    :returns: what answers show of the node afterwards.
    :raises Conflict: the console port is taken, or the plugin refuses.
    :raises StorageFailed: the change could not be written.
    """
    node.calls.check()
    prepared = await node.calls.run("prepare", values, expect=Change)
    row = node.row(
        name=values.get("name") or node.name,
        console=values.get("console") or node.console,
        properties={**node.properties, **prepared.properties},
    )
    check_properties(node, row.properties)
    ports, holder = node.machine.ports.tcp, node.holder(Use.CONSOLE)
    async with node.project.change() as change:
        if row.console is not None and row.console != node.console:
            ports.hold(row.console, holder)
            change.undo(partial(ports.release, row.console, holder))
            change.then(partial(ports.release, node.console, holder))
        change.save_node(row, prepared.files, node.directory)
        change.then(partial(_take, node, row))
        join(change)
    shown = await node.shown()
    async with node.project.change(fact=True) as change:
        change.tell(node.view_event("updated", shown))
    await node.calls.run("updated")
    return shown


def _take(node: Node, row: NodeRow) -> None:
    node.name, node.console, node.properties = row.name, row.console, dict(row.properties)


async def add_nio(node: Node, adapter: int, port: int, nio: Nio) -> None:
    """Plug a NIO in, replacing any that is there.

    A running node gets it before this returns if its type can do that, else at its next start.

    :raises Conflict: the type does not fit the node, the port is taken, or
        the NIO type's own check or the node refuses.
    """
    place = place_of(node, adapter, port)
    node.wiring.check_unlinked(place, node.title)
    if nio.type not in node.type.nio_types:
        takes = ", ".join(node.type.nio_types) or "none"
        raise Conflict(
            f"NIO of type {nio.type} is not supported by {node.title}: it takes {takes}."
        )
    await check_nio(node, nio)
    await _rewire(node, place, nio)


async def check_nio(node: Node, nio: Nio) -> None:
    """Have its plugin check a NIO that is to be plugged into a node.

    :raises Conflict: no plugin offers its type, or it could not work there.
    """
    nio_type = node.project.nio_type(nio.type)
    if nio_type.check is not None:
        plugin, what = node.project.plugin_of(nio.type), f"the check of {nio.type}"
        await node.calls.run_function(plugin, what, nio_type.run_check, nio.values, node.machine)


async def remove_nio(node: Node, adapter: int, port: int) -> None:
    """Unplug what is there; it is fine if nothing is.

    :raises Conflict: the node has no such adapter or port, or refuses.
    """
    place = (0 if node.adapters is None else adapter, port)
    # A NIO on an adapter or port that the node no longer has can still be taken out.
    node.wiring.check_unlinked(place, node.title)
    if place in node.nios or place_of(node, adapter, port) in node.nios:
        await _rewire(node, place, None)


async def _rewire(node: Node, place: tuple[int, int], nio: Nio | None) -> None:
    node.calls.check()
    await node.calls.run("wire_changing", *place, nio)
    async with node.project.change() as change:
        node.wiring.replace(change, place, nio)
    await node.calls.run("wire_changed", *place, nio)


def place_of(node: Node, adapter: int, port: int) -> tuple[int, int]:
    """Where a NIO goes when a request names this adapter and port.

    :raises Conflict: the node has no such adapter or port.
    """
    if node.adapters is None:
        adapter = 0
    elif adapter >= node.adapters:
        has = f"they are numbered 0 to {node.adapters - 1}" if node.adapters else "it has none"
        raise Conflict(f"{node.title} has no adapter {adapter}: {has}.")
    if port >= node.ports:
        raise Conflict(
            f"{node.title} has no port {port} on adapter {adapter}: "
            f"ports are numbered 0 to {node.ports - 1}."
        )
    return adapter, port
