"""A console and a websocket, joined: what is shown goes one way, what is typed the other."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from gns3server.consoles.stream import ConsoleStream
from gns3server.http.websockets import WebSocket


async def show_console(
    stream: ConsoleStream,
    websocket: WebSocket,
    take: Callable[[str | bytes], Awaitable[None]] | None = None,
) -> None:
    """Show a console until it ends or the client goes, and pass on what the client types.

    :param stream: is closed in the end.
    :param take: is awaited with each message of the client, in place of typing it.
    """
    showing = asyncio.create_task(_show(stream, websocket))
    try:
        async for message in websocket:
            await (type_message(stream, message) if take is None else take(message))
    finally:
        showing.cancel()
        stream.close()
        await asyncio.wait({showing})


async def type_message(stream: ConsoleStream, message: str | bytes) -> None:
    """Type a message of a client, text or bytes."""
    await stream.write(message.encode() if isinstance(message, str) else message)


async def _show(stream: ConsoleStream, websocket: WebSocket) -> None:
    while shown := await stream.read():
        websocket.send(shown)
        await websocket.sent()
    websocket.close(reason="The console has ended.")
