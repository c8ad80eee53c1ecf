"""The nodes of one project: which ones there are, and how they come and go."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from types import MappingProxyType
from typing import Any

from gns3server.errors import Conflict, FilesFailed, NotFound
from gns3server.files.reasons import DIRECTORY_REMEDY, remedy
from gns3server.links.project_links import ProjectLinks
from gns3server.nodes import lifecycle
from gns3server.nodes.node import Change, Node, check_properties
from gns3server.nodes.node_type import NodeType, Numbers
from gns3server.nodes.project_base import ProjectBase, ProjectServices
from gns3server.nodes.states import NodeState
from gns3server.nodes.store import Store, stored_with_all
from gns3server.places import paths
from gns3server.places.legacy import LegacyNode, convert
from gns3server.ports import Holder, Use
from gns3server.projects.layout import Layout
from gns3server.storage.change import ProjectChange
from gns3server.storage.rows import NodeRow, Owner

Joined = Callable[[ProjectChange, str], None]
"""Adds to the change that stores a node, whose id it is given."""


def nothing_else(_change: ProjectChange, _node_id: str) -> None:
    """Add nothing to what is stored with a new node."""


class ProjectNodes:
    """The nodes of a project, and the deleted ones whose directories still exist.

    :param project: the project.
    :param layout: where the nodes are drawn.
    :param links: what joins them.
    """

    def __init__(
        self,
        project: ProjectBase,
        services: ProjectServices,
        layout: Layout,
        links: ProjectLinks,
    ) -> None:
        self._project = project
        self._shared = services
        self._layout = layout
        self._links = links
        self._nodes: dict[str, Node] = {}
        self._removed: list[tuple[str, str]] = []
        self._numbers: dict[str, Numbers] = {}

    def __iter__(self) -> Iterator[Node]:
        """All nodes, as they are now."""
        return iter(list(self._nodes.values()))

    def __len__(self) -> int:
        return len(self._nodes)

    def get(self, node_type: str, node_id: str) -> Node:
        """A node by type and id.

        :raises NotFound: there is none.
        """
        node = self._nodes.get(node_id)
        if node is None or node.type.name != node_type:
            raise NotFound(
                f"Project {self._project.id} has no {node_type} VM with the id {node_id}: "
                "check both ids, or create the VM first."
            )
        return node

    def find(self, node_id: object) -> Node | None:
        """A node by id, whatever its type."""
        return self._nodes.get(node_id) if isinstance(node_id, str) else None

    def neighbours(self, node_id: str) -> set[str]:
        """The nodes that links join to a node."""
        return self._links.neighbours(node_id)

    def store(self, node_id: str) -> Store:
        """The values that the calling plugin keeps with a node, which may still be made."""
        return Store(self._project.records, Owner("node", node_id))

    async def stored(self, key: str) -> dict[str, Any]:
        """What the calling plugin keeps under a key with each node, by node."""
        return await stored_with_all(self._project.records, key, "node")

    def restore(self, node: Node) -> bool:
        """Take in a node that was read from disk, unless its id is open in another project."""
        if node.id in self._shared.node_ids:
            return False
        self._shared.node_ids[node.id] = self._project.id
        self._nodes[node.id] = node
        if node.type.numbers is not None and node.number is not None:
            self._numbers_of(node.type).take(node.number)
        return True

    def clear(self) -> None:
        """Forget all nodes: others take their place. Nothing of them may run."""
        ports = self._project.machine.ports
        for node_id in self._nodes:
            self._shared.node_ids.pop(node_id, None)
            ports.tcp.release_where(self._project.id, node_id=node_id)
            ports.udp.release_where(self._project.id, node_id=node_id)
        self._nodes.clear()
        self._numbers.clear()

    def check_ids(self, node_ids: Collection[str]) -> None:
        """Check that these nodes can take the place of the present ones.

        :raises Conflict: another project has one of them, or there are too many.
        """
        taken = self._shared.node_ids
        for node_id in node_ids:
            if taken.get(node_id, self._project.id) != self._project.id:
                raise Conflict(
                    f"VM {node_id} is in project {taken[node_id]} by now, and nothing was changed: "
                    "delete it there first."
                )
        count = len(taken) - len(self._nodes) + len(node_ids)
        limit = self._shared.config.current.server.max_nodes
        if count > limit:
            raise Conflict(
                f"This server would have {count} VMs, and its limit is {limit}: delete some, or "
                "raise max_nodes in the settings. Nothing was changed."
            )

    def restore_removed(self, removed: list[tuple[str, str]]) -> None:
        """Remember deleted nodes, by type and id, whose directories still exist."""
        self._removed = list(removed)

    async def create(
        self,
        node_type: NodeType,
        values: Mapping[str, Any],
        layout: Mapping[str, Any] = MappingProxyType({}),
        join: Joined = nothing_else,
    ) -> Node:
        """Create a node from a validated body. The caller holds its id, if the body names one.

        :param layout: where it is drawn, checked.
        :param join: given the change and the id of the node, adds to what is stored.
        :raises Conflict: the id or the console is taken, or no port, number or room is left.
        :raises StorageFailed: it could not be written; there is no such node.
        """
        node_id = await self._id_of(node_type, values)
        self._claim_id(node_id)
        number: int | None = None
        with ExitStack() as held:
            try:
                number = self._take_number(node_type)
                node = await self._make(node_type, node_id, number, values)
                await self._store(node, values, layout, self._joined(join, values, held))
            except BaseException:
                if node_id in self._nodes:
                    # It was made and told, but one of its files is not in place.
                    raise
                del self._shared.node_ids[node_id]
                self._give_number_back(node_type, number)
                self._project.machine.ports.tcp.release_where(self._project.id, node_id=node_id)
                raise
            await lifecycle.finish_creation(node)
        return node

    def _joined(self, join: Joined, values: Mapping[str, Any], held: ExitStack) -> Joined:
        """What is added to the change, and that a node with a new id is held as soon as it is seen.

        Otherwise it could be deleted before it is up, and would run all the same.
        """

        def add(change: ProjectChange, node_id: str) -> None:
            join(change, node_id)
            if not isinstance(values.get("id"), str):
                change.then(lambda: held.callback(self._project.hold_new(node_id).leave))

        return add

    async def _id_of(self, node_type: NodeType, values: Mapping[str, Any]) -> str:
        """The id a new node gets; for an integer id, its files are moved along (4.4)."""
        wanted = values.get("id")
        if isinstance(wanted, str):
            return wanted
        node_id, settings = str(uuid.uuid4()), self._shared.config.current
        if wanted:
            legacy = LegacyNode(
                project_path=self._project.path,
                project_name=self._project.name or "",
                location=None if settings.server.local else settings.projects_path,
                node_type=node_type.name,
                pattern=node_type.legacy_directory,
                number=wanted,
                name=values["name"],
            )
            async with self._shared.converting:
                directory = self._project.node_directory(node_type.name, node_id)
                await asyncio.to_thread(convert, legacy, directory)
        return node_id

    def _claim_id(self, node_id: str) -> None:
        owner = self._shared.node_ids.get(node_id)
        if owner is not None:
            here = owner == self._project.id
            where = f"this project, {self._who(node_id)}" if here else f"project {owner}"
            raise Conflict(f"The VM id {node_id} is taken in {where}: choose another id.")
        if len(self._shared.node_ids) >= self._shared.config.current.server.max_nodes:
            raise Conflict(
                f"This server has {len(self._shared.node_ids)} VMs, which is its limit: "
                "delete some, or raise max_nodes in the settings."
            )
        self._shared.node_ids[node_id] = self._project.id

    async def _make(
        self,
        node_type: NodeType,
        node_id: str,
        number: int | None,
        values: Mapping[str, Any],
    ) -> Node:
        console = await self._take_console(node_type, node_id, values.get("console"))
        record = NodeRow(
            id=node_id,
            type=node_type.name,
            name=values["name"],
            console=console,
            number=number,
            properties={},
        )
        node: Node = node_type.node_class(self._project, node_type, record)
        node.fresh = node.calls.is_overridden("created")
        return node

    async def _store(
        self,
        node: Node,
        values: Mapping[str, Any],
        layout: Mapping[str, Any],
        join: Joined,
    ) -> None:
        prepared = await node.calls.run("prepare", values, expect=Change)
        node.properties.update(prepared.properties)
        check_properties(node, node.properties)
        event = await node.event("created", files=prepared.files)
        async with self._project.change() as change:
            change.save_node(node.row(), prepared.files, node.directory)
            change.then(partial(self._take_in, node))
            change.tell(event)
            self._layout.place(change, node.id, layout)
            join(change, node.id)

    async def _take_console(
        self, node_type: NodeType, node_id: str, wanted: int | None
    ) -> int | None:
        if not node_type.console:
            return None
        machine, holder = self._project.machine, Holder(self._project.id, Use.CONSOLE, node_id)
        if wanted is None:
            return await machine.allocate_port("tcp", holder)
        machine.ports.tcp.hold(wanted, holder)
        return wanted

    def _who(self, node_id: str) -> str:
        known = self._nodes.get(node_id)
        return f"by a VM of the type {known.type.name}" if known else "by one that is being made"

    def _take_in(self, node: Node) -> None:
        self._nodes[node.id] = node
        self._removed = [known for known in self._removed if known[1] != node.id]

    def _numbers_of(self, node_type: NodeType) -> Numbers:
        return self._numbers.setdefault(node_type.name, Numbers(node_type.numbers or range(0)))

    def _take_number(self, node_type: NodeType) -> int | None:
        if node_type.numbers is None:
            return None
        number = self._numbers_of(node_type).take()
        if number is None:
            raise Conflict(
                f"Project {self._project.id} has {len(node_type.numbers)} {node_type.title} VMs, "
                "which is the most that can be told apart on one network: delete one, or use "
                "another project."
            )
        return number

    def _give_number_back(self, node_type: NodeType, number: int | None) -> None:
        if number is not None:
            self._numbers_of(node_type).give_back(number)

    async def delete(self, node: Node) -> None:
        """Stop a node and forget it, with its links.

        Its directory stays until the project is committed. The caller holds the nodes that it is
        linked to as well.
        """
        await lifecycle.forget(node)
        freed = node.wiring.freed_udp_ports()
        async with self._project.change() as change:
            unplugged = self._links.forget_node(change, node)
            change.remove_node(node.id, node.type.name)
            change.tell(node.view_event("deleted", {}))
            for port in freed:
                change.free_port(port)
            change.then(partial(self._take_out, node, freed))
        await self._links.unplug(unplugged)

    def _take_out(self, node: Node, freed: list[int]) -> None:
        ports = self._project.machine.ports
        del self._nodes[node.id]
        self._layout.forget(node.id)
        del self._shared.node_ids[node.id]
        self._removed.append((node.type.name, node.id))
        self._give_number_back(node.type, node.number)
        ports.tcp.release_where(self._project.id, node_id=node.id)
        ports.udp.release_where(self._project.id, node_id=node.id)
        for port in freed:
            ports.udp.release_where(self._project.id, use=Use.ALLOCATED, port=port)

    @property
    def removed(self) -> list[tuple[str, str]]:
        """Type and id of the deleted nodes whose directories still exist."""
        return list(self._removed)

    async def discard(self, node_type: str, node_id: str) -> None:
        """Remove the directory of a deleted node, unless the node has been created again.

        :raises FilesFailed: it could not be removed; it is tried again next time.
        """
        if (node_type, node_id) not in self._removed:
            return
        directory = self._project.node_directory(node_type, node_id)
        try:
            await asyncio.to_thread(paths.remove_beneath, self._project.path, directory)
        except OSError as error:
            raise FilesFailed(
                f"The directory of the deleted VM {node_id} could not be removed: {error}. "
                f"{remedy(error, directory, DIRECTORY_REMEDY)} Then commit again."
            ) from error
        async with self._project.change() as change:
            change.forget_removed_node(node_id)
            change.then(partial(self._removed.remove, (node_type, node_id)))

    def catch_up(self) -> None:
        """Do, for each node in its turn, what an earlier server left undone.

        To be called when the project is opened, before anything else can use it.
        """
        for node in self:
            if node.state is not NodeState.STOPPED and node.calls.is_overridden("adopted"):
                self._in_turn(node, lifecycle.take_up)
            if node.fresh:
                self._in_turn(node, lifecycle.finish_creation)

    def start_always_on(self) -> None:
        """Start the nodes that are always on but not up, each in its turn."""
        for node in self:
            if node.type.always_on and node.state is NodeState.STOPPED:
                self._in_turn(node, lifecycle.start_always_on)

    def _in_turn(self, node: Node, work: Callable[[Node], Awaitable[None]]) -> None:
        entry = self._project.enter(node.id)

        async def wait_and_work() -> None:
            async with entry:
                if not self._project.closing.is_set() and self.find(node.id) is node:
                    await work(node)

        _ = self._project.own(wait_and_work())

    async def stop(self) -> None:
        """Stop all nodes at once; a node that cannot be stopped does not hold up the others."""
        await asyncio.gather(*map(lifecycle.end_anyway, self))

    async def leave(self) -> None:
        """Leave running what runs: the project leaves memory, and its ids become free."""
        for node_id in self._nodes:
            self._shared.node_ids.pop(node_id, None)
        await asyncio.gather(*map(lifecycle.leave, self))
