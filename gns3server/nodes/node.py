"""A node: one emulated device of a project."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from gns3server import durable as files
from gns3server.errors import Conflict, StorageFailed
from gns3server.images import Images
from gns3server.nodes.home import Home, News, NodeRecord
from gns3server.nodes.nio import Nio
from gns3server.nodes.node_type import NodeType
from gns3server.nodes.states import NodeState, check_move
from gns3server.ports import Holder, Use
from gns3server.running.tools import find_program

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

    def __init__(self, home: Home, node_type: NodeType, record: NodeRecord) -> None:
        self.home = home
        self.type = node_type
        self.id = record.id
        self.name = record.name
        self.console = record.console
        self.number = record.number
        self.properties: dict[str, Any] = dict(record.properties)
        self.nios: dict[tuple[int, int], Nio] = {}
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
            "project_id": self.home.id,
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

    # What an author may use ------------------------------------------------

    @property
    def directory(self) -> Path:
        """The node's own directory. It need not exist yet."""
        if self._directory[0] is not self.home.path:
            self._directory = (self.home.path, self.home.directory_of(self))
        return self._directory[1]

    @property
    def images(self) -> Images:
        """The image files of the machine that the node runs on."""
        return self.home.machine.images

    async def read_file(self, name: str) -> bytes | None:
        """Content of a file in the node's directory, ``None`` when there is none."""
        if name in self._coming_files:
            return self._coming_files[name]
        return await self.home.machine.files.read(f"{self.directory}/{name}")

    async def find_program(self, configured: str) -> str:
        """The executable that a setting names: a path, or a name looked up in PATH.

        :raises Conflict: there is none; the text names it.
        """
        search_path = self.home.machine.search_path
        found = await asyncio.to_thread(find_program, configured, search_path)
        if found is None:
            raise Conflict(
                f"VM {self.name!r} cannot be started: the program {configured!r} was not found "
                "on this machine, or is not executable."
            )
        return found

    def nio(self, adapter: int = 0, port: int = 0) -> Nio | None:
        """What is plugged in at this adapter and port."""
        return self.nios.get((adapter, port))

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
        ports = self.home.machine.ports.tcp
        moved = console != self.console
        if moved:
            ports.hold(console, self._holder(Use.CONSOLE))
        try:
            await self.save(
                NodeRecord(
                    id=self.id,
                    type=self.type.name,
                    name=name,
                    console=console,
                    number=self.number,
                    properties=properties,
                ),
                change.files,
            )
        except BaseException:
            if moved:
                ports.release(console, self._holder(Use.CONSOLE))
            raise
        if moved:
            ports.release(self.console, self._holder(Use.CONSOLE))
        self.name, self.console, self.properties = name, console, properties

    async def preview(self, new_files: Mapping[str, bytes], state: NodeState) -> dict[str, Any]:
        """The snapshot that new files and a state will make; for who is alone with the node."""
        self._coming_files = new_files
        try:
            return {**await self.snapshot(), "state": state}
        finally:
            self._coming_files = {}

    async def save(
        self, record: NodeRecord, new_files: Mapping[str, bytes], news: News | None = None
    ) -> None:
        """Commit a node together with files: staged before the commit, in place before anybody
        is told of it.

        :raises StorageFailed: nothing has changed.
        """
        if not new_files:
            await self.home.records.save_node(record, {}, news=news)
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
        await self.home.records.save_node(record, new_files, placing, news)
        await asyncio.to_thread(files.sync_directory, directory)
        await self.home.records.files_replaced(self.id)

    def place(self, adapter: int, port: int) -> tuple[int, int]:
        """Where a NIO goes that a request wants at this adapter and port.

        :raises Conflict: the node has no such adapter or port.
        """
        if self.type.adapters is None:
            adapter = 0
        elif adapter >= self.type.adapters:
            raise Conflict(
                f"VM {self.name!r} has no adapter {adapter}: its adapters are numbered "
                f"0 to {self.type.adapters - 1}."
            )
        if port >= self.type.ports:
            raise Conflict(
                f"VM {self.name!r} has no port {port} on adapter {adapter}: "
                f"ports are numbered 0 to {self.type.ports - 1}."
            )
        return adapter, port

    async def add_nio(self, adapter: int, port: int, nio: Nio) -> None:
        """Plug a NIO in, replacing the one that is there. A running node gets it at its next start.

        :raises Conflict: the type does not fit the node, the port is taken, or
            the NIO type's own check refuses.
        """
        place = self.place(adapter, port)
        if nio.type not in self.type.nio_types:
            takes = ", ".join(self.type.nio_types) or "none at all"
            raise Conflict(
                f"NIO of type {nio.type} is not supported by VM {self.name!r}: it takes {takes}."
            )
        nio_type = self.home.nio_type(nio.type)
        if nio_type.check is not None:
            await nio_type.check(nio.values)
        await self._replace_nio(place, nio, nio_type.udp_port(nio))

    async def remove_nio(self, adapter: int, port: int) -> None:
        """Unplug what is there; nothing there is fine.

        :raises Conflict: the node has no such adapter or port.
        """
        place = self.place(adapter, port)
        if place in self.nios:
            await self._replace_nio(place, None, None)

    async def _replace_nio(
        self, place: tuple[int, int], nio: Nio | None, udp_port: int | None
    ) -> None:
        udp, holder = self.home.machine.ports.udp, self._nio_holder(place)
        old = self.nios.get(place)
        old_port = self.home.nio_type(old.type).udp_port(old) if old else None
        if udp_port is not None and udp_port != old_port:
            udp.hold(udp_port, holder)
        freed = self._freed_with(old_port, holder) if old_port != udp_port else None
        try:
            await self.home.records.save_nio(self.id, place, nio, freed)
        except BaseException:
            if udp_port is not None and udp_port != old_port:
                udp.release(udp_port, holder)
            raise
        if nio is None:
            self.nios.pop(place, None)
        else:
            self.nios[place] = nio
        if old_port is not None and old_port != udp_port:
            udp.release(old_port, holder)
        if freed is not None:
            udp.release_where(self.home.id, use=Use.ALLOCATED, port=freed)

    def _freed_with(self, port: int | None, holder: Holder) -> int | None:
        """``port``, if its allocation ends with this NIO: no other NIO names it (contract 2.3)."""
        if port is None:
            return None
        others = self.home.machine.ports.udp.holders(port) - {holder}
        return None if any(other.use is Use.NIO for other in others) else port

    def freed_udp_ports(self) -> list[int]:
        """The allocated ports that are free again when this node is gone."""
        udp = self.home.machine.ports.udp
        return [
            port
            for port in {port for port, _ in self.udp_ports()}
            if all(h.use is not Use.NIO or h.node_id == self.id for h in udp.holders(port))
        ]

    def udp_ports(self) -> list[tuple[int, Holder]]:
        """The UDP ports that this node's NIOs name, each with its NIO's hold on it."""
        named = []
        for place, nio in self.nios.items():
            port = self.home.nio_type(nio.type).udp_port(nio)
            if port is not None:
                named.append((port, self._nio_holder(place)))
        return named

    def _holder(self, use: Use, detail: str = "") -> Holder:
        return Holder(self.home.id, use, self.id, detail)

    def _nio_holder(self, place: tuple[int, int]) -> Holder:
        return self._holder(Use.NIO, f"{place[0]}/{place[1]}")

    def _move(self, state: NodeState) -> None:
        check_move(self.name, self.state, state)
        self.state = state
