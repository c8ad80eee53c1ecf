"""What is done for clients while nobody asks: nodes get places, and computes are told of."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from gns3server.plugin import (
    Event,
    LabError,
    LinkView,
    Listener,
    NodeLayout,
    NodeView,
    SnapshotView,
)
from gns3server_v2.computes import compute_object
from gns3server_v2.drawings import drawing_object
from gns3server_v2.snapshots import snapshot_object
from gns3server_v2.state import KEY, LinkTold, NodeTold, ServerState
from gns3server_v2.wording import open_project

COMPUTE_SECONDS = 1.0
"""How often those who listen to all projects are told how busy the machine is."""


@asynccontextmanager
async def watching(state: ServerState) -> AsyncIterator[None]:
    """Look after the nodes of all projects, and tell of the compute, while the context lasts."""
    with state.server.events() as events:
        tasks = [
            asyncio.create_task(_look_after_nodes(state, events)),
            asyncio.create_task(_tell_of_compute(state)),
        ]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)


async def _look_after_nodes(state: ServerState, events: Listener[Event]) -> None:
    while True:
        async for event in events:
            if isinstance(event.object, LinkView) and event.change == "deleted":
                state.peek(event.project_id).links.pop(event.object.id, None)
            if isinstance(event.object, SnapshotView) and event.change == "restored":
                await _tell_restored(state, event.object)
            if isinstance(event.object, NodeView):
                await _look_at(state, event)
        if not events.fell_behind:
            return
        events.begin_again()


async def _look_at(state: ServerState, event: Event) -> None:
    view, own = event.object, state.peek(event.project_id)
    if event.change == "deleted":
        own.nodes.pop(view.id, None)
    elif event.change == "created" and view.id not in own.nodes:
        await place_node(state, view)


async def place_node(state: ServerState, view: NodeView) -> None:
    """Give a place to a node that another API has made, and keep it."""
    project = state.server.projects.find(view.project_id)
    if project is None:
        return
    own = await state.of(project)
    try:
        known = await project.nodes.store(view.id).get(KEY)
        if known is not None:
            # It has come back with a snapshot.
            own.nodes[view.id] = known
        if view.id in own.nodes:
            return
        async with project.change() as change:
            place = own.place(project, view)
            if project.layout.get(view.id) == NodeLayout():
                project.layout.save(change, view.id, {"x": place.x, "y": place.y, "z": place.z})
            project.nodes.store(view.id).save(change, KEY, {})
            # Until then it is drawn where this place will be.
            change.then(partial(own.nodes.setdefault, view.id, {}))
    except LabError:
        # It has gone meanwhile, or the disk is full: the next opening of the project tries again.
        return


async def _tell_restored(state: ServerState, snapshot: SnapshotView) -> None:
    """Tell all that there is in a project that was brought back to a snapshot."""
    project = state.server.projects.find(snapshot.project_id)
    if project is None:
        return
    own = await state.renew(project)
    tell = state.server.bus.publish
    for node in project.nodes:
        tell(Event(KEY, "node.created", project.id, NodeTold(node.id)))
    for link in project.links:
        tell(Event(KEY, "link.created", project.id, LinkTold(link.id)))
    for drawing_id, kept in own.drawings.items():
        state.tell_project(
            project.id, "drawing.created", drawing_object(project.id, drawing_id, kept)
        )
    state.tell_project(project.id, "snapshot.restored", snapshot_object(snapshot))
    state.tell("project.opened", open_project(project, own))
    renewed, own.renewed = own.renewed, asyncio.Event()
    renewed.set()


async def _tell_of_compute(state: ServerState) -> None:
    while True:
        await asyncio.sleep(COMPUTE_SECONDS)
        if state.listeners:
            state.tell("compute.updated", await compute_object(state))
