"""What a request for a websocket goes through: the handshake, the handler, a proper end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, cast

from aiohttp import web

from gns3server.calls import LimitedCalls
from gns3server.errors import LabError, UpgradeRequired
from gns3server.http import endless
from gns3server.http.connections import Connection
from gns3server.http.request_log import FACTS
from gns3server.http.routing import Call, Handler
from gns3server.http.websockets import (
    DONE,
    FAILED,
    GOING,
    MESSAGE_BYTES,
    REFUSED,
    Close,
    WebSocket,
)

log = logging.getLogger(__name__)

HEARTBEAT = 30.0
"""Seconds of silence before a client is asked if it is there; it has half as long to answer."""

PATIENCE = 1.0
"""Seconds that a handler has to return once its websocket has ended, and again once cancelled."""


def asks_for_websocket(request: web.Request) -> bool:
    """Whether a client wants the connection to become a websocket (RFC 6455, 4.1)."""
    return request.headers.get("Upgrade", "").lower() == "websocket"


class Upgrades:
    """Serves websockets.

    :param handler: serves each of them.
    :param heeds_ending: it ends by itself when the call's ``ending`` says so, and may have
        something to send before.
    """

    def __init__(self, handler: Handler, *, heeds_ending: bool = False) -> None:
        self._handler = handler
        self._heeds_ending = heeds_ending
        self._handlers = LimitedCalls(PATIENCE)

    async def serve(self, call: Call) -> web.StreamResponse:
        """Turn a request into a websocket, and run the handler with it.

        :raises UpgradeRequired: the request does not ask for one, or not as it should.
        """
        response = web.WebSocketResponse(
            timeout=endless.GRACE,
            heartbeat=HEARTBEAT,
            compress=False,
            # Messages of this size are refused.
            max_msg_size=MESSAGE_BYTES + 1,
        )
        if not response.can_prepare(call.request):
            raise UpgradeRequired(
                f"There is a websocket at {call.request.path}: ask for it as RFC 6455 says "
                "(Connection: Upgrade, Upgrade: websocket, Sec-WebSocket-Version: 13, and a key)."
            )
        endless.limit_buffer(call.request)
        await response.prepare(call.request)
        websocket = call.found_websocket = WebSocket(response)
        if not self._heeds_ending:
            call.ending.tell(partial(websocket.finish, GOING))
        work = asyncio.create_task(self._handle(call))
        async with (
            _beside(websocket.take_in(), websocket.pass_on()) as (taking, passing),
            _beside(_close(call.request, response, websocket, taking, passing)) as (closing,),
        ):
            try:
                await self._wait(call, work, websocket)
            finally:
                if not work.done():
                    self._handlers.leave_behind(work)
            websocket.finish(_outcome(call, work))
            await closing
        return response

    async def _handle(self, call: Call) -> None:
        await self._handler(call)

    async def _wait(self, call: Call, work: asyncio.Task[Any], websocket: WebSocket) -> None:
        """Wait for the handler, which must end soon after its websocket."""
        lost = cast(Connection, call.request.protocol).lost
        await asyncio.wait({work, websocket.ended, lost}, return_when=asyncio.FIRST_COMPLETED)
        if lost.done():
            websocket.finish(None)
        if not work.done():
            # It may finish what the last message asked for.
            await asyncio.wait({work}, timeout=PATIENCE)
        if not work.done():
            work.cancel()
            await asyncio.wait({work}, timeout=PATIENCE)
        if not work.done():
            name = call.request[FACTS].id
            log.error("%s: the handler of %s does not end", name, call.route.plain_path)


def _outcome(call: Call, work: asyncio.Task[Any]) -> Close:
    """How to end a websocket, given how its handler has ended."""
    if not work.done() or work.cancelled():
        return GOING
    error = work.exception()
    if error is None:
        return GOING if call.ending.is_set() else Close(DONE)
    name = call.request[FACTS].id
    if isinstance(error, LabError):
        log.info("%s: the websocket was ended: %s", name, error.log or error.message)
        return Close(REFUSED + error.status, error.message)
    log.error("%s: this is a bug of the server or a plugin", name, exc_info=error)
    return Close(FAILED, f"The server failed; it is noted in its log as {name}.")


async def _close(
    request: web.Request,
    response: web.WebSocketResponse,
    websocket: WebSocket,
    taking: asyncio.Task[None],
    passing: asyncio.Task[None],
) -> None:
    """Once it has ended, send what is left and the close frame, and wait for the client's.

    That wait is short.
    """
    await asyncio.wait({websocket.ended})
    close = websocket.ended.result()
    if close is None:
        return
    taking.cancel()
    try:
        async with asyncio.timeout(endless.GRACE):
            await asyncio.wait({taking, passing})
            await response.close(code=close.code, message=close.message)
    except TimeoutError:
        if request.transport is not None:
            request.transport.abort()


@asynccontextmanager
async def _beside(
    *works: Coroutine[Any, Any, None],
) -> AsyncIterator[list[asyncio.Task[None]]]:
    """Run some work alongside the context, and end it with the context."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        yield tasks
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
