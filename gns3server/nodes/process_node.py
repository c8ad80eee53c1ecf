"""A node that is one emulator process, with its children, run from a launch spec."""

from __future__ import annotations

import asyncio
import logging
import signal
from abc import ABC, abstractmethod
from contextlib import suppress
from functools import partial
from pathlib import Path

from gns3server.consoles.stream import ConsoleStream
from gns3server.errors import Conflict, LabError
from gns3server.nodes.limits import core_code, within
from gns3server.nodes.node import Node
from gns3server.nodes.node_type import NodeType
from gns3server.nodes.project_base import ProjectBase
from gns3server.nodes.states import NodeState
from gns3server.running.runs import Exit
from gns3server.running.spec import LaunchSpec
from gns3server.storage.rows import NodeRow
from gns3server.supervision.supervised_run import SupervisedRun

log = logging.getLogger(__name__)


END_SECONDS = 1.0
"""How long the end of a program is waited for that may explain why its start has failed."""


class ProcessNode(Node, ABC):
    """Subclass this and write :meth:`launch_spec`: that is all an emulator needs.

    The core spawns the process, waits until it is ready, watches it, stops it
    with all its children, and tells clients about each step.
    """

    def __init__(self, project: ProjectBase, node_type: NodeType, record: NodeRow) -> None:
        super().__init__(project, node_type, record)
        self.run: SupervisedRun | None = None
        """The run of its process: the pid, the processes and the end."""
        self._coming: SupervisedRun | None = None

    @abstractmethod
    async def launch_spec(self) -> LaunchSpec:
        """What to run: called at each start, with nothing running.

        :raises gns3server.errors.Conflict: the node cannot be started as it is
            (not wired, program missing); the text says what to do.
        """

    @core_code
    async def ready(self) -> None:
        """Do with the program what has to be done before the node counts as started.

        Called once the program has bound what its spec names: what it does not heed until it is
        complete, such as a greeting, tells that it is. If this fails, the start is undone.

        :raises gns3server.errors.LabError: it cannot be done. If the program has ended meanwhile,
            the answer says that, with the end of its output, in place of this error.
        """

    def seconds_for(self, method: str) -> float:
        """How long :meth:`ready` or :meth:`shut_down` may take, if longer than other calls.

        While the server stops they have no more time than others.

        :param method: the name of one of the two.
        """
        return 0.0

    @core_code
    async def shut_down(self, deadline: float) -> None:
        """Ask what runs to end, in its own way, before it is sent the signal of its spec.

        Called when the node is stopped while it runs; what still runs afterwards is stopped.

        :param deadline: when this is given up, on the clock of the running loop.
        """

    @core_code
    async def start(self) -> None:
        """Start the process and return once it is ready; a started node is left alone.

        An override calls this first. If it raises afterwards, the process is stopped again.

        :raises Conflict: it did not come up; everything is as before.
        """
        if self.state is NodeState.STARTED:
            return
        self.move(NodeState.STARTING)
        try:
            spec = await self.calls.run("launch_spec", expect=LaunchSpec)
            if self._uses_runtime:
                await self.machine.make_runtime_directory(self.runtime_directory)
            run = self._coming = SupervisedRun(self.project, self.owner, spec, title=self.title)
            async with run.start():
                await self._make_ready(run)
                async with self.project.change() as change:
                    run.record(change)
                    change.then(partial(self._up, run))
                    await self.tell_move(change, "started", NodeState.STARTED)
        finally:
            self._coming = None
            if self.state is NodeState.STARTING:
                self.move(NodeState.STOPPED)
                await self._remove_runtime_directory()
        await self.note_end()

    @core_code
    async def stop(self) -> None:
        """Stop every process of the node and return when they are gone; needs no disk."""
        await self.end_run()

    @core_code
    async def settle(self) -> None:
        """Take note that its process has ended by itself."""
        await self.note_end()

    @core_code
    async def leave(self) -> None:
        """Let the process run on, for another server, or another opening, to adopt."""
        await self.let_go()

    async def console_stream(self, *, read_only: bool = False) -> ConsoleStream:
        return await self.project.consoles.attach(self._served_run().id, read_only=read_only)

    async def transcribe(self, wanted: bool) -> None:
        await self.project.consoles.transcribe(self._served_run().id, wanted)

    @property
    def transcript(self) -> Path | None:
        return None if self.run is None else self.project.consoles.transcript(self.run.id)

    def _served_run(self) -> SupervisedRun:
        """Its run, whose console the server serves.

        :raises Conflict: there is none.
        """
        if self.run is None:
            raise Conflict(f"{self.title} has no console to show: it is {self.state}. Start it.")
        if self.run.spec.console is None:
            raise Conflict(
                f"{self.title} serves its console itself: connect to TCP port {self.console}."
            )
        return self.run

    @property
    def pids(self) -> tuple[int, ...]:
        """The processes that run for it, its program first."""
        return () if self.run is None else tuple(each.pid for each in self.run.processes)

    @property
    def command(self) -> tuple[str, ...]:
        """The program that runs for it, or is about to, with its arguments."""
        run = self.run or self._coming
        return () if run is None else run.spec.argv

    # What the core does ----------------------------------------------------

    async def bring_up(self) -> None:
        """Start a stopped node."""
        try:
            await self.calls.run("start")
        except BaseException:
            if self.run is not None:
                await self.end_run()
            raise

    async def bring_down(self) -> None:
        """Stop a node. Afterwards nothing of it runs, whatever its plugin does."""
        try:
            await self.calls.run("stop")
        finally:
            await self.end_run()

    async def end_run(self) -> None:
        """Stop what runs, which may have ended by itself a moment ago.

        :raises gns3server.errors.LabError: :meth:`shut_down` has failed; nothing runs any more.
        :raises gns3server.errors.Unavailable: its machine does not answer; nothing is changed.
        """
        await self.note_end()
        run = self.run
        if run is None:
            return
        former = self.state
        self.move(NodeState.STOPPING)
        try:
            now, least = asyncio.get_running_loop().time(), self._least_seconds("shut_down")
            end = now + within(self.project.limits, least)
            await self.calls.run("shut_down", end, least=least)
        finally:
            await self._stop(run, former)

    def _least_seconds(self, method: str) -> float:
        try:
            return float(self.seconds_for(method))
        except Exception:
            # It must be possible to stop a node whatever its plugin's code does.
            log.exception("VM %s does not say how long its %s may take", self.id, method)
            return 0.0

    async def _stop(self, run: SupervisedRun, former: NodeState) -> None:
        try:
            await run.stop()
        except BaseException:
            # Its machine does not answer: the run may go on, and can be stopped another time.
            self.state = former
            raise
        await self._gone(run)

    async def taken_up_in_vain(self) -> None:
        """Let the process run: it is complete, and its console and wires work."""

    async def note_end(self) -> None:
        """Take note that its process has ended by itself."""
        run = self.run
        if run is None or not run.ending or self.state is NodeState.STOPPING:
            return
        main, end = run.processes[:1], await run.ended()
        what = trouble(end, main_first=end.first in main)
        if run.terminal_lost or (run.spec.on_terminal and end.code == -signal.SIGHUP):
            what = "it has lost its terminal, as the console server has ended"
        if what:
            what = f"{self.title} has stopped by itself: {what}.{await run.log_tail()}"
        await run.stop()
        await self._gone(run, what)

    async def let_go(self) -> None:
        """Let the process run on, and stop watching it."""
        run, self.run = self.run, None
        if run is not None:
            await run.leave()

    def adopt(self, run: SupervisedRun) -> None:
        """Continue with a run that an earlier server started."""
        self.restored = False
        self._uses_runtime = True
        self.wiring.note_adoption([port.number for port in run.spec.ports if port.kind == "udp"])
        self._up(run)
        if self.recorded is NodeState.SUSPENDED:
            self.state = NodeState.SUSPENDED

    async def lost(self, run_id: str) -> None:
        """Take note that the node was started, and that its run ended while no server ran."""
        self._uses_runtime = True
        await self._remove_runtime_directory()
        async with self.project.change(fact=True) as change:
            change.end_run(run_id)
            self.record_state(change, NodeState.STOPPED)
            await self.tell_end(change)

    async def _make_ready(self, run: SupervisedRun) -> None:
        try:
            await self.calls.run("ready", least=self._least_seconds("ready"))
        except LabError as error:
            with suppress(TimeoutError):
                # Its end may be known a moment later than what it has led to.
                async with asyncio.timeout(END_SECONDS):
                    await run.ended()
            if not run.ending:
                raise
            tail = await run.log_tail()
            raise Conflict(f"{self.title} did not start: its program has ended.{tail}") from error

    def _up(self, run: SupervisedRun) -> None:
        self.run, self.state = run, NodeState.STARTED
        run.watch(self._settle_in_turn)

    async def _settle_in_turn(self) -> None:
        async with self.project.enter(self.id):
            # No request waits for an answer that could report failures.
            try:
                await self.calls.run("settle")
            except Exception:
                log.exception("the plugin of VM %s failed when its process had ended", self.id)
            try:
                await self.note_end()
            except Exception:
                log.exception("the end of VM %s could not be recorded", self.id)

    async def _gone(self, run: SupervisedRun, trouble: str = "") -> None:
        await self._remove_runtime_directory()
        async with self.project.change(fact=True) as change:
            run.forget(change)
            self.record_state(change, NodeState.STOPPED)
            change.then(self._down)
            await self.tell_end(change)
            if trouble:
                change.tell(self.project.complaint(self.id, trouble))

    def _down(self) -> None:
        self.run, self.state = None, NodeState.STOPPED

    async def _remove_runtime_directory(self) -> None:
        if self._uses_runtime:
            try:
                await self.machine.remove_runtime_directory(self.runtime_directory)
            except OSError as error:
                log.warning("the socket directory of VM %s was not removed: %s", self.id, error)


def trouble(end: Exit, *, main_first: bool) -> str:
    """What clients are told of an end that nobody asked for; empty when all was well.

    A program that ends with code 0 was told to by its user. The code of an
    adopted process cannot be known and counts as 0.

    :param main_first: whether the main process has ended first: no other's code is known.
    """
    code = end.code or 0
    by = f"signal {-code} ({signal.strsignal(-code)}) ended" if code < 0 else ""
    if end.outlived:
        one = f"{by} one of its processes" if by and main_first else "one of its processes ended"
        return f"{one}, and the others were stopped"
    if by:
        return f"{by} it"
    return f"its program ended with code {code}" if code else ""
