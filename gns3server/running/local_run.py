"""A run on this machine: from the start of its first process to the end of its last."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterable, Sequence
from enum import Enum, auto
from functools import partial
from pathlib import Path
from typing import Any

from gns3server.running.identity import Handle, ProcessIdentity
from gns3server.running.launching import in_use
from gns3server.running.logs import log_tail
from gns3server.running.reader import KernelReader
from gns3server.running.readiness import (
    Foreign,
    ReadinessQuery,
    ReadinessResult,
    Ready,
    discard,
)
from gns3server.running.runs import Exit, LaunchFailed
from gns3server.running.spec import LaunchSpec, Port
from gns3server.running.watched import WatchedProcess, WatchedProcesses

GRACE = 0.5
"""How many seconds apart essential processes may end and still count as ending together."""


class RunState(Enum):
    """Where a run is in its life; ``MOVES`` says which states may follow."""

    STARTING = auto()
    """Its main process was started; nothing is known about its ports."""
    READY = auto()
    """It has been ready, in this server or in an earlier one."""
    ENDING = auto()
    """An essential process has ended, or a stop has begun; all the others are being ended."""
    ENDED = auto()
    """Nothing of it is alive."""
    LET_GO = auto()
    """It is not watched any more."""


MOVES = {
    RunState.STARTING: {RunState.READY, RunState.ENDING, RunState.LET_GO},
    RunState.READY: {RunState.ENDING, RunState.LET_GO},
    RunState.ENDING: {RunState.ENDED},
    RunState.ENDED: set(),
    RunState.LET_GO: set(),
}


class LocalRun:
    """Implements :class:`~gns3server.running.runs.Run`, which says what its methods do.

    To be made on the loop.

    :param spec: what runs.
    :param run_id: what its processes carry in their environment.
    :param essential: the processes whose end is the end of the run, as far as known,
        main first; their pidfds are the run's from now on.
    :param state: ``STARTING``, or ``READY`` for one that was adopted.
    :param bound_before: inodes of sockets that others had bound to its ports before the start.
    :param reader: finds out when it is ready, and which processes belong to it.
    :param hurry: once set, processes are killed without being given time to end.
    """

    def __init__(
        self,
        spec: LaunchSpec,
        run_id: str,
        essential: Sequence[Handle],
        state: RunState,
        *,
        bound_before: frozenset[int],
        reader: KernelReader,
        hurry: asyncio.Event,
    ) -> None:
        self.spec = spec
        self.log_path = Path(spec.cwd, spec.log_name)
        self._run_id = run_id
        self._state = state
        self._bound_before = bound_before
        self._reader = reader
        self._hurry = hurry
        self._watched = WatchedProcesses(reader, [run_id])
        self._essential: list[WatchedProcess] = []
        self._add_essential(essential)
        self._main = self._essential[0]
        self._exit: asyncio.Future[Exit] = asyncio.get_running_loop().create_future()
        self._asked = asyncio.Event()
        self._end: asyncio.Task[None] | None = None
        self._terminal: int | None = None
        self._bound = False
        self._in_the_way: Port | str | None = None
        self._deadline = asyncio.get_running_loop().time() + spec.ready_limit

    def has_terminal(self, terminal: int | None) -> None:
        """Note the program's end of its terminal, which is the run's to close."""
        self._terminal = terminal

    @property
    def run_id(self) -> str:
        return self._run_id

    @property
    def pid(self) -> int:
        return self._main.identity.pid

    @property
    def processes(self) -> tuple[ProcessIdentity, ...]:
        return tuple(member.identity for member in self._essential)

    @property
    def ending(self) -> bool:
        return self._is(RunState.ENDING, RunState.ENDED)

    @property
    def over(self) -> bool:
        """Whether none of its processes is watched any more."""
        return self._is(RunState.ENDED, RunState.LET_GO)

    @property
    def exit(self) -> Exit | None:
        return self._exit.result() if self._exit.done() and not self._exit.cancelled() else None

    async def bound(self) -> None:
        if self._bound or self._is(RunState.READY):
            return
        spec = self.spec
        question = ReadinessQuery(
            self._main.identity,
            self._run_id,
            spec.ports,
            spec.children,
            spec.sockets,
            self._bound_before,
        )
        if not await self._found(question):
            raise LaunchFailed(self._why_not_ready(question))

    async def ready(self) -> None:
        if self._is(RunState.READY):
            return
        await self.bound()
        try:
            if self.spec.console is not None and self.spec.console.raw:
                identity, terminal = self._main.identity, self._terminal
                question = ReadinessQuery(identity, self._run_id, (), 0, terminal=terminal)
                if not await self._found(question):
                    raise LaunchFailed(self._why_not_ready(question))
        finally:
            self._close_terminal()
        if not self._is(RunState.READY):
            self._move(RunState.READY)

    async def _found(self, question: ReadinessQuery) -> bool:
        """Wait until a question is answered by yes; give up when the run ends or takes too long."""
        answered: asyncio.Future[Port | str | None] = asyncio.get_running_loop().create_future()
        if self._is(RunState.STARTING):
            self._reader.ask(question, partial(self._take, answered))
        futures: list[asyncio.Future[Any]] = [answered, self._exit]
        left = max(0, self._deadline - asyncio.get_running_loop().time())
        try:
            await asyncio.wait(futures, timeout=left, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._reader.withdraw(question)
        if answered.done():
            self._in_the_way = answered.result()
        return (
            answered.done()
            and self._in_the_way is None
            and self._is(RunState.STARTING, RunState.READY)
        )

    async def ended(self) -> Exit:
        return await asyncio.shield(self._exit)

    async def stop(self) -> None:
        await asyncio.shield(self.begin_stop())

    def begin_stop(self) -> asyncio.Task[None]:
        """Begin to stop, unless that has begun.

        :returns: a task that is done when no process of the run is alive.
        """
        self._asked.set()
        return self._begin_end()

    async def log_tail(self, limit: int = 2000) -> str:
        return await asyncio.to_thread(log_tail, self.log_path, limit)

    async def let_go(self) -> None:
        self._close_terminal()
        if self._end is not None:
            await asyncio.wait([self._end])
        elif not self._is(RunState.LET_GO):
            self._move(RunState.LET_GO)
            self._exit.cancel()
        self._watched.forget()

    @property
    def _name(self) -> str:
        return os.path.basename(self.spec.argv[0])

    @property
    def _first(self) -> WatchedProcess | None:
        """The essential process that has ended first."""
        return next((member for member in self._watched.ended if member in self._essential), None)

    def _close_terminal(self) -> None:
        # As long as it is open here, nobody at its other end sees that the program has ended.
        if self._terminal is not None:
            os.close(self._terminal)
            self._terminal = None

    def _is(self, *states: RunState) -> bool:
        return self._state in states

    def _move(self, state: RunState) -> None:
        if state not in MOVES[self._state]:
            raise RuntimeError(f"run {self._run_id}: from {self._state.name} to {state.name}")
        self._state = state

    def _add_essential(self, handles: Iterable[Handle]) -> None:
        for handle in handles:
            member = self._watched.add(handle)
            member.ended.add_done_callback(self._noticed)
            self._essential.append(member)

    def _take(self, answered: asyncio.Future[Port | str | None], answer: ReadinessResult) -> None:
        """Take an answer from the reader: ready, or the port that another process has bound."""
        if isinstance(answer, Ready) and self._is(RunState.STARTING) and not self._bound:
            self._add_essential(answer.children)
            self._bound = True
        else:
            discard(answer)
        answered.set_result(answer.port if isinstance(answer, Foreign) else None)

    def _why_not_ready(self, question: ReadinessQuery) -> str:
        if self._is(RunState.LET_GO):
            return f"{self._name} was not ready when this server stopped watching it"
        if not self._is(RunState.STARTING):
            return self._why_ended()
        if self._in_the_way is not None:
            return in_use(self._in_the_way)
        limit = self.spec.ready_limit
        return f"{self._name} was not ready within {limit:g} s: {question.missing}"

    def _why_ended(self) -> str:
        code = self._main.code
        if self._first is not self._main:
            return f"{self._name} lost a process before it was ready"
        if code is None:
            return f"{self._name} ended before it was ready"
        if code < 0:
            return f"{self._name} was ended by {_signal_name(-code)} before it was ready"
        return f"{self._name} ended with exit code {code} before it was ready"

    def _noticed(self, _: asyncio.Future[None]) -> None:
        """Take note that an essential process has ended."""
        if self._is(RunState.STARTING, RunState.READY):
            _ = self._begin_end()

    def _begin_end(self) -> asyncio.Task[None]:
        if not self._is(RunState.ENDING, RunState.ENDED):
            self._move(RunState.ENDING)
        if self._end is None or (self._end.done() and not self._is(RunState.ENDED)):
            self._end = asyncio.create_task(self._bring_to_end())
        return self._end

    async def _bring_to_end(self) -> None:
        """Let the essential processes end together, then stop whatever is left."""
        self._close_terminal()
        together = await self._watched.gone_within(GRACE, self._asked)
        outlived = not together and not self._asked.is_set()
        try:
            await self._watched.take_down(
                self._hurry, stop_signal=self.spec.stop_signal, stop_limit=self.spec.stop_limit
            )
            self._move(RunState.ENDED)
        finally:
            # Even if that failed: nobody may wait for ever, and the next call of stop tries again.
            if not self._exit.done():
                first = (self._first or self._main).identity
                self._exit.set_result(Exit(self._main.code, first, outlived))


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
