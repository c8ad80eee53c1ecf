"""The hooks."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from marshmallow import Schema

from gns3server.plugin import ErrorShape, LabError, Project, Route, Server, hookimpl
from gns3server_v2 import (
    archives,
    computes,
    consoles,
    drawings,
    files,
    images,
    links,
    loading,
    nodes,
    notifications,
    preferences,
    projects,
    snapshots,
    symbols,
    templates,
    version,
    web_client,
)
from gns3server_v2.pictures import own_pictures
from gns3server_v2.saved import remove_file, save
from gns3server_v2.settings import V2ConfigSchema
from gns3server_v2.shapes import ERRORS
from gns3server_v2.state import KEY, enter, leave, state_of
from gns3server_v2.watching import place_node, watching
from gns3server_v2.wording import FILE_NAME, PROJECT_VALUES, open_project

log = logging.getLogger(__name__)

MODULES = (
    version,
    computes,
    projects,
    loading,
    archives,
    snapshots,
    nodes,
    links,
    drawings,
    templates,
    symbols,
    files,
    images,
    consoles,
    notifications,
    preferences,
    web_client,
)


@hookimpl
def gns3_config_schema() -> type[Schema]:
    """What can be set."""
    return V2ConfigSchema


@hookimpl
def gns3_routes() -> list[Route | ErrorShape]:
    """All that clients can ask for."""
    return [ERRORS, *(route for module in MODULES for route in module.ROUTES)]


@hookimpl
@asynccontextmanager
async def gns3_lifespan(server: Server, config: Mapping[str, Any]) -> AsyncIterator[None]:
    """Keep what is known of the server, and look after its projects."""
    await asyncio.to_thread(own_pictures)
    state = enter(server, config)
    state.templates, state.symbols = templates.Templates(state), symbols.Symbols(state)
    await state.symbols.load()
    try:
        async with watching(state):
            yield
    finally:
        leave(server)


@hookimpl
async def gns3_listening(server: Server) -> None:
    """Open the projects that are to be open, and start the nodes that are to run."""
    state = state_of(server)
    for entry in server.projects.list_all():
        shown = await projects.describe(state, entry)
        if shown["auto_open"] and entry.status != "damaged":
            await projects.bring_up(state, entry.id)


@hookimpl
async def gns3_project_opened(project: Project, server: Server) -> None:
    """Take in what is kept of a project, and tell of it."""
    state = state_of(server)
    own = await state.of(project)
    action = "project.opened"
    if own.settings is None:
        action = "project.created"
        own.settings = state.coming.get(project.id, dict(PROJECT_VALUES))
        try:
            await project.store.set(KEY, own.settings)
        except LabError as error:
            # The disk is full, say: the project works, and its next opening tries again.
            log.warning("project %s: its values were not kept: %s", project.id, error)
    state.tell(action, open_project(project, own))
    for view in project.nodes:
        if view.id not in own.nodes:
            await place_node(state, view)


@hookimpl
async def gns3_project_updated(project: Project, server: Server) -> None:
    """Tell of a project's new name."""
    state = state_of(server)
    state.tell("project.updated", open_project(project, await state.of(project)))


@hookimpl
async def gns3_project_closing(project: Project, server: Server) -> None:
    """Write the file that describes the project while it is closed."""
    state = state_of(server)
    await state.of(project)
    await save(state, project)


@hookimpl
async def gns3_project_closed(project: Project, server: Server) -> None:
    """Tell that a project is closed, and perhaps deleted."""
    state = state_of(server)
    shown = {**open_project(project, state.peek(project.id)), "status": "closed"}
    state.forget(project.id)
    state.tell("project.closed", shown)
    if server.projects.entry(project.id) is None:
        # In a directory of the user's own the rest stays: the file was ours.
        await remove_file(Path(project.path) / FILE_NAME)
        state.tell("project.deleted", shown)
