"""The project that a node belongs to, as the node sees it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Protocol

from gns3server.events import PendingEvent
from gns3server.nodes.machine import Machine
from gns3server.nodes.nio import NioType
from gns3server.storage.rows import NioRow, NodeRow, RunRow


class Subject(Protocol):
    """What an event can be about: a node."""

    async def node_event(self, action: str) -> PendingEvent:
        """An event with its object."""


class NodeStore(Protocol):
    """A project's durable records; each call returns once its change is on disk.

    Each raises :class:`~gns3server.errors.StorageFailed`, and then has changed nothing. With
    ``news`` the change is told as well, before the call returns.
    """

    async def save_node(
        self,
        record: NodeRow,
        files: Mapping[str, bytes],
        placing: Callable[[], None] | None = None,
        event: PendingEvent | None = None,
    ) -> None:
        """Store a node, together with the content of files that ``placing`` then replaces."""

    async def files_replaced(self, node_id: str) -> None:
        """Forget the stored content of a node's files: they are on disk now.

        Raises nothing: what cannot be forgotten is put in place again at the next opening.
        """

    async def save_nio(
        self, node_id: str, place: tuple[int, int], nio: NioRow | None, freed: int | None
    ) -> None:
        """Store what is plugged in at (adapter, port), and free an allocated UDP port with it."""

    async def save_run(self, run: RunRow, event: PendingEvent | None = None) -> None:
        """Store a run, or what is newly known of it."""

    async def end_run(self, run_id: str, event: PendingEvent | None = None) -> None:
        """Forget a run whose processes are all gone, and tell what came of it.

        Raises nothing: what cannot be stored is told all the same, and found out again at the
        next start.
        """


class ParentProject(Protocol):
    """A project, as its nodes see it."""

    @property
    def id(self) -> str:
        """The project's id."""

    @property
    def name(self) -> str | None:
        """The project's name."""

    @property
    def closing(self) -> asyncio.Event:
        """Set when the project is about to close: waits of its nodes end at once."""

    @property
    def machine(self) -> Machine:
        """Where the nodes of this project run."""

    @property
    def records(self) -> NodeStore:
        """Where the nodes of this project are stored."""

    @property
    def path(self) -> Path:
        """The project's directory: another object whenever that is another one."""

    def node_directory(self, node_type: str, node_id: str) -> Path:
        """The directory of a node, below :attr:`path`; made when first needed."""

    def nio_type(self, name: str) -> NioType:
        """A NIO type by name.

        :raises gns3server.errors.Conflict: no plugin offers it.
        """

    async def announce(self, action: str, node: Subject) -> None:
        """Tell an event with the node's object that no stored change goes with."""

    async def report(self, node_id: str, message: str) -> None:
        """Tell a ``log.error`` about a node."""

    def settle_later(self, node_id: str, settle: Callable[[], Awaitable[None]]) -> None:
        """Have an exit of a node settled as soon as nobody holds the node."""
