"""Consoles for web pages: the bytes of a terminal, as messages of a websocket."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from gns3server.plugin import Call, Conflict, Route, Scope, WebSocket

IAC, SE, SB = 255, 240, 250
NEGOTIATIONS = range(251, 255)
"""Bytes of the telnet protocol (RFC 854): what follows is a command, and how long that is."""

READ_BYTES = 64 * 1024


class Plain:
    """Takes the telnet protocol out of what a terminal sends, however it is cut into pieces."""

    def __init__(self) -> None:
        self._rest = b""

    def of(self, piece: bytes) -> bytes:
        """What a piece says besides the protocol."""
        data, kept = self._rest + piece, bytearray()
        position = 0
        while position < len(data):
            found = data.find(IAC, position)
            if found < 0:
                kept += data[position:]
                position = len(data)
                break
            kept += data[position:found]
            position = found
            length = _length(data, found)
            if length == 0:
                break
            if data[found + 1] == IAC:
                kept.append(IAC)
            position = found + length
        self._rest = data[position:]
        return bytes(kept)


def _length(data: bytes, start: int) -> int:
    """How long the command at a place is; 0 if its end is missing."""
    if len(data) < start + 2:
        return 0
    if data[start + 1] == SB:
        end = data.find(bytes((IAC, SE)), start + 2)
        return 0 if end < 0 else end + 2 - start
    length = 3 if data[start + 1] in NEGOTIATIONS else 2
    return length if len(data) >= start + length else 0


async def serve(call: Call) -> None:
    """Connect a websocket with the console of a node."""
    websocket, node, settings = call.websocket, call.node, call.server.settings
    host = settings.console_host
    if node.console is None or not node.type.console:
        raise Conflict(f"The node {node.name!r} has no console.")
    host = "127.0.0.1" if host == "0.0.0.0" else "::1" if host == "::" else host  # noqa: S104
    try:
        reader, writer = await asyncio.open_connection(host, node.console)
    except OSError as error:
        raise Conflict(
            f"The console of {node.name!r} does not answer: start the node. ({error.strerror})"
        ) from error
    try:
        showing = asyncio.create_task(_show(reader, websocket))
        async for message in websocket:
            data = message.encode() if isinstance(message, str) else message
            writer.write(data.replace(b"\xff", b"\xff\xff"))
            await writer.drain()
        showing.cancel()
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


async def _show(reader: asyncio.StreamReader, websocket: WebSocket) -> None:
    plain = Plain()
    with suppress(ConnectionError):
        while piece := await reader.read(READ_BYTES):
            shown = plain.of(piece)
            if shown:
                websocket.send(shown)
                await websocket.sent()
    websocket.close()


ROUTES = (
    Route(
        method="GET",
        path="/v2/projects/{project_id}/nodes/{node_id}/console/ws",
        handler=serve,
        websocket=True,
        scope=Scope.FIND_NODE,
        node_type=None,
        node_parameter="node_id",
        any_ids=True,
        changes=False,
        tag="v2",
        summary="The console of a node",
        errors={409: "It has no console, or does not run"},
    ),
)
