"""Notification streams."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from aiohttp import web

from gns3server.http.routing import JSON, Call
from gns3server.http.sending import piecewise
from gns3server.notifications import Listener

GRACE = 5.0
"""Seconds a listener has to read its last lines once its stream has ended."""


async def stream(call: Call, project_id: str | None) -> web.StreamResponse:
    """Send every event of a project, or of all of them, one JSON object a line, until
    the stream ends or the client goes away (contract 1.9).
    """
    with call.lab.hub.listen(project_id) as listener:
        response, request = piecewise(call, JSON), call.request
        # Another request on this connection would be cut off by what limits the stream's end.
        response.force_close()
        listener.connected = lambda: request.transport is not None
        _limit_end(request, listener)
        # A client that goes away is how most streams end.
        with suppress(ConnectionError):
            await response.prepare(request)
            async for line in listener:
                await response.write(line)
            await response.write_eof()
        return response


def _limit_end(request: web.Request, listener: Listener) -> None:
    """Cut off a client that does not read, some time after its stream has ended.

    Such a client blocks the writer, which then never sees the end by itself.
    """
    loop = asyncio.get_running_loop()
    transport = request.transport

    def ended() -> None:
        if transport is not None:
            loop.call_later(GRACE, transport.abort)

    listener.on_end = ended
