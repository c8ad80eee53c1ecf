"""A node: one emulated device of a project."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gns3server.consoles.stream import ConsoleStream
from gns3server.errors import BodyTooLarge, Conflict, warn_of_old_name
from gns3server.files.images import Images
from gns3server.files.small_files import LARGEST
from gns3server.nodes.limits import core_code
from gns3server.nodes.nio import Nio
from gns3server.nodes.node_core import NodeCore
from gns3server.nodes.project_base import ProjectBase
from gns3server.nodes.store import Store
from gns3server.running.machine import Machine
from gns3server.running.runtime import runtime_directory

log = logging.getLogger(__name__)

CORE_FIELDS = frozenset({"id", "name", "console"})
"""Fields of a create or update body that the core itself keeps; the rest are the plugin's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What a create or update request means for a node.

    :param properties: values to store with the node, added to what is there.
    :param files: new content of files in the node's directory, by plain name.
    :raises Conflict: a file is larger than could be read back.
    """

    properties: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, content in self.files.items():
            if len(content) > LARGEST:
                raise Conflict(
                    f"The file {name!r} of a VM would have {len(content)} bytes, and nothing was "
                    f"changed: give it at most {LARGEST}."
                )


PROPERTIES_BYTES = 512 * 1024
"""How long the properties of a node may be, as JSON: they are kept in memory. Longer texts belong
in files."""


def check_properties(node: NodeCore, properties: Mapping[str, Any]) -> None:
    """Check that a node can have these properties.

    :raises BodyTooLarge: they are too long.
    """
    size = len(json.dumps(dict(properties)))
    if size > PROPERTIES_BYTES:
        raise BodyTooLarge(
            f"The values of {node.title} would have {size} bytes, and nothing was changed: give "
            f"them at most {PROPERTIES_BYTES} together."
        )


class Node(NodeCore):
    """One emulated device. Authors subclass this for a node that is not a process, and
    :class:`~gns3server.nodes.process_node.ProcessNode` for one that is; the methods to override
    say who calls them and when.

    Each is called with the node's lock held, and must take none itself. Each has a time limit,
    after which it is given up; the core's own work is done all the same. The core keeps the
    state, tells the events and stores both.
    """

    # What an author may override -------------------------------------------

    @property
    def adapters(self) -> int | None:
        """How many adapters it has; ``None`` if the number in a request does not matter."""
        return self.type.adapters

    @property
    def ports(self) -> int:
        """How many ports each of its adapters has."""
        return self.type.ports

    @property
    def runs_with(self) -> Mapping[str, Any]:
        """What is special about the way in which it runs, such as an accelerator, by name.

        Lists of nodes show it, and other APIs; null stands for each value while it is stopped.
        """
        return {}

    @core_code
    async def prepare(self, values: Mapping[str, Any]) -> Change:
        """Turn a validated create or update body into a change. It checks, and changes nothing yet.

        Called by the core before a node is created (``name`` is set by then)
        and before it is updated (``self.name`` is still the old one). By
        default every field that is neither the core's own nor null is stored
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

    @core_code
    async def snapshot(self) -> dict[str, Any]:
        """Everything that the object schema shows of this node.

        Called for every answer and event about the node: what can be declared in its type
        (``text_files``) is shown faster than what an override adds.
        """
        values = {
            **self.properties,
            "id": self.id,
            "project_id": self.project.id,
            "name": self.name,
            "console": self.console,
            "state": self.state,
            # In the form that clients use for the project's directory: they compare the two.
            "directory": f"{self.project.given_files}/{self.type.name}/{self.id}",
        }
        for file in self.type.text_files:
            try:
                content = await self.read_file(file.name)
            except Conflict:
                # A node can be shown, and its end told, whatever state its files are in.
                content = None
            values[file.text] = None if content is None else content.decode(errors="replace")
            if file.path is not None:
                values[file.path] = None if content is None else file.name
        return values

    @core_code
    async def created(self) -> None:
        """Do whatever else a new node needs. The node exists, whatever happens here.

        Called once the node is stored and told; again at the next opening of its project if the
        server ended before this did.
        """

    @core_code
    async def adopted(self) -> None:
        """Continue with what ran on without this server, or should have.

        Called when the project is opened, for a node that an earlier server has left started:
        ``state`` says so, and a process node's ``run`` is there. A node without a process that
        raises here is stopped.
        """

    @core_code
    async def deleted(self) -> None:
        """Release what the node has outside its project. It is deleted, whatever happens here.

        Called once the node is stopped, before it is forgotten.
        """

    @core_code
    async def start(self) -> None:
        """Bring up what the node stands for, and return when it is there.

        Called when the node is to be started and is not; the core keeps the state and the record.

        :raises gns3server.errors.Conflict: it cannot be started; the text says what to do.
        """
        if not self.type.always_on:
            raise Conflict(
                f"{self.title} cannot be started: a {self.type.title} has nothing to start."
            )

    @core_code
    async def stop(self) -> None:
        """Bring it down, and return when it is. Whatever happens here, the node is then stopped.

        Called for stop and reload, and when the node is deleted or its project closed.
        """

    @core_code
    async def suspend(self) -> None:
        """Freeze it; called for a started node whose type has the capability ``suspend``.

        :raises gns3server.errors.Conflict: that is not possible now.
        """

    @core_code
    async def resume(self) -> None:
        """Let it continue; called for a suspended node.

        :raises gns3server.errors.Conflict: that is not possible now.
        """

    @core_code
    async def reset(self) -> None:
        """Begin anew with all that runs left in place, as by the reset button of a machine.

        Called for a reload of a node that is not stopped, whose type has the capability ``reset``.

        :raises gns3server.errors.Conflict: that is not possible now.
        """

    @core_code
    async def settle(self) -> None:
        """Take note of what has happened to the node on its own; called before each request."""

    @core_code
    async def leave(self) -> None:
        """Leave what still runs alone, and stop watching it: the node leaves memory."""

    @core_code
    async def wire_changing(self, adapter: int, port: int, nio: Nio | None) -> None:
        """Check that a NIO can be plugged in here, or unplugged (``None``).

        Called before the change is stored.

        :raises gns3server.errors.Conflict: it cannot; nothing is then changed.
        """

    @core_code
    async def wire_changed(self, adapter: int, port: int, nio: Nio | None) -> None:
        """Apply a change of a wire to what runs, if that is possible.

        Called once it is stored, before the answer: for what is plugged in or unplugged, and when
        the link that it is part of is suspended, or no longer (:meth:`is_suspended`). By default
        it takes effect at the next start.
        """

    @core_code
    async def updated(self) -> None:
        """Apply an update to what runs, if that is possible.

        Called once it is stored and told, before the answer. By default it takes effect at the
        next start.
        """

    # What an author may use ------------------------------------------------

    @property
    def shape(self) -> tuple[int | None, int]:
        """How many adapters it has, and how many ports each of them."""
        try:
            return self.adapters, self.ports
        except Exception:
            # It must be possible to tell of a node whatever its plugin's code does.
            log.exception("VM %s does not say what ports it has", self.id)
            return super().shape

    @property
    def manner(self) -> Mapping[str, Any]:
        """What is special about the way in which it runs."""
        try:
            return dict(self.runs_with)
        except Exception:
            log.exception("VM %s does not say what it runs with", self.id)
            return super().manner

    @property
    def home(self) -> ProjectBase:
        """Deprecated, removed in 0.3: use ``project``."""
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
    def runtime_directory(self) -> Path:
        """A directory for sockets, with a short path, for this user alone.

        It exists from a start whose launch spec names something in it until the process is gone.
        """
        self._uses_runtime = True
        return runtime_directory(self.machine.runtime, self.id)

    @property
    def machine(self) -> Machine:
        """The machine that the node runs on."""
        return self.project.machine

    @property
    def settings(self) -> Mapping[str, Any]:
        """Its plugin's section of the settings, always the newest."""
        return self.project.settings_of(self.type.name)

    @property
    def store(self) -> Store:
        """Durable values that the calling plugin keeps with the node."""
        return Store(self.project.records, self.owner)

    async def console_stream(self, *, read_only: bool = False) -> ConsoleStream:
        """Take part in the node's console, as one more client of it; to be closed.

        It waits for nobody, and a console that is open holds nothing.

        :param read_only: keys are not passed on.
        :raises Conflict: the node does not run, or its console is not the server's to serve.
        """
        raise Conflict(f"{self.title} has no console that the server serves.")

    async def transcribe(self, wanted: bool) -> None:
        """Begin or end to add all that its console shows to the file ``console.log``.

        The file is in the node's directory. It has 64 MiB at most; one older part of that size is
        kept beside it. This holds until the node stops, whatever becomes of the server.

        :raises Conflict: as :meth:`console_stream`, or the file cannot be written.
        """
        raise Conflict(f"{self.title} has no console that the server serves.")

    @property
    def transcript(self) -> Path | None:
        """The file that all that its console shows is added to; ``None`` if there is none."""
        return None

    @property
    def images(self) -> Images:
        """The image files of the machine that the node runs on."""
        return self.machine.images

    @property
    def nios(self) -> Mapping[tuple[int, int], Nio]:
        """What is plugged in, by adapter and port."""
        return self.wiring.nios

    def nio(self, adapter: int = 0, port: int = 0) -> Nio | None:
        """What is plugged in at this adapter and port."""
        return self.wiring.nios.get((adapter, port))

    def is_suspended(self, adapter: int = 0, port: int = 0) -> bool:
        """Whether what is plugged in here is part of a link that is suspended.

        Such a link carries no frames, whatever the node does. A node that knows of carriers shows
        none there.
        """
        return (adapter, port) in self.wiring.suspended

    async def read_file(self, name: str) -> bytes | None:
        """Content of a file in the node's directory, ``None`` when there is none.

        :raises Conflict: it exists but cannot be read, is not a regular file, is reached through
            a link, or is larger than 1 MiB.
        """
        if name in self._coming_files:
            return self._coming_files[name]
        path = f"{self.directory}/{name}"
        try:
            return await self.machine.read_file(path, self.project.path)
        except OSError as error:
            raise Conflict(
                f"A file of VM {self.name!r} cannot be read: {error.strerror}. Make {path} a "
                f"plain file of at most {LARGEST} bytes that the server may read, or remove it."
            ) from error

    async def find_program(self, configured: str) -> str:
        """The executable that a setting names: a path, or a name looked up in the machine's PATH.

        :raises Conflict: there is none; the text names it.
        """
        found = await self.machine.find_program(configured)
        if found is None:
            raise Conflict(
                f"VM {self.name!r} cannot be started: the program {configured!r} was not found "
                "on its machine, or is not executable."
            )
        return found
