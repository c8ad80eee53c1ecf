"""Snapshots of projects."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from marshmallow import fields

from gns3server.plugin import Call, Route, SnapshotView
from gns3server_v2.nodes import own_state
from gns3server_v2.projects import ProjectAnswer
from gns3server_v2.shapes import Answer, Request, Words
from gns3server_v2.wording import open_project

LIMIT = 600.0
"""Seconds that copying may take."""

TOLD_SECONDS = 30.0
"""How long an answer waits for what is told of a restored project."""


class SnapshotRequest(Request):
    """A new snapshot."""

    name = Words(required=True, least=1, most=200)


class SnapshotAnswer(Answer):
    """A snapshot."""

    snapshot_id = fields.String(required=True)
    project_id = fields.String(required=True)
    name = fields.String(required=True)
    created_at = fields.Integer(required=True)
    description = fields.String(required=True)
    filename = fields.String(required=True)


def snapshot_object(view: SnapshotView) -> dict[str, Any]:
    """A snapshot in the words of the wire."""
    return {
        "snapshot_id": view.id,
        "project_id": view.project_id,
        "name": view.name,
        "created_at": round(view.created),
        "description": _described(view),
        "filename": f"{view.name}.gns3project",
    }


def _described(view: SnapshotView) -> str:
    """What is to be known of a snapshot."""
    if not view.running:
        return ""
    return (
        f"Nodes that ran when it was made: {len(view.running)}. Their files are as they were at "
        "that moment."
    )


async def list_all(call: Call) -> list[Mapping[str, Any]]:
    """The snapshots of a project, open or not."""
    views = await call.server.projects.snapshots(call.project_id)
    return [snapshot_object(view) for view in views]


async def create(call: Call) -> Mapping[str, Any]:
    """Keep a project as it is now."""
    return snapshot_object(await call.project.snapshots.create(call.body["name"]))


async def restore(call: Call) -> Mapping[str, Any]:
    """Bring a project back to a snapshot, and answer when that has been told."""
    project, own = call.project, await own_state(call)
    view = project.snapshots.get(call.path["snapshot_id"].lower())
    renewed = own.renewed
    await project.snapshots.restore(view.id)
    async with asyncio.timeout(TOLD_SECONDS):
        await renewed.wait()
    return open_project(project, own)


async def delete(call: Call) -> None:
    """Forget a snapshot."""
    await call.project.snapshots.delete(call.path["snapshot_id"].lower())


PATH = "/v2/projects/{project_id}/snapshots"
STORAGE = {507: "It cannot be written"}

ROUTES = (
    Route(
        method="GET",
        path=PATH,
        handler=list_all,
        closed_too=True,
        any_ids=True,
        changes=False,
        tag="v2",
        summary="The snapshots of a project, which may be closed",
        answer=SnapshotAnswer,
        many=True,
    ),
    Route(
        method="POST",
        path=PATH,
        handler=create,
        limit=LIMIT,
        any_ids=True,
        status=201,
        tag="v2",
        summary="Keep a project as it is now",
        body=SnapshotRequest,
        answer=SnapshotAnswer,
        errors={409: "The name is taken, or a node must be stopped first", **STORAGE},
    ),
    Route(
        method="DELETE",
        path=f"{PATH}/{{snapshot_id}}",
        handler=delete,
        any_ids=True,
        status=204,
        tag="v2",
        summary="Forget a snapshot",
        errors=STORAGE,
    ),
    Route(
        method="POST",
        path=f"{PATH}/{{snapshot_id}}/restore",
        handler=restore,
        limit=LIMIT,
        any_ids=True,
        status=201,
        tag="v2",
        summary="Bring a project back to a snapshot",
        answer=ProjectAnswer,
        errors={409: "It cannot be used", **STORAGE},
    ),
)
