"""A project: nodes, their wires and ports, and where they are stored."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gns3server.errors import Conflict, FilesFailed, NotFound
from gns3server.locks import Entry, FairLock, KeyedLocks
from gns3server.nodes.home import Machine, NodeRecord
from gns3server.nodes.nio import NioType
from gns3server.nodes.node import Node
from gns3server.nodes.node_type import NodeType, Numbers
from gns3server.nodes.registry import Registry
from gns3server.nodes.states import NodeState
from gns3server.notifications import Hub
from gns3server.ports import Holder, Use
from gns3server.projects import paths
from gns3server.projects.records import ProjectRecords

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all projects of a server share.

    :param node_ids: which project has each node id; ids are unique on a server.
    :param own: runs work in a task that the server waits for when it stops.
    """

    machine: Machine
    registry: Registry
    hub: Hub
    node_ids: dict[str, str]
    max_nodes: int
    own: Callable[[Coroutine[Any, Any, Any]], asyncio.Task[Any]]


class Project:
    """One lab. It is the :class:`~gns3server.nodes.home.Home` of its nodes.

    Its methods expect that the caller came in through :meth:`enter`: shared for
    work on nodes, exclusive to close or delete the project.
    """

    def __init__(
        self,
        surroundings: Surroundings,
        records: ProjectRecords,
        *,
        project_id: str,
        path: Path,
        name: str | None,
        temporary: bool,
    ) -> None:
        self._shared = surroundings
        self.records = records
        self.id = project_id
        self.path = path
        self.name = name
        self.temporary = temporary
        self.nodes: dict[str, Node] = {}
        self.removed_nodes: list[tuple[str, str]] = []
        self.closing = asyncio.Event()
        self.closed = False
        self._numbers: dict[str, Numbers] = {}
        self._lock = FairLock()
        self._node_locks = KeyedLocks()

    # Locks -------------------------------------------------------------------

    def enter(self, node_id: str | None = None, *, exclusive: bool = False) -> Entry:
        """Queue for the project and, if named, for one of its nodes.

        After the wait, :meth:`check_open` tells whether the project is still there.
        """
        return Entry(self._lock, exclusive=exclusive, inner=self._node_locks, key=node_id)

    def check_open(self) -> None:
        """Tell a visitor who waited that the project has gone meanwhile.

        :raises NotFound: it was closed or deleted.
        """
        if self.closed:
            raise NotFound(f"Project {self.id} was closed or deleted meanwhile.")

    # The project as the home of its nodes ----------------------------------------

    @property
    def machine(self) -> Machine:
        """Where the nodes of this project run."""
        return self._shared.machine

    def directory_of(self, node: Node) -> Path:
        """A node's own directory (PRJ-24)."""
        return self.node_directory(node.type.name, node.id)

    def node_directory(self, node_type: str, node_id: str) -> Path:
        """The directory of a node that may be deleted already (PRJ-24)."""
        return self.path / paths.FILES_DIRECTORY / node_type / node_id

    def nio_type(self, name: str) -> NioType:
        """A NIO type by name; see :meth:`gns3server.nodes.registry.Registry.nio_type`."""
        return self._shared.registry.nio_type(name)

    async def announce(self, action: str, node: Node) -> None:
        """Publish an event with the node's object."""
        self._shared.hub.publish(self.id, action, node.type.dump(await node.snapshot()))

    def report(self, node: Node, message: str) -> None:
        """Publish a ``log.error`` about a node, and log it."""
        log.error("project %s, VM %s: %s", self.id, node.id, message)
        event = {"message": message, "project_id": self.id, "vm_id": node.id}
        self._shared.hub.publish(self.id, "log.error", event)

    def settle_later(self, node: Node) -> None:
        """Settle an exit of the node as soon as nobody holds it."""
        entry = self.enter(node.id)

        async def settle() -> None:
            async with entry:
                await node.settle()

        _ = self._shared.own(settle())

    # Nodes -----------------------------------------------------------------------

    def node(self, node_type: str, node_id: str) -> Node:
        """A node of this project by type and id.

        :raises NotFound: there is none.
        """
        node = self.nodes.get(node_id)
        if node is None or node.type.name != node_type:
            raise NotFound(
                f"Project {self.id} has no {node_type} VM with the id {node_id}: "
                "check both ids, or create the VM first."
            )
        return node

    async def create_node(self, node_type: NodeType, values: Mapping[str, Any]) -> Node:
        """Create a node from a validated body, or return the one that has the id already.

        A node that was restored from disk takes the first such body as an
        update, which is how clients reopen a project (contract VPCS-29).

        :raises Conflict: the id is another project's, the console is taken,
            or no port, number or room is left.
        """
        node_id = values.get("id") or str(uuid.uuid4())
        known = self.nodes.get(node_id)
        if known is not None and known.type is node_type:
            return await self._take_up(known, values)
        self._claim_id(node_id)
        number: int | None = None
        try:
            number = self._take_number(node_type)
            node = await self._make_node(node_type, node_id, number, values)
        except BaseException:
            del self._shared.node_ids[node_id]
            self._give_number_back(node_type, number)
            self.machine.ports.tcp.release_where(self.id, node_id=node_id)
            raise
        self.nodes[node_id] = node
        await self.announce("vm.created", node)
        return node

    def adopt_node(self, node: Node) -> bool:
        """Take in a node that was restored from disk, unless its id is open elsewhere."""
        if node.id in self._shared.node_ids:
            return False
        self._shared.node_ids[node.id] = self.id
        self.nodes[node.id] = node
        if node.type.numbers is not None and node.number is not None:
            numbers = self._numbers.setdefault(node.type.name, Numbers(node.type.numbers))
            numbers.take(node.number)
        return True

    async def _take_up(self, node: Node, values: Mapping[str, Any]) -> Node:
        if node.restored and node.state is NodeState.STOPPED:
            await node.update(values)
            node.restored = False
        return node

    def _claim_id(self, node_id: str) -> None:
        owner = self._shared.node_ids.get(node_id)
        if owner is not None:
            where = (
                "this project, as a VM of another type" if owner == self.id else f"project {owner}"
            )
            raise Conflict(f"The VM id {node_id} is taken in {where}: choose another id.")
        if len(self._shared.node_ids) >= self._shared.max_nodes:
            raise Conflict(
                f"This server has {self._shared.max_nodes} VMs, which is its limit: "
                "delete some, or raise max_nodes in the settings."
            )
        self._shared.node_ids[node_id] = self.id

    async def _make_node(
        self, node_type: NodeType, node_id: str, number: int | None, values: Mapping[str, Any]
    ) -> Node:
        console = values.get("console")
        holder = Holder(self.id, Use.CONSOLE, node_id)
        if console is None:
            console = self.machine.ports.tcp.allocate(holder)
        else:
            self.machine.ports.tcp.hold(console, holder)
        record = NodeRecord(
            id=node_id,
            type=node_type.name,
            name=values["name"],
            console=console,
            number=number,
            properties={},
        )
        node = node_type.node_class(self, node_type, record)
        change = await node.prepare(values)
        node.properties.update(change.properties)
        await node.save(
            NodeRecord(
                id=node_id,
                type=node_type.name,
                name=node.name,
                console=console,
                number=number,
                properties=node.properties,
            ),
            change.files,
        )
        self.removed_nodes = [known for known in self.removed_nodes if known[1] != node_id]
        return node

    def _take_number(self, node_type: NodeType) -> int | None:
        if node_type.numbers is None:
            return None
        numbers = self._numbers.setdefault(node_type.name, Numbers(node_type.numbers))
        number = numbers.take()
        if number is None:
            raise Conflict(
                f"Project {self.id} has {numbers.size} {node_type.title} VMs, which is the most "
                "that can be told apart on one network: delete one, or use another project."
            )
        return number

    def _give_number_back(self, node_type: NodeType, number: int | None) -> None:
        if number is not None:
            self._numbers[node_type.name].give_back(number)

    async def delete_node(self, node: Node) -> None:
        """Stop a node and forget it; its directory stays until the project is committed."""
        await node.stop()
        udp = self.machine.ports.udp
        freed = [
            port
            for port, holder in node.udp_ports().items()
            if not any(
                other.use is Use.NIO and other.node_id != node.id for other in udp.holders(port)
            )
        ]
        await self.records.remove_node(node.id, node.type.name, freed)
        del self.nodes[node.id]
        del self._shared.node_ids[node.id]
        self.removed_nodes.append((node.type.name, node.id))
        self._give_number_back(node.type, node.number)
        self.machine.ports.tcp.release_where(self.id, node_id=node.id)
        udp.release_where(self.id, node_id=node.id)
        for port in freed:
            udp.release_where(self.id, use=Use.ALLOCATED, port=port)

    async def allocate_udp_port(self) -> int:
        """Reserve the lowest free UDP port for whoever asks; a NIO that names it takes it over.

        :raises Conflict: none is left.
        """
        holder = Holder(self.id, Use.ALLOCATED)
        port = self.machine.ports.udp.allocate(holder)
        try:
            await self.records.save_allocated_port(port)
        except BaseException:
            self.machine.ports.udp.release(port, holder)
            raise
        return port

    # The project itself ----------------------------------------------------------

    async def rename(self, name: str) -> None:
        """Give the project another name."""
        await self.records.save_project(self.id, name, self.temporary)
        self.name = name

    async def commit(self) -> None:
        """Remove the directories of deleted nodes (contract 4.3).

        :raises FilesFailed: a directory could not be removed; it is tried again next time.
        """
        for node_type, node_id in list(self.removed_nodes):
            try:
                await asyncio.to_thread(
                    paths.remove_node_directory, self.node_directory(node_type, node_id)
                )
            except OSError as error:
                raise FilesFailed(
                    f"The directory of the deleted VM {node_id} could not be removed: {error}. "
                    "Make it writable and commit again."
                ) from error
        await self.records.clear_removed_nodes()
        self.removed_nodes.clear()

    async def stop_nodes(self) -> None:
        """Stop all nodes at once; a node that cannot be stopped does not hinder the others."""
        nodes = list(self.nodes.values())
        results = await asyncio.gather(*(node.stop() for node in nodes), return_exceptions=True)
        for node, result in zip(nodes, results, strict=True):
            if isinstance(result, BaseException):
                log.error("VM %s of project %s was not stopped", node.id, self.id, exc_info=result)

    async def shut(self) -> None:
        """Give back everything the project has in memory, and its file; nothing runs any more."""
        self.closed = True
        for node_id in self.nodes:
            self._shared.node_ids.pop(node_id, None)
        self.machine.ports.release_project(self.id)
        self._shared.hub.end_project(self.id)
        await self.records.close()
