"""What a test is told of its own nodes, and of nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection
from typing import Any

NODE_EVENTS = ("vm.", "log.error")
"""How the actions begin that the server itself tells of nodes."""


class OwnEvents:
    """The events of some nodes, out of all that a listener is told.

    Left out are pings, events of other nodes, projects and plugins, and those that a plugin tells
    in words of its own.

    :param events: what the listener is told.
    :param node_ids: the nodes.
    :param deadline: until when all events together may take, on the clock of the running loop.
    """

    def __init__(
        self, events: AsyncIterator[Any], node_ids: Collection[str], deadline: float
    ) -> None:
        self._events = events
        self._node_ids = frozenset(node_ids)
        self._deadline = deadline

    async def next(self) -> Any:
        """Wait for the next one.

        :raises AssertionError: there is none before the deadline, or the stream has ended.
        """
        others = []
        try:
            async with asyncio.timeout_at(self._deadline):
                async for event in self._events:
                    if self._is_own(event):
                        return event
                    others.append(event["action"])
                end = "the stream has ended"
        except TimeoutError:
            end = "the time of this test is over"
        nodes = ", ".join(sorted(self._node_ids))
        raise AssertionError(f"nothing more was told of {nodes}: {end}; others were {others}")

    def _is_own(self, event: Any) -> bool:
        told = event.get("event")
        return (
            event["action"].startswith(NODE_EVENTS)
            and isinstance(told, dict)
            and told.get("vm_id") in self._node_ids
        )
