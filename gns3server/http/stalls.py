"""Naming, and ending, a request that holds up the event loop."""

from __future__ import annotations

from types import FrameType

from aiohttp import web

from gns3server.errors import QUOTED_CHARACTERS
from gns3server.http.encoding import encode
from gns3server.http.routing import JSON, Call


def request_of(frame: FrameType) -> str | None:
    """The request that a frame works on, in words for people."""
    request, call = frame.f_locals.get("request"), frame.f_locals.get("call")
    if isinstance(call, Call):
        request = call.request
    if not isinstance(request, web.BaseRequest):
        return None
    pattern = _compared_with(frame)
    # All of it may be what takes so long.
    text = f"{request.method} {request.rel_url.raw_path[:QUOTED_CHARACTERS]}"
    return f"{text}, which is compared with the route {pattern}" if pattern else text


def way_out(frame: FrameType) -> Exception | None:
    """An error that may be raised here and now, because nothing has begun.

    That is so while aiohttp looks for the route of a request. A path's pattern may be such
    that matching takes practically forever, and only an error ends it.
    """
    request = request_of(frame)
    if request is None or not _compared_with(frame):
        return None
    message = (
        f"The request was given up: {request}, takes too long. The plugin that has this route "
        "needs a simpler pattern: tell its authors."
    )
    answer = encode({"message": message, "status": web.HTTPServiceUnavailable.status_code})
    return web.HTTPServiceUnavailable(body=answer, content_type=JSON)


def _compared_with(frame: FrameType) -> str:
    resource = frame.f_locals.get("self")
    return resource.canonical if isinstance(resource, web.AbstractResource) else ""
