"""What a node may ask of the project it lives in."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from gns3server.files.images import Images
from gns3server.nodes.file_cache import FileCache
from gns3server.nodes.nio import Nio, NioType
from gns3server.nodes.states import NodeState
from gns3server.ports import Ports
from gns3server.running.gate import StartGate
from gns3server.running.identity import ProcessIdentity
from gns3server.running.runner import Runner
from gns3server.running.spec import LaunchSpec

if TYPE_CHECKING:
    from gns3server.nodes.node import Node


@dataclass(frozen=True, slots=True)
class Machine:
    """Where nodes run: the runner, its start gate, and what that machine has."""

    runner: Runner
    gate: StartGate
    ports: Ports
    search_path: str
    files: FileCache
    images: Images


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeRow:
    """A node as it is stored."""

    id: str
    type: str
    name: str
    console: int
    number: int | None
    properties: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRow:
    """A run as it is stored: first the intent to spawn, then the processes it has.

    :param processes: main process first; empty while only intended.
    """

    id: str
    node_id: str
    spec: LaunchSpec
    processes: tuple[ProcessIdentity, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingEvent:
    """An event, stored in one commit with the change that it tells of.

    :param apply: takes the change into memory: called once it is on disk, before anybody is told.
    """

    action: str
    event: Mapping[str, Any]
    apply: Callable[[], None] | None = None


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
        self, node_id: str, place: tuple[int, int], nio: Nio | None, freed: int | None
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

    def directory_of(self, node: Node) -> Path:
        """The node's own directory, below :attr:`path`; made when first needed."""

    def nio_type(self, name: str) -> NioType:
        """A NIO type by name.

        :raises gns3server.errors.Conflict: no plugin offers it.
        """

    async def node_event(
        self,
        action: str,
        node: Node,
        *,
        files: Mapping[str, bytes] | None = None,
        state: NodeState | None = None,
        apply: Callable[[], None] | None = None,
    ) -> PendingEvent:
        """An event with the node's object as a change will make it.

        :param files: new content of files of the node.
        :param state: the state that it will have; the present one by default.
        """

    async def announce(self, action: str, node: Node) -> None:
        """Tell an event with the node's object that no stored change goes with."""

    async def report(self, node: Node, message: str) -> None:
        """Tell a ``log.error`` about the node."""

    def settle_later(self, node: Node) -> None:
        """Have an exit of the node settled as soon as nobody holds the node."""
