"""Notification streams: lines of an endless answer, or messages of a websocket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager, suppress

from aiohttp import web

from gns3server.events import Listener
from gns3server.http.endless import limit_buffer
from gns3server.http.notifications import lines
from gns3server.http.routing import JSON, Call
from gns3server.http.sending import piecewise
from gns3server.http.websockets import FALLEN_BEHIND, GOING, WebSocket
from gns3server.projects.project import Project


async def stream(
    call: Call, project: Project | None = None, since: int | None = None
) -> web.StreamResponse:
    """Send every event of a project, or of all of them, one JSON object per line, until
    the stream ends or the client goes away (contract 1.9).

    :param since: number the events, and begin with those after this number that are stored.
    """
    with _listening(call, project, since) as (listener, told):
        response, request = piecewise(call, JSON), call.request
        # What limits the stream's end would cut off another request on this connection.
        response.force_close()
        listener.connected = lambda: request.transport is not None
        # A listener that falls behind is ended by the bus.
        listener.on_end = call.ending.set
        limit_buffer(request)
        # Most streams end because their client goes away.
        with suppress(ConnectionError):
            await response.prepare(request)
            async for line in told:
                await response.write(line)
            await response.write_eof()
        return response


async def send_events(call: Call, project: Project | None = None, since: int | None = None) -> None:
    """Send the lines of such a stream to the call's websocket, each as a message.

    :param since: as for :func:`stream`.
    """
    websocket = call.websocket

    def end() -> None:
        if listener.fell_behind:
            websocket.finish(FALLEN_BEHIND)

    with _listening(call, project, since) as (listener, told):
        listener.connected = lambda: not websocket.closed
        listener.on_end = end
        websocket.ended.add_done_callback(lambda _: listener.end())
        ignoring = asyncio.ensure_future(_ignore(websocket))
        try:
            async with aclosing(told):
                async for line in told:
                    websocket.send(line.decode().rstrip("\n"))
                    await websocket.sent()
                    if websocket.closed:
                        break
        finally:
            ignoring.cancel()
        websocket.finish(GOING)


async def _ignore(websocket: WebSocket) -> None:
    """Read what a client sends, which means nothing; otherwise its end would not be seen."""
    async for _ in websocket:
        pass


@contextmanager
def _listening(
    call: Call, project: Project | None, since: int | None
) -> Iterator[tuple[Listener[bytes], AsyncGenerator[bytes, None]]]:
    """Listen until the call's stream is to end; with the listener come its lines."""
    project_id, server = None if project is None else project.id, call.server
    with server.bus.listen(project_id, translate=server.translate, size=len) as listener:
        missed = None
        if project is not None and since is not None:
            # What is published from here on is already in the listener's queue.
            missed = project.records.events.since(since)
        call.ending.tell(listener.end)
        yield listener, lines(listener, missed=missed, with_numbers=since is not None)
