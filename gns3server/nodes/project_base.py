"""The project that a node belongs to, as far as nodes use it."""

from __future__ import annotations

import asyncio
import logging
import os
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from gns3server.calls import LimitedCalls
from gns3server.consoles.service import ConsoleService
from gns3server.errors import Conflict, warn_of_old_name
from gns3server.events import Event, EventBus, LogEntry
from gns3server.files.safe_open import directory_beneath
from gns3server.locks import LockRequest
from gns3server.nodes.limits import core_code
from gns3server.nodes.nio import Nio, NioType
from gns3server.nodes.plugin_events import plugin_event
from gns3server.nodes.registry import Registry
from gns3server.nodes.store import Store
from gns3server.places import paths
from gns3server.running.machine import Machine
from gns3server.running.spec import LaunchSpec
from gns3server.running.threads import SeparateThreads
from gns3server.settings.live import LiveSettings
from gns3server.storage.change import ProjectChange
from gns3server.storage.event_log import Translate
from gns3server.storage.rows import Owner
from gns3server.storage.stores import ProjectStore

log = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectServices:
    """What all projects of a server share.

    :param translate: makes the lines that are stored for events.
    :param node_ids: which project has each node id; ids are unique on a server.
    :param converting: held while files of legacy nodes are moved, as projects may share them.
    :param own: runs work in a task that the server waits for when it stops.
    :param limits: how long calls into nodes may take.
    :param copiers: threads that copy files of projects, which may take long.
    """

    machine: Machine
    consoles: ConsoleService
    registry: Registry
    bus: EventBus
    translate: Translate
    config: LiveSettings
    node_ids: dict[str, str]
    converting: asyncio.Lock
    own: Callable[[Coroutine[Any, Any, Any]], asyncio.Task[Any]]
    limits: LimitedCalls
    copiers: SeparateThreads


class ProjectBase(ABC):
    """A lab without its nodes; :class:`~gns3server.projects.project.Project` has those."""

    def __init__(
        self,
        services: ProjectServices,
        records: ProjectStore,
        *,
        project_id: str,
        path: Path,
        given: str,
        name: str | None,
        temporary: bool,
    ) -> None:
        self._shared = services
        self.records = records
        self.id = project_id
        self.be_in(path, given)
        self.name = name
        self.temporary = temporary
        self.closing = asyncio.Event()
        """Set when the project is about to close: its nodes then stop waiting at once."""

    def be_in(self, path: Path, given: str) -> None:
        """Use this directory from now on, which clients call ``given``."""
        self.path = path
        """Its real directory: a new object whenever the directory changes."""
        self.given = given
        """The same directory, as answers show it."""
        self.given_files = os.path.join(given, paths.FILES_DIRECTORY)
        """The directory of nodes' files below it, as answers show it."""

    @property
    def machine(self) -> Machine:
        """Where its nodes run."""
        return self._shared.machine

    @property
    def consoles(self) -> ConsoleService:
        """Who serves the consoles of its nodes."""
        return self._shared.consoles

    @property
    def copiers(self) -> SeparateThreads:
        """Threads that copy its files."""
        return self._shared.copiers

    @property
    def limits(self) -> LimitedCalls:
        """How long calls into its nodes may take."""
        return self._shared.limits

    @abstractmethod
    def enter(self, *node_ids: str, exclusive: bool = False, creating: bool = False) -> LockRequest:
        """Queue for the project and, if any are named, for some of its nodes: all in one step."""

    @abstractmethod
    def hold_new(self, node_id: str) -> LockRequest:
        """Hold a node that was taken in this moment; the caller has a place in the project."""

    @abstractmethod
    def note_wire(
        self,
        change: ProjectChange,
        node_id: str,
        place: tuple[int, int],
        old: Nio | None,
        new: Nio | None,
    ) -> None:
        """Have a change tell what one NIO in place of another means for links."""

    @abstractmethod
    def note_stop(self, change: ProjectChange, node_id: str) -> None:
        """Have a change tell what it means for links that a node stops."""

    def own(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Run work to its end in a task that the server waits for when it stops."""
        return self._shared.own(work)

    def change(self, *, fact: bool = False) -> ProjectChange:
        """Change something, all of it or nothing.

        See :class:`~gns3server.storage.change.ProjectChange`.

        :param fact: it has happened already, and is told even if it cannot be stored.
        """
        return self.records.change(fact=fact)

    @property
    def store(self) -> Store:
        """Durable values that the calling plugin keeps with the project."""
        return Store(self.records, Owner("project", self.id))

    def node_directory(self, node_type: str, node_id: str) -> Path:
        """The directory of a node, which may already be deleted (PRJ-24)."""
        return self.path / paths.FILES_DIRECTORY / node_type / node_id

    def nio_type(self, name: str) -> NioType:
        """A NIO type by name.

        :raises gns3server.errors.Conflict: no plugin of this server offers it.
        """
        return self._shared.registry.nio_type(name)

    def plugin_of(self, name: str) -> str:
        """The name of the plugin that offers a node type or NIO type."""
        return self._shared.registry.plugins.get(name, name)

    def settings_of(self, node_type: str) -> Mapping[str, Any]:
        """The settings section of the plugin that offers a node type, always the newest."""
        return self._shared.registry.settings.get(node_type, {})

    async def unless_closing(self, work: Coroutine[Any, Any, T], title: str) -> T:
        """Await ``work``, but give it up as soon as the project is about to close.

        :param title: what is being started, for the message.
        :raises Conflict: the project is about to close.
        """
        task = asyncio.ensure_future(work)
        closing = asyncio.ensure_future(self.closing.wait())
        try:
            await asyncio.wait({task, closing}, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                raise Conflict(f"{title} was not started: its project is being closed or deleted.")
            return task.result()
        finally:
            closing.cancel()
            if not task.done():
                task.cancel()
                await asyncio.wait({task})

    @asynccontextmanager
    async def start_place(self, title: str) -> AsyncIterator[None]:
        """Wait for a place in the machine's start gate, and hold it for the block.

        :raises Conflict: the project is about to close.
        """
        async with AsyncExitStack() as stack:
            await self.unless_closing(stack.enter_async_context(self.machine.gate.slot()), title)
            yield

    async def make_directory(self, spec: LaunchSpec) -> None:
        """Make the directory that something works in.

        :raises OSError: it is not in the project's directory, or a link or something else is in
            its way.
        """
        await asyncio.to_thread(self._make_directory, spec)

    def _make_directory(self, spec: LaunchSpec) -> None:
        if not spec.is_in(self.path):
            raise OSError(f"{spec.cwd} is not in the project's directory, {self.path}")
        with directory_beneath(self.path, spec.directory, make=True):
            pass

    @core_code
    async def publish(self, name: str, values: Mapping[str, Any]) -> None:
        """Tell an event that a plugin defines, numbered and kept in the project's event log.

        :param name: the plugin's name and a word of its own, joined by a dot.
        :param values: what clients are told: up to 64 KiB of JSON.
        :raises ValueError: the name does not begin with the plugin's, or JSON cannot hold that.
        :raises gns3server.errors.Conflict: it is too long.
        :raises gns3server.errors.StorageFailed: it could not be stored, and was not told.
        """
        event = plugin_event(name, self.id, values)
        async with self.change() as change:
            change.tell(event)

    async def announce(self, action: str, node: Any) -> None:
        """The former way to tell ``vm.started`` and the like of a node; removed in 0.3.

        The core itself tells of everything that it does.
        """
        warn_of_old_name("home.announce", "Project.publish")
        async with self.change() as change:
            change.tell(await node.event(action.removeprefix("vm.")))

    def complaint(self, node_id: str, message: str) -> Event:
        """Log an error of a node, and make the event that tells of it."""
        log.error("project %s, VM %s: %s", self.id, node_id, message)
        return Event("log", "error", self.id, LogEntry(message, node_id))

    async def report(self, node_id: str, message: str) -> None:
        """Log an error of a node, and tell it to listeners."""
        async with self.change(fact=True) as change:
            change.tell(self.complaint(node_id, message))
