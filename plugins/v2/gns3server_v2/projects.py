"""Projects: the same ones that /v1 shows, and the closed ones."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from marshmallow import fields

from gns3server.plugin import (
    Call,
    Conflict,
    NodeState,
    NodeView,
    NotFound,
    Project,
    ProjectEntry,
    Route,
    Server,
)
from gns3server_v2.names import is_id
from gns3server_v2.saved import closed_project, of_closed
from gns3server_v2.shapes import Answer, Flag, Id, Request, Whole, Words
from gns3server_v2.state import KEY, ServerState, state_of
from gns3server_v2.wording import PROJECT_VALUES, open_project

STORAGE = {507: "The records cannot be written"}


class SupplierShape(Request):
    """Who has made a project."""

    logo = Words(allow_none=True)
    url = Words(allow_none=True)


class VariableShape(Request):
    """A word that notes may hold, and what it stands for."""

    name = Words(required=True, least=1)
    value = Words(allow_none=True)


class ProjectUpdate(Request):
    """What is to change about a project."""

    name = Words(least=1)
    auto_open = Flag()
    auto_close = Flag()
    auto_start = Flag()
    scene_width = Whole(least=0)
    scene_height = Whole(least=0)
    zoom = Whole(least=0)
    show_layers = Flag()
    snap_to_grid = Flag()
    show_grid = Flag()
    grid_size = Whole(least=0)
    drawing_grid_size = Whole(least=0)
    show_interface_labels = Flag()
    supplier = fields.Nested(SupplierShape, allow_none=True)
    variables = fields.List(fields.Nested(VariableShape), allow_none=True)


class ProjectRequest(ProjectUpdate):
    """A new project."""

    name = Words(required=True, least=1)
    project_id = Id(allow_none=True)
    path = Words(allow_none=True)


class ProjectAnswer(Answer):
    """A project."""

    project_id = fields.String(required=True)
    name = fields.String(required=True)
    status = fields.String(required=True)
    path = fields.String(required=True)
    filename = fields.String(required=True)
    auto_open = fields.Boolean(required=True)
    auto_close = fields.Boolean(required=True)
    auto_start = fields.Boolean(required=True)
    scene_width = fields.Integer(required=True)
    scene_height = fields.Integer(required=True)
    zoom = fields.Integer(required=True)
    show_layers = fields.Boolean(required=True)
    snap_to_grid = fields.Boolean(required=True)
    show_grid = fields.Boolean(required=True)
    grid_size = fields.Integer(required=True)
    drawing_grid_size = fields.Integer(required=True)
    show_interface_labels = fields.Boolean(required=True)
    supplier = fields.Raw(required=True, allow_none=True)
    variables = fields.Raw(required=True, allow_none=True)


class StatsAnswer(Answer):
    """How many there are of each, in a project."""

    nodes = fields.Integer(required=True)
    links = fields.Integer(required=True)
    drawings = fields.Integer(required=True)
    snapshots = fields.Integer(required=True)


async def describe(state: ServerState, entry: ProjectEntry) -> dict[str, Any]:
    """A project, open or not."""
    project = state.server.projects.find(entry.id)
    if project is None:
        return await closed_project(state, entry)
    return open_project(project, await state.of(project))


def known(server: Server, project_id: str) -> ProjectEntry:
    """A project, open or not.

    :raises NotFound: there is none.
    """
    entry = server.projects.entry(project_id)
    if entry is None:
        raise NotFound(f"This server has no project {project_id:.80}: check the id.")
    return entry


async def check_name(state: ServerState, name: str, beside: str = "") -> None:
    """Refuse a name that a project has.

    :param beside: the id of the project that is to have it.
    :raises Conflict: another project has it.
    """
    for entry in state.server.projects.list_all():
        if entry.id != beside and (await describe(state, entry))["name"] == name:
            raise Conflict(f"There is a project {name!r:.80} already: choose another name.")


async def list_all(call: Call) -> list[Mapping[str, Any]]:
    """All projects."""
    state = state_of(call.server)
    return [await describe(state, entry) for entry in call.server.projects.list_all()]


async def create(call: Call) -> Mapping[str, Any]:
    """Make a project, which is then open."""
    state, body = state_of(call.server), dict(call.body)
    name, path = body.pop("name"), body.pop("path", None)
    project_id = body.pop("project_id", None) or str(uuid.uuid4())
    async with state.naming:
        await check_name(state, name)
        state.coming[project_id] = {**PROJECT_VALUES, **body}
        try:
            project = await call.server.projects.create(
                name=name, project_id=project_id, path=path or None
            )
        finally:
            state.coming.pop(project_id, None)
    return open_project(project, await state.of(project))


async def show(call: Call) -> Mapping[str, Any]:
    """A project."""
    return await describe(state_of(call.server), known(call.server, call.project_id))


async def update(call: Call) -> Mapping[str, Any]:
    """Change a project."""
    state, project, body = state_of(call.server), call.project, dict(call.body)
    own = await state.of(project)
    name = body.pop("name", None)
    old = own.settings
    if body:
        # Before anything is awaited: the next request builds on it.
        new = own.settings = {**(old or PROJECT_VALUES), **body}
        try:
            await project.store.set(KEY, new)
        except BaseException:
            if own.settings is new:
                own.settings = old
            raise
    if name is not None and name != project.name:
        async with state.naming:
            await check_name(state, name, project.id)
            await call.server.projects.rename(project, name)
    elif body:
        state.tell("project.updated", open_project(project, own))
    return open_project(project, own)


async def open_again(call: Call) -> Mapping[str, Any]:
    """Open a project; an open one is left alone."""
    if not is_id(call.project_id):
        raise NotFound(f"This server has no project {call.project_id:.80}: check the id.")
    state, manager = state_of(call.server), call.server.projects
    was_open = manager.find(call.project_id) is not None
    project = await manager.open(call.project_id)
    shown = open_project(project, await state.of(project))
    if not was_open and shown["auto_start"]:
        await bring_up(state, project.id)
    return shown


async def bring_up(state: ServerState, project_id: str) -> None:
    """Open a project, and start its nodes if it says so and none of them runs.

    One of them runs if an earlier server has left them running: then they stay as they are.
    """
    project = await state.server.projects.open(project_id)
    own = await state.of(project)
    stopped = all(view.state is NodeState.STOPPED for view in startable(state, project))
    if (own.settings or {}).get("auto_start") and stopped:
        for reason in (await project.nodes.start_all()).values():
            state.tell_project(project.id, "log.error", {"message": reason})


def startable(state: ServerState, project: Project) -> list[NodeView]:
    """The nodes of a project that do not start by themselves."""
    types = state.server.registry.node_types
    return [
        view for view in project.nodes if view.type not in types or not types[view.type].always_on
    ]


async def close(call: Call) -> None:
    """Stop the nodes of a project, and close it."""
    await call.server.projects.close(call.project)


async def delete(call: Call) -> None:
    """Delete a project with its files, open or not."""
    manager = call.server.projects
    entry = known(call.server, call.project_id)
    if entry.status == "damaged":
        await manager.delete_damaged(entry.id)
    else:
        await manager.delete(call.found_project or await manager.open(entry.id))


async def count(call: Call) -> Mapping[str, Any]:
    """Count what is in a project."""
    if call.found_project is None:
        found = await of_closed(call)
        kinds = ("nodes", "links", "drawings")
        snapshots = await call.server.projects.snapshots(call.project_id)
        return {**{kind: len(found.objects(kind)) for kind in kinds}, "snapshots": len(snapshots)}
    project, state = call.project, await state_of(call.server).of(call.project)
    return {
        "nodes": len(project.nodes.list()),
        "links": len(project.links.list()),
        "drawings": len(state.drawings),
        "snapshots": len(project.snapshots.list()),
    }


async def create_on_compute(call: Call) -> Mapping[str, Any]:
    """Show the project of this id, or make it: some clients tell the compute as well."""
    state, project_id = state_of(call.server), call.body.get("project_id")
    entry = None if project_id is None else call.server.projects.entry(project_id)
    return await create(call) if entry is None else await describe(state, entry)


PATH = "/v2/projects/{project_id}"

ROUTES = (
    Route(
        method="GET",
        path="/v2/projects",
        handler=list_all,
        changes=False,
        tag="v2",
        summary="All projects, open or not",
        answer=ProjectAnswer,
        many=True,
    ),
    Route(
        method="POST",
        path="/v2/projects",
        handler=create,
        status=201,
        tag="v2",
        summary="Make a project, which is then open",
        body=ProjectRequest,
        answer=ProjectAnswer,
        errors={
            403: "A path is given, and the server is not local",
            409: "The name, the id or the path is taken, or there are too many projects",
            **STORAGE,
        },
    ),
    Route(
        method="POST",
        path="/v2/compute/projects",
        handler=create_on_compute,
        status=201,
        tag="v2",
        summary="The project of this id, which is made if there is none",
        body=ProjectRequest,
        answer=ProjectAnswer,
        errors={403: "A path is given, and the server is not local", 409: "The name is taken"},
    ),
    Route(
        method="GET",
        path=PATH,
        handler=show,
        closed_too=True,
        damaged_too=True,
        any_ids=True,
        changes=False,
        tag="v2",
        summary="A project, open or not",
        answer=ProjectAnswer,
    ),
    Route(
        method="PUT",
        path=PATH,
        handler=update,
        any_ids=True,
        tag="v2",
        summary="Change an open project",
        body=ProjectUpdate,
        answer=ProjectAnswer,
        errors={409: "The name is taken", **STORAGE},
    ),
    Route(
        method="DELETE",
        path=PATH,
        handler=delete,
        closed_too=True,
        damaged_too=True,
        any_ids=True,
        status=204,
        tag="v2",
        summary="Delete a project with its files, open or not",
        errors=STORAGE,
    ),
    Route(
        method="POST",
        path=f"{PATH}/open",
        handler=open_again,
        closed_too=True,
        unknown_too=True,
        damaged_too=True,
        any_ids=True,
        status=201,
        tag="v2",
        summary="Open a project; an open one is left alone",
        answer=ProjectAnswer,
        errors={409: "It is damaged, or there are too many projects", **STORAGE},
    ),
    Route(
        method="POST",
        path=f"{PATH}/close",
        handler=close,
        any_ids=True,
        status=204,
        tag="v2",
        summary="Stop the nodes of a project, and close it",
        errors=STORAGE,
    ),
    Route(
        method="GET",
        path=f"{PATH}/stats",
        handler=count,
        closed_too=True,
        any_ids=True,
        changes=False,
        tag="v2",
        summary="How many nodes, links, drawings and snapshots a project has",
        answer=StatsAnswer,
    ),
)
