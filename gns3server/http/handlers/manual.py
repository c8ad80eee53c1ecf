"""The manual, which a build of the package puts into the folder ``manual`` (see ``setup.py``)."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from aiohttp import web

from gns3server.errors import NotFound
from gns3server.http import pages
from gns3server.http.families import StaticFiles
from gns3server.http.routing import HTML, Call, Handler, Route
from gns3server.http.static import INDEX, REST, static_routes

FILES = StaticFiles(prefix="/manual", package="gns3server", folder="manual")


async def send(send_file: Handler, call: Call) -> web.StreamResponse:
    """Send a file of the manual, or say how to get one where there is none."""
    try:
        response: web.StreamResponse = await send_file(call)
    except NotFound:
        if call.path[REST] not in ("", INDEX):
            raise
        page = pages.no_manual(call.server.settings.server.announced_version)
        return web.Response(text=page, content_type=HTML, charset="utf-8", headers=pages.HEADERS)
    return response


def _routes() -> tuple[Route, ...]:
    folder, file = static_routes(FILES)
    return (
        replace(folder, summary="Where the manual is"),
        replace(file, handler=partial(send, file.handler), summary="A page of the manual"),
    )


ROUTES = _routes()
