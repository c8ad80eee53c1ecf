"""Notification streams."""

from __future__ import annotations

from contextlib import suppress

from aiohttp import web

from gns3server.http.endless import limit_buffer
from gns3server.http.notifications import lines
from gns3server.http.routing import JSON, Call
from gns3server.http.sending import piecewise
from gns3server.projects.project import Project


async def stream(
    call: Call, project: Project | None = None, since: int | None = None
) -> web.StreamResponse:
    """Send every event of a project, or of all of them, one JSON object per line, until
    the stream ends or the client goes away (contract 1.9).

    :param since: number the events, and begin with those after this number that are stored.
    """
    project_id, server = None if project is None else project.id, call.server
    with server.bus.listen(project_id, translate=server.translate, size=len) as listener:
        missed = None
        if project is not None and since is not None:
            # What is published from here on is already in the listener's queue.
            missed = project.records.events.since(since)
        response, request = piecewise(call, JSON), call.request
        # What limits the stream's end would cut off another request on this connection.
        response.force_close()
        listener.connected = lambda: request.transport is not None
        # A listener that falls behind is ended by the bus.
        listener.on_end = call.ending.set
        call.ending.tell(listener.end)
        limit_buffer(request)
        # Most streams end because their client goes away.
        with suppress(ConnectionError):
            await response.prepare(request)
            async for line in lines(listener, missed=missed, with_numbers=since is not None):
                await response.write(line)
            await response.write_eof()
        return response
