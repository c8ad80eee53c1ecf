"""A node that is one emulator process, with its children, run from a launch spec."""

from __future__ import annotations

import asyncio
import logging
import signal
import uuid
from abc import ABC, abstractmethod
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial
from typing import Any

from gns3server.errors import Conflict
from gns3server.nodes.node import Node
from gns3server.nodes.node_type import NodeType
from gns3server.nodes.parent import ParentProject
from gns3server.nodes.running_ports import RunningPorts
from gns3server.nodes.states import NodeState
from gns3server.ports import Use
from gns3server.running.runner import Exit, LaunchFailed, Run
from gns3server.running.spec import LaunchSpec
from gns3server.storage.rows import NodeRow, RunRow

log = logging.getLogger(__name__)


class ProcessNode(Node, ABC):
    """Subclass this and write :meth:`launch_spec`: that is a whole emulator.

    The core spawns the process, waits until it is ready, watches it, stops it
    with all its children and tells clients about all of it.
    """

    def __init__(self, project: ParentProject, node_type: NodeType, record: NodeRow) -> None:
        super().__init__(project, node_type, record)
        self._run: Run | None = None
        self._ports: RunningPorts | None = None
        self._watcher: asyncio.Task[None] | None = None

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
        self._move(NodeState.STARTING)
        try:
            spec = await self.launch_spec()
            self._ports = self._ports_of(spec)
            self._ports.reserve()
            await self._bring_up(spec)
        except BaseException:
            self._let_go()
            self._move(NodeState.STOPPED)
            raise
        await self.settle()

    def _up(self, run: Run) -> None:
        self._run = run
        self._move(NodeState.STARTED)

    async def _bring_up(self, spec: LaunchSpec) -> None:
        machine = self.project.machine
        record = RunRow(id=uuid.uuid4().hex, node_id=self.id, spec=spec)
        try:
            async with AsyncExitStack() as stack:
                await self._unless_closing(stack.enter_async_context(machine.gate.place()))
                await self.project.records.save_run(record)
                run = await machine.runner.spawn(spec, run_id=record.id)
                self._watch(run)
                await self._until_ready(run)
            await self._record(run, record)
        except LaunchFailed as failure:
            await self.project.records.end_run(record.id)
            raise Conflict(f"VM {self.name!r} did not start: {failure.reason}") from failure
        except BaseException:
            await self.project.records.end_run(record.id)
            raise

    async def _until_ready(self, run: Run) -> None:
        try:
            await self._unless_closing(run.ready())
        except LaunchFailed as failure:
            tail = await run.log_tail()
            await run.stop()
            raise LaunchFailed(
                failure.reason + (f"\nIts log ends:\n{tail}" if tail else "")
            ) from failure
        except BaseException:
            await run.stop()
            raise

    async def _record(self, run: Run, record: RunRow) -> None:
        try:
            event = await self.node_event(
                "vm.started", state=NodeState.STARTED, apply=partial(self._up, run)
            )
            await self.project.records.save_run(replace(record, processes=run.processes), event)
        except BaseException:
            await run.stop()
            raise

    async def _unless_closing(self, work: Coroutine[Any, Any, Any]) -> None:
        """Await ``work``, but give it up as soon as the project is about to close."""
        task = asyncio.ensure_future(work)
        closing = asyncio.ensure_future(self.project.closing.wait())
        try:
            await asyncio.wait({task, closing}, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                raise Conflict(
                    f"VM {self.name!r} was not started: its project is being closed or deleted."
                )
            task.result()
        finally:
            closing.cancel()
            if not task.done():
                task.cancel()
                await asyncio.wait({task})

    async def stop(self) -> None:
        """Stop every process of the node and return when they are gone; needs no disk."""
        # It may have ended by itself a moment ago, which clients must still be told.
        await self.settle()
        if self._run is None or self.state is NodeState.STOPPED:
            return
        self._move(NodeState.STOPPING)
        await self._run.stop()
        await self._gone(self._run.run_id)

    async def settle(self) -> None:
        """Take note of an exit that the watcher has recorded."""
        run = self._run
        if (
            run is None
            or not run.ending
            or self.state not in (NodeState.STARTED, NodeState.SUSPENDED)
        ):
            return
        what = trouble(await run.ended())
        await run.stop()
        tail = await run.log_tail() if what else ""
        await self._gone(run.run_id)
        if what:
            message = f"VM {self.name!r} has stopped by itself: {what}."
            await self.project.report(
                self.id, message + (f"\nIts log ends:\n{tail}" if tail else "")
            )

    async def _gone(self, run_id: str) -> None:
        self._let_go()
        self._move(NodeState.STOPPED)
        try:
            event = await self.node_event("vm.stopped")
        except Exception:
            # What a plugin cannot show has stopped all the same.
            log.exception("VM %s cannot be shown", self.id)
            await self.project.records.end_run(run_id)
            await self.project.report(
                self.id, f"VM {self.name!r} has stopped, and cannot be shown."
            )
        else:
            await self.project.records.end_run(run_id, event)

    def adopt(self, run: Run, spec: LaunchSpec) -> None:
        """Go on with a run that an earlier server has started.

        Whether it was suspended is not on record: a type that can do that finds out here.
        """
        self.restored = False
        self._run, self.state = run, NodeState.STARTED
        self._ports = self._ports_of(spec)
        self._ports.keep()
        self._watch(run)

    async def leave(self) -> None:
        """Let the process run on: it is another server's, or another opening's, to adopt."""
        run, self._run = self._run, None
        if run is not None:
            await run.let_go()

    async def lost(self, run_id: str) -> None:
        """Take note that the node was started, and ended while no server ran."""
        self.state = NodeState.STARTED
        await self._gone(run_id)

    def _watch(self, run: Run) -> None:
        async def wait() -> None:
            await run.ended()
            self._exited(run)

        self._watcher = asyncio.create_task(wait())

    def _exited(self, run: Run) -> None:
        if run is self._run and self.state in (NodeState.STARTED, NodeState.SUSPENDED):
            self.project.settle_later(self.id, self.settle)

    def _ports_of(self, spec: LaunchSpec) -> RunningPorts:
        return RunningPorts(self.project.machine.ports, spec, self._holder(Use.RUNNING))

    def _let_go(self) -> None:
        if self._ports is not None:
            self._ports.release()
        self._run = self._ports = None


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
