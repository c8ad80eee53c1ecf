"""A node: one emulated device of a project."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gns3server.errors import Conflict, warn_of_old_name
from gns3server.events import Event
from gns3server.files.images import Images
from gns3server.nodes.nio import Nio
from gns3server.nodes.node_type import NodeType
from gns3server.nodes.project_base import ProjectBase
from gns3server.nodes.states import NodeState, check_move
from gns3server.nodes.view import NodeView
from gns3server.nodes.wiring import Wiring
from gns3server.ports import Holder, Use
from gns3server.running.tools import find_program
from gns3server.storage.rows import NodeRow, Owner

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

    def __init__(self, project: ProjectBase, node_type: NodeType, record: NodeRow) -> None:
        self.project = project
        self.type = node_type
        self.id = record.id
        self.name = record.name
        # A number for all types that have a console, which a type checker could not know.
        self.console: Any = record.console
        self.number = record.number
        self.properties: dict[str, Any] = dict(record.properties)
        self.wiring = Wiring(project, record.id)
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
    def home(self) -> ProjectBase:
        """Deprecated, and gone in 0.3: ``project``."""
        warn_of_old_name("Node.home", "Node.project")
        return self.project

    @property
    def directory(self) -> Path:
        """The node's own directory. It need not exist yet."""
        if self._directory[0] is not self.project.path:
            own = self.project.node_directory(self.type.name, self.id)
            self._directory = (self.project.path, own)
        return self._directory[1]

    @property
    def images(self) -> Images:
        """The image files of the machine that the node runs on."""
        return self.project.machine.images

    @property
    def nios(self) -> Mapping[tuple[int, int], Nio]:
        """What is plugged in, by adapter and port."""
        return self.wiring.nios

    def nio(self, adapter: int = 0, port: int = 0) -> Nio | None:
        """What is plugged in at this adapter and port."""
        return self.wiring.nios.get((adapter, port))

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

    # What the core uses ----------------------------------------------------

    @property
    def owner(self) -> Owner:
        """The node, as what runs and values on record belong to."""
        return Owner("node", self.id)

    @property
    def title(self) -> str:
        """What messages to clients call it."""
        return f"VM {self.name!r}"

    def holder(self, use: Use) -> Holder:
        """The node, as who holds a port."""
        return Holder(self.project.id, use, self.id)

    def row(self, **values: Any) -> NodeRow:
        """What is stored of it.

        :param values: what is to be stored instead.
        """
        own = {
            "id": self.id,
            "type": self.type.name,
            "name": self.name,
            "console": self.console,
            "number": self.number,
            "properties": self.properties,
        }
        return NodeRow(**{**own, **values})

    def move(self, state: NodeState) -> None:
        """Get into another state.

        :raises Conflict: the table of moves does not have that.
        """
        check_move(self.name, self.state, state)
        self.state = state

    async def event(
        self,
        change: str,
        *,
        state: NodeState | None = None,
        files: Mapping[str, bytes] | None = None,
    ) -> Event:
        """An event with the node as a change will make it; for who is alone with the node.

        :param state: the state that it will have; the present one by default.
        :param files: new content of files in its directory.
        """
        self._coming_files = files or {}
        try:
            values = await self.snapshot()
        finally:
            self._coming_files = {}
        state = state or self.state
        view = NodeView(
            id=self.id,
            project_id=self.project.id,
            type=self.type.name,
            name=self.name,
            state=state,
            console=self.console,
            values={**values, "state": state},
        )
        return Event("node", change, self.project.id, view)
