"""What a test is told about its own nodes, and about nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection
from typing import Any

NODE_EVENTS = ("vm.", "log.error")
"""The beginnings of the actions that the server itself tells of nodes."""


class OwnEvents:
    """The events of some nodes, out of all that a listener is told.

    Left out are pings, events of other nodes, projects and plugins, and a plugin's own kinds of
    events.

    :param events: what the listener is told.
    :param node_ids: the nodes.
    :param deadline: when the time for all events together is up, by the running loop's clock.
    """

    def __init__(
        self, events: AsyncIterator[Any], node_ids: Collection[str], deadline: float
    ) -> None:
        self._events = events
        self._node_ids = frozenset(node_ids)
        self._deadline = deadline

    async def next(self) -> Any:
        """Wait for the next event.

        :raises AssertionError: none comes before the deadline, or the stream has ended.
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
