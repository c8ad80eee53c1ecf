"""A run on this machine: from its first process to the end of its last."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from gns3server.running.identity import Handle, ProcessIdentity
from gns3server.running.ladder import take_down
from gns3server.running.launching import in_use
from gns3server.running.logs import log_tail
from gns3server.running.reader import KernelReader
from gns3server.running.readiness import Foreign, ReadinessQuery, ReadinessResult
from gns3server.running.runner import Exit, LaunchFailed, Run
from gns3server.running.spec import LaunchSpec
from gns3server.running.watched import WatchedProcess, WatchedProcesses

GRACE = 0.5
"""Seconds that essential processes may end apart and still count as having ended together."""


class LocalRun:
    """Implements `Run`; to be made on the loop.

    essential: those whose end is the end of the run, as far as they are known, main first.
    popen: of the main process, unless it was adopted.
    hurry: when it is set, nothing is given time to end any more.
    released: called when everything has been stopped, or is not watched any more.
    """

    def __init__(
        self,
        spec: LaunchSpec,
        run_id: str,
        reader: KernelReader,
        essential: Sequence[Handle],
        *,
        hurry: asyncio.Event,
        released: Callable[[LocalRun], None],
        popen: subprocess.Popen[bytes] | None = None,
    ) -> None:
        self.spec = spec
        self.log_path = Path(spec.cwd, spec.log_name)
        self.on_exit: Callable[[Run], None] | None = None
        self._run_id = run_id
        self._reader = reader
        self._hurry = hurry
        self._released = released
        self._loop = asyncio.get_running_loop()
        self._watched = WatchedProcesses(self._noticed)
        main, *children = essential
        self._main = self._watched.add(main, popen)
        self._essential = [self._main, *(self._watched.add(child) for child in children)]
        self._is_ready = popen is None
        self._first: WatchedProcess | None = None
        self._exit: Exit | None = None
        self._ended: asyncio.Future[None] = self._loop.create_future()
        self._grace: asyncio.TimerHandle | None = None
        self._ladder: asyncio.Task[None] | None = None
        self._unasked = False

    @property
    def run_id(self) -> str:
        return self._run_id

    @property
    def processes(self) -> tuple[ProcessIdentity, ...]:
        return tuple(member.identity for member in self._essential)

    @property
    def ending(self) -> bool:
        return self._first is not None

    @property
    def exit(self) -> Exit | None:
        return self._exit

    async def ready(self) -> None:
        if self._is_ready:
            return
        spec = self.spec
        question = ReadinessQuery(
            self._main.identity, self._run_id, spec.ports, spec.children, spec.sockets
        )
        verdict: asyncio.Future[str | None] = self._loop.create_future()
        if not self.ending:
            self._reader.ask(question, lambda answer: self._answered(answer, verdict))
        futures: list[asyncio.Future[Any]] = [verdict, self._ended]
        try:
            await asyncio.wait(
                futures,
                timeout=spec.ready_limit,
                return_when=asyncio.FIRST_COMPLETED,
            )
            if self.ending:
                raise LaunchFailed(self._why_ended())
            if not verdict.done():
                raise LaunchFailed(
                    f"{self._name} was not ready within {spec.ready_limit:g} s: {question.missing}"
                )
            if reason := verdict.result():
                raise LaunchFailed(reason)
            self._is_ready = True
        finally:
            self._reader.withdraw(question)
            verdict.cancel()

    async def ended(self) -> Exit:
        await asyncio.shield(self._ended)
        if self._exit is None:
            raise RuntimeError("a run ended without an exit")
        return self._exit

    async def stop(self) -> None:
        self.begin_stop()
        if self._ladder is not None:
            await asyncio.shield(self._ladder)

    def begin_stop(self) -> None:
        """Begin to stop, unless that has begun; `stop` waits for the end of it."""
        if self._grace is not None:
            self._grace.cancel()
        ladder = self._ladder
        if ladder is None or (ladder.done() and (ladder.cancelled() or ladder.exception())):
            self._ladder = self._loop.create_task(self._climb())

    async def log_tail(self, limit: int = 2000) -> str:
        return await asyncio.to_thread(log_tail, self.log_path, limit)

    async def let_go(self) -> None:
        self.on_exit = None
        if self._first is not None:
            await self._ended
        if self._ladder is not None:
            await asyncio.wait([self._ladder])
        self._watched.forget()
        self._released(self)

    @property
    def _name(self) -> str:
        return os.path.basename(self.spec.argv[0])

    def _answered(self, answer: ReadinessResult, verdict: asyncio.Future[str | None]) -> None:
        if isinstance(answer, Foreign):
            verdict.set_result(in_use(answer.port))
            return
        for child in answer.children:
            member = self._watched.add(child)
            if member not in self._essential:
                self._essential.append(member)
        verdict.set_result(None)

    def _why_ended(self) -> str:
        code = self._main.code
        if code is None:
            return f"{self._name} lost a process before it was ready"
        if code < 0:
            return f"{self._name} was ended by {_signal_name(-code)} before it was ready"
        return f"{self._name} ended with exit code {code} before it was ready"

    def _noticed(self, member: WatchedProcess) -> None:
        if member not in self._essential or self._exit is not None:
            return
        if self._first is None:
            self._first = member
            self._unasked = self._ladder is None
        if all(member.gone for member in self._essential):
            self._decide(self._first)
        elif self._grace is None and self._ladder is None:
            self._grace = self._loop.call_later(GRACE, self._decide, self._first)

    def _decide(self, first: WatchedProcess) -> None:
        """Settle how the run ended, and stop what is left of it."""
        if self._exit is not None:
            return
        alive = any(not member.gone for member in self._essential)
        self._exit = Exit(self._main.code, first.identity, outlived=alive)
        self._ended.set_result(None)
        self.begin_stop()

    async def _climb(self) -> None:
        await take_down(
            self._watched,
            self._reader,
            [self._run_id],
            self._hurry,
            stop_signal=self.spec.stop_signal,
            stop_limit=self.spec.stop_limit,
        )
        self._released(self)
        if self._unasked and self.on_exit is not None:
            # Not from here: what goes wrong in there must not look like a failure to stop.
            self._loop.call_soon(self.on_exit, self)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
