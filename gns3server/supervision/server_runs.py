"""What the server runs for itself: on record in its own records, of no project."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from gns3server.running.machine import Machine
from gns3server.running.spec import LaunchSpec
from gns3server.storage.change import ProjectChange
from gns3server.storage.stores import ServerStore
from gns3server.supervision.place import Consoles

T = TypeVar("T")


class ServerRuns:
    """Implements :class:`~gns3server.supervision.place.RunPlace` for the server itself.

    Its helpers wait for nobody: a node's start waits for them.

    :param own: runs work in a task that the server waits for when it stops.
    """

    id = ""

    def __init__(
        self,
        machine: Machine,
        records: ServerStore,
        own: Callable[[Coroutine[Any, Any, Any]], asyncio.Task[Any]],
    ) -> None:
        self.machine = machine
        self.own = own
        self._records = records

    @property
    def consoles(self) -> Consoles:
        raise RuntimeError("the server's own runs have no consoles")

    def change(self, *, fact: bool = False) -> ProjectChange:
        return self._records.change(fact=fact)

    async def unless_closing(self, work: Coroutine[Any, Any, T], title: str) -> T:
        return await work

    @asynccontextmanager
    async def start_place(self, title: str) -> AsyncIterator[None]:
        yield

    async def make_directory(self, spec: LaunchSpec) -> None:
        """Leave that to the machine, which makes a directory that is missing."""
