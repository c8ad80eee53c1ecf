"""Events in the words of the v1 API: which of them it tells, and its lines, byte for byte."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from typing import Any

from marshmallow import Schema

from gns3server.events import Event, Listener, LogEntry
from gns3server.http.link_schemas import LinkObjectSchema
from gns3server.http.schemas import SnapshotSchema
from gns3server.links.link import LinkView
from gns3server.nodes.registry import Registry
from gns3server.nodes.view import NodeView
from gns3server.projects.snapshot_view import SnapshotView
from gns3server.storage.event_log import Missed

PING_AFTER = 5.0
"""Seconds of silence after which a listener is sent a ping (contract 1.9)."""

NODE_ACTIONS = {
    "created": "vm.created",
    "started": "vm.started",
    "stopped": "vm.stopped",
    "suspended": "vm.suspended",
    "resumed": "vm.resumed",
}
"""The actions that v1 tells of nodes. The last two are ours, for types that can suspend."""

LINE = re.compile(r'\{"action": ".*\}\n')


def event_line(action: str, event: Any = None) -> bytes:
    """One notification as it goes over the wire: a JSON object with sorted keys, and a newline.

    The separators are the ones of the contract (1.9, "exact bytes").
    """
    message: dict[str, Any] = {"action": action}
    if event is not None:
        message["event"] = event
    return (json.dumps(message, sort_keys=True, ensure_ascii=False) + "\n").encode()


def numbered(line: bytes, number: int) -> bytes:
    """The same line with its number in the project's event log, as ``seq``."""
    return line[:-2] + b', "seq": %d}\n' % number


PING_LINE = event_line("ping")
FELL_BEHIND_LINE = event_line(
    "log.error",
    {
        "message": "This listener fell too far behind and has missed events: read the state "
        "again, then listen again."
    },
)


class V1Translator:
    """Puts events into lines; ``None`` for what v1 does not know, and that is not stored either."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._schemas: Mapping[type, Schema] = {
            LinkView: LinkObjectSchema(),
            SnapshotView: SnapshotSchema(),
        }

    def __call__(self, event: Event) -> bytes | None:
        """The line of an event."""
        match event.object:
            case NodeView() as node:
                action = NODE_ACTIONS.get(event.change)
                kind = self._registry.node_types.get(node.type)
                if action is None or kind is None:
                    return None
                return event_line(action, kind.dump(node.values))
            case LinkView() | SnapshotView() as view:
                shown = self._schemas[type(view)].dump(view)
                return event_line(f"{event.kind}.{event.change}", shown)
            case LogEntry(message, node_id):
                told = {"message": message, "project_id": event.project_id}
                return event_line("log.error", told | ({"vm_id": node_id} if node_id else {}))
            case Mapping() as values:
                # A plugin's own event.
                return event_line(f"{event.kind}.{event.change}", dict(values))
            case _:
                return None


async def lines(
    listener: Listener[bytes], *, missed: Missed | None = None, with_numbers: bool = False
) -> AsyncGenerator[bytes, None]:
    """What a listener is sent: a ping at once and after each silence, events, a proper ending.

    :param missed: what is sent after the first ping.
    :param with_numbers: each line carries its number, if it has one.
    """
    yield PING_LINE
    if missed is not None:
        async for line in replayed(missed):
            yield line
    while True:
        for line, number in listener.taken():
            yield numbered(line, number) if with_numbers and number is not None else line
        if listener.ended:
            break
        if not await listener.wait(PING_AFTER):
            yield PING_LINE
    if listener.fell_behind:
        yield FELL_BEHIND_LINE


async def replayed(missed: Missed) -> AsyncIterator[bytes]:
    """The lines that a client has missed.

    A line of its own, ``gap``, stands for lines that no longer exist, and names the number
    that comes next.
    """
    seen = missed.after
    async for number, line in missed:
        if not is_event(line):
            break
        seen = number
        yield numbered(line.encode(), number)
    if seen != missed.last:
        yield event_line("gap", {"first": missed.last + 1})


def is_event(line: Any) -> bool:
    """Whether a stored line is one that can be sent: people pass projects on and edit them."""
    return isinstance(line, str) and LINE.fullmatch(line) is not None
