"""Drawings: pictures and texts beside the nodes of a project."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from marshmallow import fields, validate

from gns3server.plugin import Call, Conflict, Event, NotFound, Route
from gns3server_v2.saved import drawings_of
from gns3server_v2.shapes import Answer, Flag, Id, Request, Whole
from gns3server_v2.state import DRAWING, KEY, Told, state_of

SVG_LENGTH = 1000 * 1000
"""Characters of a drawing."""

USUAL: Mapping[str, Any] = {
    "x": 0,
    "y": 0,
    "z": 0,
    "locked": False,
    "rotation": 0,
    "svg": "<svg></svg>",
}


class DrawingAnswer(Answer):
    """A drawing."""

    drawing_id = fields.String(required=True)
    project_id = fields.String(required=True)
    x = fields.Integer(required=True)
    y = fields.Integer(required=True)
    z = fields.Integer(required=True)
    locked = fields.Boolean(required=True)
    rotation = fields.Integer(required=True)
    svg = fields.String(required=True)


class DrawingUpdate(Request):
    """What is to change about a drawing."""

    x = Whole()
    y = Whole()
    z = Whole()
    locked = Flag()
    rotation = Whole(least=-360, most=360)
    svg = fields.String(validate=validate.Length(max=SVG_LENGTH))


class DrawingRequest(DrawingUpdate):
    """A new drawing; clients may choose its id."""

    drawing_id = Id(allow_none=True)


def drawing_object(project_id: str, drawing_id: str, kept: Mapping[str, Any]) -> dict[str, Any]:
    """A drawing in the words of the wire."""
    own = {key: kept.get(key, default) for key, default in USUAL.items()}
    return {"drawing_id": drawing_id, "project_id": project_id, **own}


async def list_all(call: Call) -> list[Mapping[str, Any]]:
    """The drawings of a project, open or not."""
    if call.found_project is None:
        return await drawings_of(call)
    state = await state_of(call.server).of(call.project)
    return [drawing_object(call.project.id, key, kept) for key, kept in state.drawings.items()]


async def create(call: Call) -> Mapping[str, Any]:
    """Draw something."""
    project, body = call.project, dict(call.body)
    state = await state_of(call.server).of(project)
    drawing_id = body.pop("drawing_id", None) or str(uuid.uuid4())
    if drawing_id in state.drawings:
        raise Conflict(f"The drawing {drawing_id} exists already: choose another id.")
    kept = {**USUAL, **body}
    shown = drawing_object(project.id, drawing_id, kept)
    async with project.change() as change:
        project.store.save(change, f"{DRAWING}{drawing_id}", kept)
        change.then(lambda: state.drawings.update({drawing_id: kept}))
        change.tell(Event(KEY, "drawing.created", project.id, Told(shown)))
    return shown


async def show(call: Call) -> Mapping[str, Any]:
    """A drawing of a project, open or not."""
    if call.found_project is None:
        for drawing in await drawings_of(call):
            if drawing.get("drawing_id") == call.path["drawing_id"].lower():
                return drawing
        raise NotFound(f"The project has no drawing {call.path['drawing_id']:.80}: check the id.")
    drawing_id, kept = await _found(call)
    return drawing_object(call.project.id, drawing_id, kept)


async def update(call: Call) -> Mapping[str, Any]:
    """Change a drawing."""
    project, body = call.project, call.body
    drawing_id, old = await _found(call)
    state = await state_of(call.server).of(project)
    kept = {**old, **body}
    shown = drawing_object(project.id, drawing_id, kept)
    # A picture may be large: it is told only when it changes.
    told = {key: value for key, value in shown.items() if key != "svg" or "svg" in body}
    # Before anything is awaited: the next request builds on it.
    state.drawings[drawing_id] = kept
    try:
        async with project.change() as change:
            project.store.save(change, f"{DRAWING}{drawing_id}", kept)
            change.tell(Event(KEY, "drawing.updated", project.id, Told(told)))
    except BaseException:
        if state.drawings.get(drawing_id) is kept:
            state.drawings[drawing_id] = old
        raise
    return shown


async def delete(call: Call) -> None:
    """Remove a drawing."""
    project = call.project
    drawing_id, _ = await _found(call)
    state = await state_of(call.server).of(project)
    gone = {"drawing_id": drawing_id, "project_id": project.id}
    async with project.change() as change:
        project.store.remove(change, f"{DRAWING}{drawing_id}")
        change.then(lambda: state.drawings.pop(drawing_id, None))
        change.tell(Event(KEY, "drawing.deleted", project.id, Told(gone)))


async def _found(call: Call) -> tuple[str, dict[str, Any]]:
    state = await state_of(call.server).of(call.project)
    drawing_id = call.path["drawing_id"].lower()
    if drawing_id not in state.drawings:
        raise NotFound(f"The project has no drawing {drawing_id:.80}: check the id.")
    return drawing_id, state.drawings[drawing_id]


PATH = "/v2/projects/{project_id}/drawings"
FULL = {409: "There is no room for it, or its id is taken", 507: "The records cannot be written"}

ROUTES = (
    Route(
        method="GET",
        path=PATH,
        handler=list_all,
        closed_too=True,
        any_ids=True,
        changes=False,
        tag="v2",
        summary="The drawings of a project, which may be closed",
        answer=DrawingAnswer,
        many=True,
    ),
    Route(
        method="POST",
        path=PATH,
        handler=create,
        any_ids=True,
        status=201,
        tag="v2",
        summary="Draw something",
        body=DrawingRequest,
        answer=DrawingAnswer,
        errors=FULL,
    ),
    Route(
        method="GET",
        path=f"{PATH}/{{drawing_id}}",
        handler=show,
        closed_too=True,
        any_ids=True,
        changes=False,
        tag="v2",
        summary="A drawing of a project, which may be closed",
        answer=DrawingAnswer,
    ),
    Route(
        method="PUT",
        path=f"{PATH}/{{drawing_id}}",
        handler=update,
        any_ids=True,
        status=201,
        tag="v2",
        summary="Change a drawing",
        body=DrawingUpdate,
        answer=DrawingAnswer,
        errors=FULL,
    ),
    Route(
        method="DELETE",
        path=f"{PATH}/{{drawing_id}}",
        handler=delete,
        any_ids=True,
        status=204,
        tag="v2",
        summary="Remove a drawing",
        errors={507: "The records cannot be written"},
    ),
)
