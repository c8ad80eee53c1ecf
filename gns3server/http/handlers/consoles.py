"""A node's console as a websocket: for web pages, and for whoever is on another machine."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from functools import partial

from gns3server.consoles.stream import ConsoleStream
from gns3server.errors import InvalidRequest
from gns3server.http.console_messages import show_console, type_message
from gns3server.http.handlers.projects import PROJECT
from gns3server.http.routing import Call, QueryParameter, Route, Scope
from gns3server.http.schemas import TranscriptSchema

MOST_CHARACTERS = 65535
"""The largest size of a window, in each direction: the terminal's own bound (tty_ioctl(4))."""


async def show(call: Call) -> None:
    """Show a console until it ends or the client goes, and pass on what the client types."""
    stream = await call.node.console_stream(read_only=bool(call.query["read_only"]))
    await show_console(stream, call.websocket, partial(_take, stream))


async def _take(stream: ConsoleStream, message: str | bytes) -> None:
    """Pass on keys, or the size of the client's window.

    :raises InvalidRequest: the message makes no sense; the websocket ends by it.
    """
    size = _size(message)
    if size is not None:
        await stream.resize(*size)
    else:
        await type_message(stream, message)


def _size(message: str | bytes) -> tuple[int, int] | None:
    """The size that a message tells: ``{"columns": 80, "rows": 24}``, as text; else None."""
    if isinstance(message, bytes) or not message.startswith('{"'):
        return None
    try:
        told = json.loads(message)
    except ValueError:
        # Whoever types what looks like it types it all the same.
        return None
    if not isinstance(told, dict) or told.keys() != {"columns", "rows"}:
        return None
    columns, rows = told["columns"], told["rows"]
    if not all(type(one) is int and 1 <= one <= MOST_CHARACTERS for one in (columns, rows)):
        raise InvalidRequest(
            f"A window of {columns!r:.20} columns and {rows!r:.20} rows: give whole numbers, 1 to "
            f"{MOST_CHARACTERS}."
        )
    return columns, rows


Shown = dict[str, str | None]


async def show_transcript(call: Call) -> Shown:
    """Where the transcript of a console is, if there is one."""
    path = call.node.transcript
    return {"path": None if path is None else str(path)}


async def begin_transcript(call: Call) -> Shown:
    """Begin a transcript; one that there is goes on."""
    await call.node.transcribe(True)
    return await show_transcript(call)


async def end_transcript(call: Call) -> Shown:
    """End a transcript; its file stays."""
    await call.node.transcribe(False)
    return await show_transcript(call)


def _of_transcript(method: str, handler: Callable[[Call], Awaitable[Shown]], summary: str) -> Route:
    return Route(
        method=method,
        path=f"{PROJECT}/nodes/{{node_id}}/console/transcript",
        handler=handler,
        scope=Scope.NODE,
        node_type=None,
        node_parameter="node_id",
        changes=method != "GET",
        tag="consoles",
        summary=summary,
        answer=TranscriptSchema,
        errors={} if method == "GET" else {409: "It does not run, or its console is not served"},
    )


ROUTES = (
    Route(
        method="GET",
        path=f"{PROJECT}/nodes/{{node_id}}/console",
        handler=show,
        scope=Scope.FIND_NODE,
        node_type=None,
        node_parameter="node_id",
        changes=False,
        websocket=True,
        query={
            "read_only": QueryParameter(
                "1 to watch only: what is typed is not passed on", default=0
            )
        },
        confidential=True,
        tag="consoles",
        summary="A node's console, for as many clients as like: bytes that are shown come as "
        "binary messages, keys are sent as text or binary ones, and "
        '`{"columns": 80, "rows": 24}` as text tells the size of the client\'s window',
        errors={409: "It does not run, or its emulator serves its console itself"},
    ),
    _of_transcript(
        "GET",
        show_transcript,
        "The file that all that a console shows is added to, if there is one",
    ),
    _of_transcript(
        "POST", begin_transcript, "Add all that a console shows to a file, until the node stops"
    ),
    _of_transcript("DELETE", end_transcript, "End the transcript of a console; the file stays"),
)
