"""A node as the core sees it: its identity, state and record, and the events told of it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from gns3server.events import Event
from gns3server.nodes.calls import NodeCalls
from gns3server.nodes.node_type import NodeType
from gns3server.nodes.project_base import ProjectBase
from gns3server.nodes.states import NodeState, check_move
from gns3server.nodes.view import NodeView
from gns3server.nodes.wiring import Wiring
from gns3server.ports import Holder, Use
from gns3server.storage.change import ProjectChange
from gns3server.storage.rows import NodeRow, Owner

log = logging.getLogger(__name__)


LONG_TEXT = 16 * 1024
"""Characters of a text that is left out of events. Each event is kept in the project's log and in
the queues of its listeners: whoever wants a whole script asks for the node."""


def _is_long(value: Any) -> bool:
    return isinstance(value, str) and len(value) > LONG_TEXT


class NodeCore:
    """The core's part of every node. Authors extend :class:`~gns3server.nodes.node.Node`.

    Callers must hold the node's lock.
    """

    def __init__(self, project: ProjectBase, node_type: NodeType, record: NodeRow) -> None:
        self.project = project
        self.type = node_type
        self.id = record.id
        self.name = record.name
        # A number for every type that has a console, which a type checker cannot know.
        self.console: Any = record.console
        self.number = record.number
        self.properties: dict[str, Any] = dict(record.properties)
        self.wiring = Wiring(project, record.id)
        self.calls = NodeCalls(self, project)
        self.state = NodeState.STOPPED
        self.recorded = NodeState(record.state)
        """Its state on record; a run on record tells more."""
        self.fresh = record.fresh
        """Its plugin may not know yet that it was created."""
        self.being_deleted = False
        self.restored = False
        self._uses_runtime = False
        self._directory = (Path(), Path())
        self._coming_files: Mapping[str, bytes] = {}

    # What the core uses ----------------------------------------------------

    @property
    def owner(self) -> Owner:
        """The node, as the owner of runs and values on record."""
        return Owner("node", self.id)

    @property
    def title(self) -> str:
        """What it is called in messages to clients."""
        return f"VM {self.name!r}"

    def holder(self, use: Use) -> Holder:
        """The node, as the holder of a port."""
        return Holder(self.project.id, use, self.id)

    def row(self, **values: Any) -> NodeRow:
        """The row that is stored for it.

        :param values: columns to store with other values.
        """
        own = {
            "id": self.id,
            "type": self.type.name,
            "name": self.name,
            "console": self.console,
            "number": self.number,
            "properties": self.properties,
            "fresh": self.fresh,
        }
        return NodeRow(**{**own, **values})

    def move(self, state: NodeState) -> None:
        """Move to another state.

        :raises Conflict: the table of moves does not have that move.
        """
        check_move(self.name, self.state, state)
        self.state = state

    def record_state(self, change: ProjectChange, state: NodeState) -> None:
        """Have a change store the node's state, if it is not on record already."""
        if state is not self.recorded:
            change.save_node_state(self.id, state.value)
            change.then(partial(setattr, self, "recorded", state))

    async def shown(self) -> dict[str, Any]:
        """What answers show of the node. Clients never see an always-on node stopped."""
        values: dict[str, Any] = await self.calls.run("snapshot", expect=dict)
        return {**values, "state": NodeState.STARTED} if self.type.always_on else values

    async def event(
        self,
        change: str,
        *,
        state: NodeState | None = None,
        files: Mapping[str, bytes] | None = None,
    ) -> Event:
        """An event with the node as a change will make it. The caller must hold the node's lock.

        :param state: the state that it will have; the current one by default.
        :param files: new content of files in its directory.
        """
        self._coming_files = files or {}
        try:
            values = await self.shown()
        finally:
            self._coming_files = {}
        return self.view_event(change, values, state=state)

    def view_event(
        self, change: str, values: Mapping[str, Any], *, state: NodeState | None = None
    ) -> Event:
        """An event with what is shown of the node, but without its long texts."""
        values = {name: value for name, value in values.items() if not _is_long(value)}
        if state is not None and not self.type.always_on:
            values = {**values, "state": state}
        view = replace(self.view(), state=state or self.state, values=values)
        if view.state is NodeState.STOPPED:
            view = replace(view, command=(), runs_with=dict.fromkeys(view.runs_with))
        return Event("node", change, self.project.id, view)

    def view(self) -> NodeView:
        """The node as it is now."""
        running = self.state is not NodeState.STOPPED
        return NodeView(
            id=self.id,
            project_id=self.project.id,
            type=self.type.name,
            name=self.name,
            state=self.state,
            console=self.console,
            properties=dict(self.properties),
            directory=self.project.node_directory(self.type.name, self.id),
            pids=self.pids,
            command=self.command,
            runs_with=self.manner if running else dict.fromkeys(self.manner),
            adapters=self.shape[0],
            ports=self.shape[1],
            wires=dict(self.wiring.nios),
        )

    @property
    def shape(self) -> tuple[int | None, int]:
        """How many adapters it has, and how many ports each of them."""
        return self.type.adapters, self.type.ports

    @property
    def pids(self) -> tuple[int, ...]:
        """The processes that run for it on its machine."""
        return ()

    @property
    def command(self) -> tuple[str, ...]:
        """The program that runs for it, or is about to, with its arguments."""
        return ()

    @property
    def manner(self) -> Mapping[str, Any]:
        """What is special about the way in which it runs."""
        return {}

    async def tell_move(self, change: ProjectChange, word: str, state: NodeState) -> None:
        """Have a change tell that the node moves to a state.

        Nothing is told of an always-on node: clients never see it stopped.
        """
        if not self.type.always_on:
            change.tell(await self.event(word, state=state))

    async def tell_end(self, change: ProjectChange) -> None:
        """Have a change tell that the node is stopped; no plugin can prevent that."""
        try:
            await self.tell_move(change, "stopped", NodeState.STOPPED)
        except Exception:
            log.exception("VM %s cannot be shown", self.id)
            message = f"{self.title} has stopped, and cannot be shown."
            change.tell(self.project.complaint(self.id, message))
        self.project.note_stop(change, self.id)

    # What the core does, by nature -----------------------------------------

    async def bring_up(self) -> None:
        """Start a stopped node.

        :raises Conflict: it did not come up; everything is as before.
        """
        self.move(NodeState.STARTING)
        try:
            async with self.project.start_place(self.title):
                await self.project.unless_closing(self.calls.run("start"), self.title)
            async with AsyncExitStack() as undo:
                undo.push_async_callback(self.calls.run, "stop")
                async with self.project.change() as change:
                    self.record_state(change, NodeState.STARTED)
                    change.then(partial(self.move, NodeState.STARTED))
                    await self.tell_move(change, "started", NodeState.STARTED)
                undo.pop_all()
        finally:
            if self.state is NodeState.STARTING:
                self.move(NodeState.STOPPED)

    async def bring_down(self) -> None:
        """Stop a node that is not stopped, whatever its plugin does. Needs no disk."""
        self.move(NodeState.STOPPING)
        try:
            await self.calls.run("stop")
        finally:
            async with self.project.change(fact=True) as change:
                self.record_state(change, NodeState.STOPPED)
                change.then(partial(self.move, NodeState.STOPPED))
                await self.tell_end(change)

    async def taken_up_in_vain(self) -> None:
        """Take note that the plugin could not continue with what an earlier server left."""
        await self.bring_down()

    async def note_end(self) -> None:
        """Take note that what the core runs for the node has ended by itself."""

    async def let_go(self) -> None:
        """Let what the core runs for the node run on, and stop watching it."""
