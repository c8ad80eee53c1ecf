"""A node: one emulated device of a project."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from gns3server.errors import Conflict, StorageFailed, warn_of_old_name
from gns3server.events import PendingEvent
from gns3server.files import durable as files
from gns3server.files.images import Images
from gns3server.nodes.nio import Nio
from gns3server.nodes.node_type import NodeType
from gns3server.nodes.parent import ParentProject
from gns3server.nodes.states import NodeState, check_move
from gns3server.nodes.wiring import Wiring
from gns3server.ports import Holder, Use
from gns3server.running.tools import find_program
from gns3server.storage.rows import NodeRow

CORE_FIELDS = frozenset({"id", "name", "console"})
"""What the core itself keeps of a create or update body; the rest is the plugin's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What a create or update request means for a node.

    :param properties: values to store with the node, added to what is there.
    :param files: new content of files in the node's directory, by plain name.
    """

    properties: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, bytes] = field(default_factory=dict)


class Node:
    """One emulated device. Plugin authors subclass
    :class:`~gns3server.nodes.process_node.ProcessNode`; the methods to
    override say who calls them and when.

    Every method is called with the node's lock held; none takes it.
    """

    def __init__(self, project: ParentProject, node_type: NodeType, record: NodeRow) -> None:
        self.project = project
        self.type = node_type
        self.id = record.id
        self.name = record.name
        self.console = record.console
        self.number = record.number
        self.properties: dict[str, Any] = dict(record.properties)
        self.wiring = Wiring(self)
        self.state = NodeState.STOPPED
        self.restored = False
        self._directory = (Path(), Path())
        self._coming_files: Mapping[str, bytes] = {}

    # What an author may override -------------------------------------------

    async def prepare(self, values: Mapping[str, Any]) -> Change:
        """Turn a validated create or update body into a change; check, and change nothing yet.

        Called by the core before a node is created (``name`` is set by then)
        and before it is updated (``self.name`` is still the old one). By
        default every field that is not the core's own and not null is stored
        as a property.

        :raises gns3server.errors.LabError: the values do not fit.
        """
        return Change(
            properties={
                name: value
                for name, value in values.items()
                if name not in CORE_FIELDS and value is not None
            }
        )

    async def snapshot(self) -> dict[str, Any]:
        """Everything that the object schema shows of this node.

        Called for every answer and event about the node.
        """
        return {
            **self.properties,
            "id": self.id,
            "project_id": self.project.id,
            "name": self.name,
            "console": self.console,
            "state": self.state,
            "directory": str(self.directory),
        }

    async def start(self) -> None:
        """Bring the node up; called by the start route."""
        raise Conflict(
            f"VM {self.name!r} cannot be started: a {self.type.title} has nothing to start."
        )

    async def stop(self) -> None:
        """Bring the node down and return when it is; called by stop, delete and close."""

    async def settle(self) -> None:
        """Take note of what has happened to the node by itself; called before each request."""

    async def leave(self) -> None:
        """Let what still runs be, and notice nothing of it any more: the node leaves memory."""

    # What an author may use ------------------------------------------------

    @property
    def home(self) -> ParentProject:
        """Deprecated, and gone in 0.3: ``project``."""
        warn_of_old_name("Node.home", "Node.project")
        return self.project

    @property
    def directory(self) -> Path:
        """The node's own directory. It need not exist yet."""
        if self._directory[0] is not self.project.path:
            self._directory = (
                self.project.path,
                self.project.node_directory(self.type.name, self.id),
            )
        return self._directory[1]

    @property
    def images(self) -> Images:
        """The image files of the machine that the node runs on."""
        return self.project.machine.images

    async def read_file(self, name: str) -> bytes | None:
        """Content of a file in the node's directory, ``None`` when there is none.

        :raises Conflict: it is there and cannot be read.
        """
        if name in self._coming_files:
            return self._coming_files[name]
        path = f"{self.directory}/{name}"
        try:
            return await self.project.machine.files.read(path)
        except OSError as error:
            raise Conflict(
                f"A file of VM {self.name!r} cannot be read: {error.strerror}. Make {path} a "
                "file that the server may read, or remove it."
            ) from error

    async def find_program(self, configured: str) -> str:
        """The executable that a setting names: a path, or a name looked up in PATH.

        :raises Conflict: there is none; the text names it.
        """
        search_path = self.project.machine.search_path
        found = await asyncio.to_thread(find_program, configured, search_path)
        if found is None:
            raise Conflict(
                f"VM {self.name!r} cannot be started: the program {configured!r} was not found "
                "on this machine, or is not executable."
            )
        return found

    def nio(self, adapter: int = 0, port: int = 0) -> Nio | None:
        """What is plugged in at this adapter and port."""
        return self.wiring.nios.get((adapter, port))

    # What the core calls ---------------------------------------------------

    async def reload(self) -> None:
        """Stop, then start; called by the reload route."""
        await self.stop()
        await self.start()

    async def update(self, values: Mapping[str, Any]) -> None:
        """Apply a validated update body: all of it, or nothing.

        :raises Conflict: the console port is taken, or the plugin refuses.
        :raises StorageFailed: the change could not be written.
        """
        change = await self.prepare(values)
        name = values.get("name") or self.name
        console = values.get("console") or self.console
        properties = {**self.properties, **change.properties}
        ports = self.project.machine.ports.tcp
        moved = console != self.console
        if moved:
            ports.hold(console, self._holder(Use.CONSOLE))
        try:
            await self.save(
                NodeRow(
                    id=self.id,
                    type=self.type.name,
                    name=name,
                    console=console,
                    number=self.number,
                    properties=properties,
                ),
                change.files,
            )
        except OSError:
            # It is stored; a file of it is put in place at the next opening.
            self._take(name, console, properties)
            raise
        except BaseException:
            if moved:
                ports.release(console, self._holder(Use.CONSOLE))
            raise
        self._take(name, console, properties)

    def _take(self, name: str, console: int, properties: dict[str, Any]) -> None:
        if console != self.console:
            self.project.machine.ports.tcp.release(self.console, self._holder(Use.CONSOLE))
        self.name, self.console, self.properties = name, console, properties

    async def preview(self, new_files: Mapping[str, bytes], state: NodeState) -> dict[str, Any]:
        """The snapshot that new files and a state will make; for who is alone with the node."""
        self._coming_files = new_files
        try:
            return {**await self.snapshot(), "state": state}
        finally:
            self._coming_files = {}

    async def node_event(
        self,
        action: str,
        *,
        files: Mapping[str, bytes] | None = None,
        state: NodeState | None = None,
        apply: Callable[[], None] | None = None,
    ) -> PendingEvent:
        """An event with the node's object as a change will make it; for who is alone with it.

        :param files: new content of files of the node.
        :param state: the state that it will have; the present one by default.
        :param apply: see :class:`~gns3server.nodes.parent.PendingEvent`.
        """
        values = await self.preview(files or {}, state or self.state)
        return PendingEvent(action=action, event=self.type.dump(values), apply=apply)

    async def save(
        self, record: NodeRow, new_files: Mapping[str, bytes], event: PendingEvent | None = None
    ) -> None:
        """Commit a node together with files: staged before the commit, in place before anybody
        is told of it.

        :raises StorageFailed: nothing has changed.
        """
        if not new_files:
            await self.project.records.save_node(record, {}, event=event)
            return
        directory = self.directory
        try:
            await asyncio.to_thread(files.stage, directory, new_files)
        except OSError as error:
            raise StorageFailed(
                f"The files of VM {record.name!r} cannot be written: {error}. Nothing was changed: "
                "free some disk space, or make the directory writable, and try again."
            ) from error
        placing = partial(files.replace, directory, new_files)
        await self.project.records.save_node(record, new_files, placing, event)
        await asyncio.to_thread(files.sync_directory, directory)
        await self.project.records.files_replaced(self.id)

    def _holder(self, use: Use) -> Holder:
        return Holder(self.project.id, use, self.id)

    def _move(self, state: NodeState) -> None:
        check_move(self.name, self.state, state)
        self.state = state
