"""Opening a project file that is on the server's machine."""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gns3server.plugin import Call, Conflict, Forbidden, NotFound, Project, Route
from gns3server_v2.building import build, values_of
from gns3server_v2.file_shapes import check_file
from gns3server_v2.projects import ProjectAnswer
from gns3server_v2.saved import LARGEST
from gns3server_v2.shapes import Request, Words
from gns3server_v2.state import ServerState, state_of
from gns3server_v2.wording import open_project

log = logging.getLogger(__name__)


class LoadRequest(Request):
    """The path of a ``.gns3`` file."""

    path = Words(required=True, least=1)


def parsed(content: bytes) -> Mapping[str, Any]:
    """What a file says, checked.

    :raises Conflict: it is broken.
    """
    if len(content) > LARGEST:
        raise Conflict(f"The project file is larger than {LARGEST} bytes, and was not read.")
    try:
        value = json.loads(content)
    except json.JSONDecodeError as error:
        raise Conflict(f"The project file is broken: {error}.") from error
    except RecursionError as error:
        raise Conflict("The project file is broken: it is nested too deep.") from error
    except ValueError as error:
        # It is no text, or a number in it has thousands of digits.
        raise Conflict("The project file is broken: it cannot be read as JSON.") from error
    return check_file(value)


def _read(path: Path) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as file:
        return file.read(LARGEST + 1)


async def load(call: Call) -> Mapping[str, Any]:
    """Open the project that a file describes, in the folder that holds the file."""
    if not call.server.settings.server.local:
        raise Forbidden(
            "Only a local server opens files by their path: start it with --local, or import an "
            "archive of the project."
        )
    path = Path(call.body["path"])
    try:
        content = await asyncio.to_thread(_read, path)
    except OSError as error:
        raise NotFound(f"{str(path)!r:.500} cannot be read: {error.strerror}.") from error
    state, document = state_of(call.server), await asyncio.to_thread(parsed, content)
    manager, project_id = call.server.projects, document["project_id"]
    if manager.entry(project_id) is None:
        project = await make(state, project_id, document, folder=str(path.parent))
    else:
        project = await manager.open(project_id)
    return open_project(project, await state.of(project))


async def make(
    state: ServerState, project_id: str, document: Mapping[str, Any], *, folder: str
) -> Project:
    """Make the project that a checked file describes, in a folder that may hold its files.

    :raises LabError: it cannot be made; the folder holds what it held.
    """
    state.coming[project_id] = values_of(document)
    try:
        project = await state.server.projects.create(
            name=document["name"], project_id=project_id, path=folder
        )
    finally:
        state.coming.pop(project_id, None)
    if project.nodes.list():
        # This server has made it: it was moved here.
        return project
    try:
        await build(state, project, document)
    except BaseException:
        # Its folder is not ours: nothing in it is removed.
        await state.server.projects.close(project)
        raise
    return project


ROUTES = (
    Route(
        method="POST",
        path="/v2/projects/load",
        handler=load,
        status=201,
        limit=600.0,
        tag="v2",
        summary="Open a project file that is on the server's machine; local servers only",
        body=LoadRequest,
        answer=ProjectAnswer,
        errors={
            403: "The server is not local",
            404: "There is no such file",
            409: "It is broken, or something of it is taken by another project",
            507: "The records cannot be written",
        },
    ),
)
