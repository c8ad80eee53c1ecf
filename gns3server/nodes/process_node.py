"""A node that is one emulator process, with its children, run from a launch spec."""

from __future__ import annotations

import logging
import signal
from abc import ABC, abstractmethod
from functools import partial

from gns3server.nodes.node import Node
from gns3server.nodes.node_type import NodeType
from gns3server.nodes.project_base import ProjectBase
from gns3server.nodes.states import NodeState
from gns3server.nodes.supervised_run import SupervisedRun
from gns3server.running.runner import Exit
from gns3server.running.spec import LaunchSpec
from gns3server.storage.change import Change
from gns3server.storage.rows import NodeRow

log = logging.getLogger(__name__)


class ProcessNode(Node, ABC):
    """Subclass this and write :meth:`launch_spec`: that is a whole emulator.

    The core spawns the process, waits until it is ready, watches it, stops it
    with all its children and tells clients about all of it.
    """

    def __init__(self, project: ProjectBase, node_type: NodeType, record: NodeRow) -> None:
        super().__init__(project, node_type, record)
        self.run: SupervisedRun | None = None
        """What runs for it: its pid, its processes and its end."""

    @abstractmethod
    async def launch_spec(self) -> LaunchSpec:
        """What to run: called at each start, with nothing running.

        :raises gns3server.errors.Conflict: the node cannot be started as it is
            (not wired, program missing); the text says what to do.
        """

    async def start(self) -> None:
        """Start the process and return once it is ready; a started node is left alone.

        :raises Conflict: it did not come up; everything is as before.
        """
        if self.state is NodeState.STARTED:
            return
        self.move(NodeState.STARTING)
        try:
            run = SupervisedRun(
                self.project, self.owner, await self.launch_spec(), title=self.title
            )
            async with run.start():
                event = await self.event("started", state=NodeState.STARTED)
                async with self.project.change() as change:
                    run.record(change)
                    change.then(partial(self._up, run))
                    change.tell(event)
        finally:
            if self.state is NodeState.STARTING:
                self.move(NodeState.STOPPED)
        await self.settle()

    async def stop(self) -> None:
        """Stop every process of the node and return when they are gone; needs no disk."""
        # It may have ended by itself a moment ago, which clients must still be told.
        await self.settle()
        if self.run is None:
            return
        self.move(NodeState.STOPPING)
        await self.run.stop()
        await self._gone(self.run)

    async def settle(self) -> None:
        """Take note that its process has ended by itself."""
        run = self.run
        if run is None or not run.ending or self.state is NodeState.STOPPING:
            return
        what = trouble(await run.ended())
        await run.stop()
        if what:
            what = f"{self.title} has stopped by itself: {what}.{await run.log_tail()}"
        await self._gone(run, what)

    async def leave(self) -> None:
        """Let the process run on: it is another server's, or another opening's, to adopt."""
        run, self.run = self.run, None
        if run is not None:
            await run.leave()

    # What the core calls ---------------------------------------------------

    def adopt(self, run: SupervisedRun) -> None:
        """Go on with a run that an earlier server has started.

        Whether it was suspended is not on record: a type that can do that finds out here.
        """
        self.restored = False
        self._up(run)

    async def lost(self, run_id: str) -> None:
        """Take note that the node was started, and ended while no server ran."""
        async with self.project.change(fact=True) as change:
            change.end_run(run_id)
            await self._tell_end(change)

    def _up(self, run: SupervisedRun) -> None:
        self.run, self.state = run, NodeState.STARTED
        run.watch(self._settle_in_turn)

    async def _settle_in_turn(self) -> None:
        async with self.project.enter(self.id):
            try:
                await self.settle()
            except Exception:
                # Nobody waits for an answer that would tell of it.
                log.exception("the end of VM %s could not be settled", self.id)

    async def _gone(self, run: SupervisedRun, trouble: str = "") -> None:
        async with self.project.change(fact=True) as change:
            run.forget(change)
            change.then(self._down)
            await self._tell_end(change)
            if trouble:
                change.tell(self.project.complaint(self.id, trouble))

    def _down(self) -> None:
        self.run, self.state = None, NodeState.STOPPED

    async def _tell_end(self, change: Change) -> None:
        try:
            change.tell(await self.event("stopped", state=NodeState.STOPPED))
        except Exception:
            # What a plugin cannot show has stopped all the same.
            log.exception("VM %s cannot be shown", self.id)
            message = f"{self.title} has stopped, and cannot be shown."
            change.tell(self.project.complaint(self.id, message))


def trouble(end: Exit) -> str:
    """What clients are told of an end nobody asked for; empty when it was in order.

    A program that ends with code 0 was told to by its user. The code of an
    adopted process cannot be had and counts as 0.
    """
    if end.outlived:
        return "one of its processes ended and left the others behind, which were stopped"
    if end.code in (None, 0):
        return ""
    if end.code < 0:
        return f"signal {-end.code} ({signal.strsignal(-end.code)}) ended it"
    return f"its program ended with code {end.code}"
