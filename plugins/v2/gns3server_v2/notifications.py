"""What happens, told to clients: as messages of websockets, or as lines of endless answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress

from aiohttp import web
from marshmallow import fields

from gns3server.plugin import Call, Event, Listener, Route, WebSocket
from gns3server_v2.shapes import Answer
from gns3server_v2.state import ServerState, state_of
from gns3server_v2.translator import ProjectTranslator, message, translate_for_all

PING_SECONDS = 5.0
"""After how much silence clients are told that the server is there."""

JSON = "application/json"


class MessageAnswer(Answer):
    """What has happened, and to what."""

    action = fields.String(required=True)
    event = fields.Dict(required=True)


@contextmanager
def listening(call: Call) -> Iterator[tuple[ServerState, Listener[str]]]:
    """Listen to the project that the path names, or to all."""
    state = state_of(call.server)
    project = call.found_project
    translate: Callable[[Event], str | None] = translate_for_all
    if project is not None:
        translate = state.translator(call.request.url.host or "", ProjectTranslator)
    project_id = None if project is None else project.id
    with call.server.bus.listen(project_id, translate=translate, size=len) as listener:
        call.ending.tell(listener.end)
        state.listeners += project is None
        try:
            yield state, listener
        finally:
            state.listeners -= project is None


async def messages(state: ServerState, listener: Listener[str]) -> AsyncIterator[str]:
    """What a listener is sent: a ping at once and after each silence, and what happens."""
    yield message("ping", await state.usage.now())
    while True:
        for told, _ in listener.taken():
            yield told
        if listener.ended:
            return
        if not await listener.wait(PING_SECONDS):
            yield message("ping", await state.usage.now())


async def tell(call: Call) -> None:
    """Send messages to a websocket."""
    websocket = call.websocket
    if call.found_project is not None:
        await state_of(call.server).of(call.project)
    with listening(call) as (state, listener):
        listener.connected = lambda: not websocket.closed
        websocket.ended.add_done_callback(lambda _: listener.end())
        ignoring = asyncio.create_task(_ignore(websocket))
        try:
            async for told in messages(state, listener):
                websocket.send(told)
                await websocket.sent()
                if websocket.closed:
                    return
        finally:
            ignoring.cancel()


async def _ignore(websocket: WebSocket) -> None:
    """Read what a client sends, which means nothing; otherwise its end would not be seen."""
    async for _ in websocket:
        pass


async def stream(call: Call) -> web.StreamResponse:
    """Send the same as lines."""
    response = web.StreamResponse(headers={"Content-Type": JSON})
    response.force_close()
    if call.found_project is not None:
        await state_of(call.server).of(call.project)
    with listening(call) as (state, listener), suppress(ConnectionError):
        listener.connected = lambda: call.request.transport is not None
        await response.prepare(call.request)
        async for told in messages(state, listener):
            await response.write(told.encode() + b"\n")
        await response.write_eof()
    return response


def _routes() -> Iterator[Route]:
    for path, what in (
        ("/v2/notifications", "all projects"),
        ("/v2/projects/{project_id}/notifications", "a project"),
    ):
        yield Route(
            method="GET",
            path=path,
            handler=stream,
            stream=True,
            endless=True,
            any_ids=True,
            changes=False,
            tag="v2",
            summary=f"Events of {what}, one JSON object a line",
            answer=MessageAnswer,
            errors={409: "Too many listeners"},
        )
        yield Route(
            method="GET",
            path=f"{path}/ws",
            handler=tell,
            websocket=True,
            any_ids=True,
            changes=False,
            tag="v2",
            summary=f"Events of {what}, one JSON object a message",
            errors={409: "Too many listeners"},
        )


ROUTES = tuple(_routes())
