"""What plugins do with the nodes of a project; each operation waits for its own turn."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Protocol

from marshmallow import ValidationError

from gns3server.errors import Conflict, InvalidRequest, LabError, NotFound
from gns3server.nodes import lifecycle
from gns3server.nodes.holding import held
from gns3server.nodes.limits import core_code
from gns3server.nodes.node import Node
from gns3server.nodes.node_type import NodeType
from gns3server.nodes.parked import parked_type
from gns3server.nodes.project_base import ProjectServices
from gns3server.nodes.store import Store
from gns3server.nodes.view import NodeView
from gns3server.projects.layout import Layout
from gns3server.projects.nodes import ProjectNodes
from gns3server.storage.change import ProjectChange

TYPE_NAME = r"[a-z0-9][a-z0-9_-]{0,63}"
"""What the name of a node type looks like that no plugin offers."""


class Turns(Protocol):
    """Waits for the turn at some nodes."""

    def __call__(self, what: str, *node_ids: str) -> AbstractAsyncContextManager[None]:
        """Wait, then hold these nodes for the block."""


class Nodes:
    """The nodes of a project, by id.

    Reading waits for nobody. Everything else waits for its turn, and is on disk when it returns. It
    may be called from anywhere except where another node is held: a handler of scope ``NODE`` and
    a node's own methods may use only their own node. All else is refused at once, with an error
    that names both.

    :param turn: waits for the turn at some nodes.
    """

    def __init__(
        self,
        project_id: str,
        turn: Turns,
        services: ProjectServices,
        members: ProjectNodes,
        layout: Layout,
    ) -> None:
        self._project_id = project_id
        self._turn = turn
        self._shared = services
        self._members = members
        self._layout = layout

    # Reading -----------------------------------------------------------------

    def __iter__(self) -> Iterator[NodeView]:
        """All nodes, in the order in which they were created."""
        return iter(self.list())

    def list(self) -> tuple[NodeView, ...]:
        """All nodes, in the order in which they were created."""
        return tuple(node.view() for node in self._members)

    def get(self, node_id: str) -> NodeView:
        """A node.

        :raises gns3server.errors.NotFound: there is no such node.
        """
        return self._find(node_id).view()

    def names(self) -> dict[str, str]:
        """The names of all nodes, by their ids: cheaper than the nodes."""
        return {node.id: node.name for node in self._members}

    # Coming and going --------------------------------------------------------

    @core_code
    async def create(
        self,
        type_name: str,
        values: Mapping[str, Any],
        *,
        layout: Mapping[str, Any] = MappingProxyType({}),
        stored: Mapping[str, Any] = MappingProxyType({}),
    ) -> NodeView:
        """Create a node.

        :param values: what the type's v1 route takes, in the same words: ``name``, and ``vm_id``,
            ``console`` and others where they matter.
        :param layout: where it is drawn, as for ``project.layout.set``; in the same commit.
        :param stored: what its :meth:`store` begins with; in the same commit.
        :raises gns3server.errors.NotFound: no plugin offers the type.
        :raises gns3server.errors.InvalidRequest: a value is unfit.
        :raises gns3server.errors.Conflict: the id or the console is taken, or no room is left.
        :raises gns3server.errors.StorageFailed: it could not be written; there is no such node.
        """
        node_type = self._shared.registry.node_types.get(type_name)
        if node_type is None:
            known = ", ".join(sorted(self._shared.registry.node_types)) or "none at all"
            raise NotFound(f"No plugin offers the type {type_name!r:.80}: there are {known}.")
        place = self._layout.checked(layout)
        try:
            body = node_type.create_schema().load(values)
        except ValidationError as error:
            raise InvalidRequest(
                f"The values of the new VM are unfit: {error.messages}."
            ) from error
        return await self._make(node_type, body, place, stored)

    @core_code
    async def park(
        self,
        type_name: str,
        name: str,
        *,
        node_id: str | None = None,
        layout: Mapping[str, Any] = MappingProxyType({}),
        stored: Mapping[str, Any] = MappingProxyType({}),
    ) -> NodeView:
        """Keep a place for a node whose type no plugin of this server offers.

        It cannot be started. Links may end at it, at any port. It becomes a node like others at an
        opening of its project for which a plugin offers its type.

        :param layout: where it is drawn, as for :meth:`create`.
        :param stored: what its :meth:`store` begins with.
        :raises gns3server.errors.InvalidRequest: that cannot be the name of a type.
        :raises gns3server.errors.Conflict: a plugin offers the type, the id is taken, or there are
            too many nodes.
        :raises gns3server.errors.StorageFailed: it could not be written; there is no such node.
        """
        if type_name in self._shared.registry.node_types:
            raise Conflict(f"A plugin offers the type {type_name!r}: create the VM as one of it.")
        if re.fullmatch(TYPE_NAME, type_name) is None:
            raise InvalidRequest(f"{type_name!r:.80} cannot be the name of a type of VMs.")
        body = {"name": name, "id": node_id}
        place = self._layout.checked(layout)
        return await self._make(replace(parked_type(type_name), console=False), body, place, stored)

    async def _make(
        self,
        node_type: NodeType,
        body: Mapping[str, Any],
        place: Mapping[str, Any],
        stored: Mapping[str, Any],
    ) -> NodeView:
        def join(change: ProjectChange, node_id: str) -> None:
            for key, value in stored.items():
                self._members.store(node_id).save(change, key, value)

        wanted = body.get("id")
        async with self._turn("create", *([wanted] if isinstance(wanted, str) else [])):
            return (await self._members.create(node_type, body, place, join)).view()

    def store(self, node_id: str) -> Store:
        """Durable values that the calling plugin keeps with a node.

        :raises gns3server.errors.NotFound: there is no such node.
        """
        return self._find(node_id).store

    @core_code
    async def stored(self, key: str) -> dict[str, Any]:
        """The value that the calling plugin keeps under a key with each node that has one, by id.

        One read, however many nodes there are.
        """
        return await self._members.stored(key)

    @core_code
    async def update(
        self,
        node_id: str,
        values: Mapping[str, Any],
        *,
        layout: Mapping[str, Any] = MappingProxyType({}),
        stored: Mapping[str, Any] = MappingProxyType({}),
    ) -> NodeView:
        """Change a node: all of what is given, or nothing.

        :param values: what the type's v1 route takes, in the same words.
        :param layout: what changes about how it is drawn, as for ``project.layout.set``.
        :param stored: what changes in its :meth:`store`.
        :raises gns3server.errors.NotFound: there is no such node.
        :raises gns3server.errors.InvalidRequest: a value is unfit.
        :raises gns3server.errors.Conflict: the console is taken, or the plugin refuses.
        :raises gns3server.errors.StorageFailed: it could not be written.
        """
        async with self._alone("update", node_id) as node:
            try:
                body = node.type.update_schema().load(values)
            except ValidationError as error:
                text = f"The values of {node.title} are unfit: {error.messages}."
                raise InvalidRequest(text) from error
            place = self._layout.checked(layout)

            def join(change: ProjectChange) -> None:
                self._layout.place(change, node_id, place)
                for key, value in stored.items():
                    node.store.save(change, key, value)

            await lifecycle.update(node, body, join)
            return node.view()

    @core_code
    async def delete(self, node_id: str) -> None:
        """Stop a node and forget it, with everything stored for it, and with its links.

        :raises gns3server.errors.NotFound: there is no such node.
        :raises gns3server.errors.StorageFailed: that could not be written.
        """
        while True:
            neighbours = self._members.neighbours(node_id)
            async with self._alone("delete", node_id, *neighbours) as node:
                # One more link may have been made meanwhile.
                if self._members.neighbours(node_id) <= neighbours:
                    await self._members.delete(node)
                    return

    # Running -----------------------------------------------------------------

    @core_code
    async def start(self, node_id: str) -> None:
        """Start a node, and return when it is ready; a started node is left alone.

        :raises gns3server.errors.NotFound: there is no such node.
        :raises gns3server.errors.Conflict: it did not come up.
        """
        async with self._alone("start", node_id) as node:
            await lifecycle.start(node)

    @core_code
    async def stop(self, node_id: str) -> None:
        """Stop a node, and return when all its processes are gone; a stopped node is left alone.

        :raises gns3server.errors.NotFound: there is no such node.
        """
        async with self._alone("stop", node_id) as node:
            await lifecycle.stop(node)

    @core_code
    async def reload(self, node_id: str) -> None:
        """Stop a node and start it again, or reset it in place if its type has that.

        :raises gns3server.errors.NotFound: there is no such node.
        :raises gns3server.errors.Conflict: it did not come up again.
        """
        async with self._alone("reload", node_id) as node:
            await lifecycle.reload(node)

    @core_code
    async def suspend(self, node_id: str) -> None:
        """Freeze a started node; a suspended one is left alone.

        :raises gns3server.errors.NotFound: there is no such node.
        :raises gns3server.errors.Conflict: it is not started, or its type cannot do that.
        """
        async with self._alone("suspend", node_id) as node:
            self._check_suspends(node)
            await lifecycle.suspend(node)

    @core_code
    async def resume(self, node_id: str) -> None:
        """Let a suspended node go on; a started one is left alone.

        :raises gns3server.errors.NotFound: there is no such node.
        :raises gns3server.errors.Conflict: it is stopped, or its type cannot do that.
        """
        async with self._alone("resume", node_id) as node:
            self._check_suspends(node)
            await lifecycle.resume(node)

    def _check_suspends(self, node: Node) -> None:
        if "suspend" not in node.type.capabilities:
            raise Conflict(f"{node.title} cannot be suspended: a {node.type.title} cannot do that.")

    @core_code
    async def start_all(self) -> Mapping[str, str]:
        """Start all nodes, as many at a time as the machine's start gate lets through.

        :returns: by id, the reason for each node that did not start.
        """
        return await self._each("start_all", self.start)

    @core_code
    async def stop_all(self) -> Mapping[str, str]:
        """Stop all nodes at once.

        :returns: by id, what went wrong with each node that was not stopped properly.
        """
        return await self._each("stop_all", self.stop)

    async def _each(self, what: str, work: Callable[[str], Awaitable[None]]) -> Mapping[str, str]:
        ids = [node.id for node in self._members]
        if (beside := held()) is not None:
            beside.check(what, self._project_id, tuple(ids))
        done = await asyncio.gather(*map(work, ids), return_exceptions=True)
        failed = {}
        for node_id, error in zip(ids, done, strict=True):
            if isinstance(error, LabError):
                failed[node_id] = error.message
            elif error is not None:
                raise error
        return failed

    def _find(self, node_id: str) -> Node:
        node = self._members.find(node_id)
        if node is None:
            raise NotFound(f"The project has no VM with the id {node_id!r:.80}: check the id.")
        return node

    @asynccontextmanager
    async def _alone(self, what: str, node_id: str, *others: str) -> AsyncIterator[Node]:
        async with self._turn(what, node_id, *others):
            node = self._find(node_id)
            await lifecycle.settle(node)
            yield node
