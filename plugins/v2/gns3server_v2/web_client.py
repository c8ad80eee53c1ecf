"""The web client of the 2.2 series, if the user has its files."""

from __future__ import annotations

import asyncio
import mimetypes
import os
from collections.abc import Mapping
from pathlib import Path

from aiohttp import web

from gns3server.plugin import Call, NotFound, Route
from gns3server_v2.state import state_of

PAGE = """\
<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>Web client</title></head>
<body>
<h1>No web client is installed</h1>
<p>This server serves the web client of the 2.2 series to browsers, but brings none. Get its
files from those who make it, unpack them into a folder, and name that folder in the settings:</p>
<pre>[v2]
web_client_path = ~/web-client</pre>
<p>The folder is the one that holds <code>index.html</code>. Then open this page again.</p>
</body>
</html>
"""
"""What is shown without it."""

HEADERS: Mapping[str, str] = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "SAMEORIGIN",
    "Cache-Control": "no-cache",
}

INDEX = "index.html"

BEGINNING = "/static/web-ui/bundled"
"""Where the web client begins."""

OCTETS = "application/octet-stream"
MEDIA_TYPES = (
    "text/html",
    "text/css",
    "text/javascript",
    "text/plain",
    "application/json",
    "application/wasm",
    "font/ttf",
    "font/woff",
    "font/woff2",
    "image/gif",
    "image/jpeg",
    "image/png",
    "image/svg+xml",
    "image/vnd.microsoft.icon",
    OCTETS,
)
"""What the files of a web client are; others are sent as the last of these."""

LARGEST = 64 * 1024 * 1024
"""Bytes of a file of the client."""


async def serve(call: Call) -> web.StreamResponse:
    """Send a file of the web client; its page for every path that is none."""
    folder = state_of(call.server).config["web_client_path"]
    if not folder:
        headers = {**HEADERS, "Content-Type": "text/html"}
        return web.Response(body=PAGE.encode(), headers=headers)
    path = call.path["path"].removeprefix("bundled").lstrip("/")
    found = await asyncio.to_thread(_read, Path(folder), path)
    if found is None:
        raise NotFound(
            f"The folder of the web client has no {INDEX}: see web_client_path in the settings."
        )
    content, name = found
    kind = mimetypes.guess_type(name)[0]
    media_type = kind if kind in MEDIA_TYPES else OCTETS
    return web.Response(body=content, headers={**HEADERS, "Content-Type": media_type})


async def lead(_call: Call) -> web.StreamResponse:
    """Lead to where the web client begins."""
    return web.Response(status=302, headers={**HEADERS, "Location": BEGINNING})


def _read(folder: Path, path: str) -> tuple[bytes, str] | None:
    """The content of a file, or of the page; with its name. Blocks."""
    root = Path(os.path.realpath(folder))
    for each in (path, INDEX):
        real = Path(os.path.realpath(root / each.lstrip("/")))
        if root in real.parents and real.is_file() and real.stat().st_size <= LARGEST:
            return real.read_bytes(), real.name
    return None


ROUTES = (
    Route(
        method="GET",
        path="/static/web-ui",
        handler=lead,
        status=302,
        stream=True,
        answer_type="",
        changes=False,
        page="Draw labs in the web client of the 2.2 series",
        tag="v2",
        summary="Where the web client begins",
    ),
    Route(
        method="GET",
        path="/static/web-ui/{path:.*}",
        handler=serve,
        stream=True,
        answer_types=MEDIA_TYPES,
        changes=False,
        tag="v2",
        summary="The web client of the 2.2 series, or how to get it",
    ),
)
