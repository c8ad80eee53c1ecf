"""Files of projects, and streams of files that grow."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from aiohttp import web

from gns3server.errors import NotFound, quoted
from gns3server.http.routing import OCTETS, Call, Route
from gns3server.http.schemas import FileStreamSchema, ProjectFileSchema
from gns3server.http.sending import check_still_there, follow, send
from gns3server.projects.project_files import list_files, opened, opened_for_following

TAG = "files"
FILES = "/v1/projects/{project_id}/files"


async def list_all(call: Call) -> list[Mapping[str, str]]:
    """Every file of a project, with its MD5 sum."""
    between = partial(check_still_there, call.request)
    return await list_files(call.project.path, call.server.readers, between)


async def send_file(call: Call, path: str) -> web.StreamResponse:
    """Answer with a file of the project that the call is about, or the part that is asked for.

    The project may be closed.

    :param path: relative to the project's directory.
    :raises gns3server.errors.Forbidden: it leaves the directory, is hidden at its top, or cannot
        be read.
    :raises gns3server.errors.NotFound: there is no such file.
    :raises gns3server.errors.Conflict: the disk that it is on does not answer.
    """
    directory = _closed_directory(call) if call.found_project is None else call.project.path
    async with opened(directory, path, call.server.readers) as file:
        return await send(call, file)


def _closed_directory(call: Call) -> Path:
    """Where the project is that the path names, which is not open.

    :raises NotFound: it is not on record either.
    """
    entry = call.server.projects.entry(call.project_id)
    if entry is None:
        raise NotFound(f"This server has no project {quoted(call.project_id)}: check the id.")
    return entry.path


async def fetch(call: Call) -> web.StreamResponse:
    """One file of a project."""
    return await send_file(call, call.path["path"])


async def stream(call: Call) -> web.StreamResponse:
    """A file of this machine, and what is appended to it from now on.

    Only a local server's client may read whatever the server may (D-02).
    """
    settings = call.server.settings
    projects = (project.path for project in call.server.projects.projects)
    served = [settings.projects_path, settings.images_path, *projects]
    confined_to = None if settings.server.local else served
    location = call.body["location"]
    async with opened_for_following(
        location, call.server.readers, state=settings.state_path, confined_to=confined_to
    ) as file:
        return await follow(call, file)


ROUTES = (
    Route(
        method="GET",
        path=FILES,
        handler=list_all,
        changes=False,
        tag=TAG,
        summary="The files of a project, those at the top of its directory first",
        answer=ProjectFileSchema,
        many=True,
    ),
    Route(
        method="GET",
        path=FILES + "/{path:.+}",
        handler=fetch,
        changes=False,
        stream=True,
        answer_type=OCTETS,
        tag=TAG,
        summary="The content of a file of a project, or the part of it that `Range` asks for",
        errors={
            206: "The part that `Range` asks for",
            304: "The client has it",
            403: "The path leaves the project, or the file is hidden or cannot be read",
            404: "The project has no such file, or there is no such project",
            412: "The file is no longer as the client wants it",
            416: "The file has no such part",
        },
    ),
    Route(
        method="GET",
        path="/v1/files/stream",
        handler=stream,
        changes=False,
        stream=True,
        endless=True,
        answer_type=OCTETS,
        tag=TAG,
        summary="The content of a file of the server's machine, and what is appended to it",
        body=FileStreamSchema,
        errors={
            403: "It is the server's own, or the server is not local and it is no file of its "
            "projects or images",
            404: "There is no such file",
            409: "It cannot be opened, or too many clients follow files",
        },
    ),
)
