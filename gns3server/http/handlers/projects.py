"""Projects and their notification streams."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from gns3server.http.routing import Call, QueryParameter, Route, Scope
from gns3server.http.schemas import (
    DamagedProjectSchema,
    EventSchema,
    LayoutSchema,
    ListedProjectSchema,
    ProjectCreateSchema,
    ProjectObjectSchema,
    ProjectUpdateSchema,
)
from gns3server.http.streams import send_events, stream
from gns3server.projects.damaged import Damage
from gns3server.projects.manager import ProjectEntry
from gns3server.projects.project import Project
from gns3server.server import Server
from gns3server.storage.rows import NodeLayout

TAG = "projects"
ALL = "all"
STATUSES = ("open", "closed", "damaged")
PROJECT = "/v1/projects/{project_id}"


def describe(server: Server, project: Project) -> Mapping[str, Any]:
    """A project as its schema shows it (PRJ-23)."""
    return {
        "id": project.id,
        "name": project.name,
        "location": str(server.projects.location),
        "path": project.given,
        "temporary": project.temporary,
    }


async def list_projects(call: Call) -> list[Mapping[str, Any]]:
    """All open projects, or those of a status, with that."""
    wanted, manager = call.query.get("status"), call.server.projects
    if wanted is None:
        return [describe(call.server, project) for project in manager.projects]
    return [
        describe_entry(call.server, entry)
        for entry in manager.list_all()
        if wanted in (ALL, entry.status)
    ]


def describe_entry(server: Server, entry: ProjectEntry) -> Mapping[str, Any]:
    """A project that may be closed or damaged, as its schema shows it."""
    project = server.projects.find(entry.id)
    if project is not None:
        return {**describe(server, project), "status": entry.status}
    return {
        "id": entry.id,
        "name": entry.name,
        "location": str(server.projects.location),
        "path": str(entry.path),
        # A temporary project is deleted when it is closed.
        "temporary": False,
        "status": entry.status,
    }


async def create(call: Call) -> Mapping[str, Any]:
    """Make a project, open one that is closed, or show one that is already open."""
    manager, values = call.server.projects, call.body
    project_id = values.get("id") or str(uuid.uuid4())
    given = {name: values.get(name) for name in ("name", "path")}
    async with manager.alone_with(project_id):
        project = manager.find(project_id)
        if project is None and await manager.is_known(project_id, given["path"]):
            project = await manager.bring_in(project_id, **given)
        elif project is None:
            temporary = values.get("temporary", False)
            project = await manager.make(project_id, **given, temporary=temporary)
        return describe(call.server, project)


async def show(call: Call) -> Mapping[str, Any]:
    """One project."""
    return describe(call.server, call.project)


async def update(call: Call) -> Mapping[str, Any]:
    """Change a project; null leaves a value as it is."""
    await call.server.projects.update(call.project, call.body, call.entry)
    return describe(call.server, call.project)


async def commit(call: Call) -> None:
    """Remove the directories of deleted nodes."""
    await call.server.projects.commit(call.project)


async def open_again(call: Call) -> Mapping[str, Any]:
    """Open a project that is closed, was damaged or was copied in; an open one is left alone."""
    return describe(call.server, await call.server.projects.open(call.path["project_id"]))


async def close(call: Call) -> None:
    """Close a project, unless several clients listen to it (contract 1.9, D-12)."""
    if not call.server.projects.is_listened_to(call.project):
        await call.server.projects.close(call.project, call.entry)


async def delete(call: Call) -> None:
    """Delete a project with its files, damaged or not."""
    if call.found_project is None:
        await call.server.projects.delete_damaged(call.path["project_id"])
    else:
        await call.server.projects.delete(call.project, call.entry)


async def show_layout(call: Call) -> Mapping[str, NodeLayout]:
    """Where each node of a project is drawn."""
    return {node.id: call.project.layout.get(node.id) for node in call.project.members}


async def change_layout(call: Call) -> Mapping[str, NodeLayout]:
    """Place some nodes, all of them or none."""
    await call.project.layout.set(call.body)
    return await show_layout(call)


async def list_damaged(call: Call) -> list[Damage]:
    """All projects that could not be opened."""
    return list(call.server.projects.damaged)


async def listen(call: Call) -> web.StreamResponse:
    """Stream the events of one project, starting after a number if one is given."""
    return await stream(call, call.project, call.query.get("since"))


async def listen_by_websocket(call: Call) -> None:
    """Send the events of one project to a websocket."""
    await send_events(call, call.project, call.query.get("since"))


async def listen_everywhere_by_websocket(call: Call) -> None:
    """Send the events of all projects to a websocket."""
    await send_events(call)


async def listen_everywhere(call: Call) -> web.StreamResponse:
    """Stream the events of all projects."""
    return await stream(call)


ROUTES = (
    Route(
        method="GET",
        path="/v1/projects",
        handler=list_projects,
        changes=False,
        tag=TAG,
        summary="All open projects, or with a status those that have it, closed ones included",
        answer=ListedProjectSchema,
        many=True,
        query={
            "status": QueryParameter(
                "List projects of this status and show it",
                kind="text",
                choices=(ALL, *STATUSES),
            )
        },
    ),
    Route(
        method="POST",
        path="/v1/projects",
        handler=create,
        tag=TAG,
        status=201,
        summary="Create a project, or open a closed one by its id",
        body=ProjectCreateSchema,
        answer=ProjectObjectSchema,
        errors={
            403: "A path was given and the server is not local",
            409: "The path cannot be a project's, its records are damaged, or too many "
            "projects are open",
            500: "The directory cannot be made",
            507: "The records cannot be written",
        },
    ),
    Route(
        method="GET",
        path="/v1/projects/damaged",
        handler=list_damaged,
        changes=False,
        tag=TAG,
        summary="Projects that could not be opened, why, and what to do about it",
        answer=DamagedProjectSchema,
        many=True,
    ),
    Route(
        method="GET",
        path=PROJECT,
        handler=show,
        changes=False,
        tag=TAG,
        summary="One project",
        answer=ProjectObjectSchema,
    ),
    Route(
        method="PUT",
        path=PROJECT,
        handler=update,
        scope=Scope.WHOLE_PROJECT,
        tag=TAG,
        summary="Change a project, all of it or nothing",
        body=ProjectUpdateSchema,
        answer=ProjectObjectSchema,
        errors={
            403: "The path differs and the server is not local",
            409: "The path cannot be a project's",
            500: "The files cannot be copied to the new path",
            507: "The records cannot be written",
        },
    ),
    Route(
        method="POST",
        path=f"{PROJECT}/commit",
        handler=commit,
        tag=TAG,
        status=204,
        summary="Remove the directories of deleted VMs",
        errors={500: "A directory cannot be removed", 507: "The records cannot be written"},
    ),
    Route(
        method="POST",
        path=f"{PROJECT}/open",
        handler=open_again,
        closed_too=True,
        unknown_too=True,
        damaged_too=True,
        tag=TAG,
        summary="Open a project by its id: one that is closed, or that was copied in",
        answer=ProjectObjectSchema,
        errors={409: "It is damaged, or too many projects are open"},
    ),
    Route(
        method="POST",
        path=f"{PROJECT}/close",
        handler=close,
        scope=Scope.WHOLE_PROJECT,
        tag=TAG,
        status=204,
        summary="Stop a project's nodes and close it; skipped while several clients listen to it",
        errors={
            500: "A temporary project's files cannot be removed",
            507: "The records cannot be written",
        },
    ),
    Route(
        method="DELETE",
        path=PROJECT,
        handler=delete,
        scope=Scope.WHOLE_PROJECT,
        damaged_too=True,
        tag=TAG,
        status=204,
        summary="Close a project and remove its files, damaged or not",
        errors={
            409: "The project is damaged, and another process has its records",
            500: "The files cannot be removed",
            507: "The records cannot be written",
        },
    ),
    Route(
        method="GET",
        path=f"{PROJECT}/layout",
        handler=show_layout,
        changes=False,
        tag=TAG,
        summary="Where the nodes of a project are drawn",
        answer=LayoutSchema,
    ),
    Route(
        method="PUT",
        path=f"{PROJECT}/layout",
        handler=change_layout,
        scope=Scope.PROJECT,
        tag=TAG,
        summary="Place nodes of a project, all of them or none",
        body=LayoutSchema,
        answer=LayoutSchema,
        errors={507: "The records cannot be written"},
    ),
    Route(
        method="GET",
        path=f"{PROJECT}/notifications",
        handler=listen,
        upgrade=listen_by_websocket,
        changes=False,
        stream=True,
        endless=True,
        tag="notifications",
        summary="Events of a project, one JSON object a line, or a message of a websocket",
        answer=EventSchema,
        query={"since": "Number the events, and begin with those after this number"},
        errors={409: "Too many listeners"},
    ),
    *(
        Route(
            method="GET",
            path=path,
            handler=listen_everywhere,
            upgrade=listen_everywhere_by_websocket,
            changes=False,
            stream=True,
            endless=True,
            tag="notifications",
            summary="Events of all projects, one JSON object a line, or a message of a websocket",
            answer=EventSchema,
            errors={409: "Too many listeners"},
        )
        for path in ("/v1/notifications", "/notifications")
    ),
)
