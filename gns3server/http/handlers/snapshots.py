"""Snapshots of projects."""

from __future__ import annotations

from gns3server.http.handlers.projects import PROJECT
from gns3server.http.routing import Call, Route, Scope
from gns3server.http.schemas import (
    DuplicatedSchema,
    DuplicateSchema,
    SnapshotCreateSchema,
    SnapshotSchema,
)
from gns3server.projects.arriving import Arrived
from gns3server.projects.snapshot_view import SnapshotView

TAG = "snapshots"
SNAPSHOT = f"{PROJECT}/snapshots/{{snapshot_id}}"


async def list_snapshots(call: Call) -> list[SnapshotView]:
    """All snapshots of a project, the oldest first."""
    return list(call.project.snapshots)


async def create(call: Call) -> SnapshotView:
    """Keep a project as it is now."""
    return await call.project.snapshots.create(call.body["name"], entry=call.entry)


async def restore(call: Call) -> SnapshotView:
    """Bring a project back to a snapshot."""
    return await call.project.snapshots.restore(call.path["snapshot_id"], entry=call.entry)


async def delete(call: Call) -> None:
    """Remove a snapshot."""
    await call.project.snapshots.delete(call.path["snapshot_id"], entry=call.entry)


async def duplicate(call: Call) -> Arrived:
    """Make a copy of a project, open or closed; the copy is closed."""
    given = {name: call.body.get(name) for name in ("name", "path")}
    return await call.server.projects.duplicate(call.project_id, **given)


ROUTES = (
    Route(
        method="POST",
        path=f"{PROJECT}/duplicate",
        handler=duplicate,
        closed_too=True,
        tag=TAG,
        status=201,
        summary="Make a copy of a project, open or closed, with new ids; the copy is closed",
        body=DuplicateSchema,
        answer=DuplicatedSchema,
        errors={
            403: "A path was given and the server is not local",
            409: "A node must be stopped first, or the path cannot be a new project's",
            500: "The directory cannot be made",
            507: "Files or records cannot be copied",
        },
    ),
    Route(
        method="GET",
        path=f"{PROJECT}/snapshots",
        handler=list_snapshots,
        changes=False,
        tag=TAG,
        summary="All snapshots of a project, the oldest first",
        answer=SnapshotSchema,
        many=True,
    ),
    Route(
        method="POST",
        path=f"{PROJECT}/snapshots",
        handler=create,
        scope=Scope.WHOLE_PROJECT,
        tag=TAG,
        status=201,
        summary="Keep a project as it is now: nodes, wires, layout and files",
        body=SnapshotCreateSchema,
        answer=SnapshotSchema,
        errors={
            409: "The name is taken, a node must be stopped first, or there are too many",
            507: "Files or records cannot be copied",
        },
    ),
    Route(
        method="POST",
        path=f"{SNAPSHOT}/restore",
        handler=restore,
        scope=Scope.WHOLE_PROJECT,
        tag=TAG,
        summary="Stop all nodes, and bring a project back to a snapshot; ids stay",
        answer=SnapshotSchema,
        errors={
            409: "The snapshot's files cannot be used, or a node cannot be stopped",
            500: "It is restored, and its files are put in place by the next opening",
            507: "Files or records cannot be copied",
        },
    ),
    Route(
        method="DELETE",
        path=SNAPSHOT,
        handler=delete,
        scope=Scope.WHOLE_PROJECT,
        tag=TAG,
        status=204,
        summary="Remove a snapshot",
        errors={500: "Its files cannot be removed", 507: "The records cannot be written"},
    ),
)
