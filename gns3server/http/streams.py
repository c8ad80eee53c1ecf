"""Notification streams."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress

from aiohttp import web

from gns3server.events import Listener
from gns3server.http.notifications import lines
from gns3server.http.routing import JSON, Call
from gns3server.http.sending import piecewise
from gns3server.projects.project import Project

GRACE = 5.0
"""Seconds a listener has to read its last lines once its stream has ended."""

SEND_BUFFER = 64 * 1024
"""Bytes on their way to one listener that the kernel keeps; Linux doubles it for its own needs."""


async def stream(
    call: Call, project: Project | None = None, since: int | None = None
) -> web.StreamResponse:
    """Send every event of a project, or of all of them, one JSON object a line, until
    the stream ends or the client goes away (contract 1.9).

    :param since: number the events, and begin with those after this number that are stored.
    """
    project_id, server = None if project is None else project.id, call.server
    with server.bus.listen(project_id, translate=server.translate, size=len) as listener:
        missed = None
        if project is not None and since is not None:
            # What is published from here on is in the listener's queue already.
            missed = project.records.events.since(since)
        response, request = piecewise(call, JSON), call.request
        # Another request on this connection would be cut off by what limits the stream's end.
        response.force_close()
        listener.connected = lambda: request.transport is not None
        _limit_end(request, listener)
        _limit_buffer(request)
        # A client that goes away is how most streams end.
        with suppress(ConnectionError):
            await response.prepare(request)
            async for line in lines(listener, missed=missed, with_numbers=since is not None):
                await response.write(line)
            await response.write_eof()
        return response


def _limit_buffer(request: web.Request) -> None:
    """Bound what the kernel holds for a client that does not read.

    On the loopback it would go up to some megabytes for each (tcp(7), tcp_wmem).
    """
    connection = request.get_extra_info("socket")
    if connection is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)


def _limit_end(request: web.Request, listener: Listener[bytes]) -> None:
    """Cut off a client that does not read, some time after its stream has ended.

    Such a client blocks the writer, which then never sees the end by itself.
    """
    loop = asyncio.get_running_loop()
    transport = request.transport

    def ended() -> None:
        if transport is not None:
            loop.call_later(GRACE, transport.abort)

    listener.on_end = ended
