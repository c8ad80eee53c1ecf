"""Files of projects and nodes."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from gns3server.plugin import BodyTooLarge, Call, NotFound, Route, raw_body, send_file

LARGEST = 16 * 1024 * 1024
"""Bytes of a file that clients may send."""


def path_of(call: Call) -> str:
    """The path that a request names. Some clients put a slash in front of it."""
    path: str = call.path["path"].lstrip("/")
    if not path:
        raise NotFound("The path of a file cannot be empty.")
    return path


def path_of_node(call: Call) -> str:
    """The same, relative to the project's directory, for a file of a node."""
    view, path = call.project.nodes.get(call.path["node_id"]), path_of(call)
    folder = os.path.relpath(view.directory, call.project.path)
    normal = os.path.normpath(path)
    if normal.startswith(".."):
        raise NotFound("The node has no such file: its path leaves the node's directory.")
    return os.path.join(folder, normal)


async def content_of(call: Call) -> bytes:
    """The body of a request.

    :raises BodyTooLarge: it is over the limit.
    """
    content = bytearray()
    async for piece in raw_body(call):
        content += piece
        if len(content) > LARGEST:
            raise BodyTooLarge(f"A file may have {LARGEST} bytes: send less.")
    return bytes(content)


async def fetch(call: Call) -> web.StreamResponse:
    """Send a file of a project."""
    return await send_file(call, path_of(call))


async def fetch_of_node(call: Call) -> web.StreamResponse:
    """Send a file of a node."""
    return await send_file(call, path_of_node(call))


async def write(call: Call) -> None:
    """Write a file of a project."""
    await call.project.files.write(path_of(call), await content_of(call))


async def write_of_node(call: Call) -> None:
    """Write a file of a node."""
    path = path_of_node(call)
    await call.project.files.write(path, await content_of(call))


PROJECT = "/v2/projects/{project_id}/files/{path:.+}"
NODE = "/v2/projects/{project_id}/nodes/{node_id}/files/{path:.+}"
FETCHED: Mapping[str, Any] = {
    "method": "GET",
    "stream": True,
    "answer_type": "application/octet-stream",
    "any_ids": True,
    "changes": False,
    "tag": "v2",
    "errors": {
        206: "The part that `Range` asks for",
        304: "The client has it",
        403: "The path leaves the project, or the file is hidden or cannot be read",
        412: "The file is no longer as the client wants it",
        416: "The file has no such part",
    },
}
WRITTEN: Mapping[str, Any] = {
    "method": "POST",
    "status": 201,
    "raw": True,
    "any_ids": True,
    "tag": "v2",
    "errors": {
        403: "The path leaves the project, or the file is hidden",
        413: "It is too long",
        507: "It cannot be written",
    },
}

ROUTES = (
    Route(
        path=PROJECT,
        handler=fetch,
        closed_too=True,
        summary="The content of a file of a project, which may be closed",
        **FETCHED,
    ),
    Route(path=PROJECT, handler=write, summary="Write a file of a project", **WRITTEN),
    Route(path=NODE, handler=fetch_of_node, summary="The content of a file of a node", **FETCHED),
    Route(path=NODE, handler=write_of_node, summary="Write a file of a node", **WRITTEN),
)
