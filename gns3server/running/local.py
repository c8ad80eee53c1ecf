"""Runs on the local machine."""

from __future__ import annotations

import asyncio
import logging
import os
import shlex
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, TypeVarTuple

from gns3server.running.console import ConsolePlace
from gns3server.running.identity import Handle, ProcessIdentity, open_carriers, send_signal
from gns3server.running.launching import catch_ignored_signals, launch, unblock_signals
from gns3server.running.local_run import LocalRun, RunState
from gns3server.running.logs import bound_log
from gns3server.running.procfs import run_ids_below
from gns3server.running.reader import KernelReader
from gns3server.running.spec import LaunchSpec
from gns3server.running.terminals import Terminals
from gns3server.running.threads import thread_pool
from gns3server.running.watched import WatchedProcesses

log = logging.getLogger(__name__)

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class LocalRunner:
    """Runs launch specs on this host; :class:`~gns3server.running.machine.Machine` says how.

    To be made on the loop, in the main thread: this process then catches the signals it ignored,
    so that programs do not inherit that. Its ``runs`` are those that it watches.

    :param base_env: the environment of every program, before its spec's own variables.
    :param log_period: seconds between two looks at the sizes of the logs.
    :param reader: of the kernel's tables, by default one of its own; closed with the runner.
    :raises OSError: no threads can be started.
    :raises ValueError: this is not the main thread.
    """

    def __init__(
        self,
        base_env: Mapping[str, str],
        *,
        log_period: float = 2.0,
        reader: KernelReader | None = None,
    ) -> None:
        catch_ignored_signals()
        self._base_env = dict(base_env)
        self._log_period = log_period
        self._reader = reader or KernelReader()
        self._terminals = Terminals()
        self._hurry = asyncio.Event()
        self._spawner = thread_pool("spawner")
        self._spawner.submit(unblock_signals)
        self._runs: set[LocalRun] = set()
        self._log_keeper: asyncio.Task[None] | None = None
        self._owned: set[asyncio.Task[Any]] = set()

    @property
    def runs(self) -> list[LocalRun]:
        """The runs that are watched."""
        return [run for run in self._runs if not run.over]

    async def spawn(
        self, spec: LaunchSpec, *, run_id: str, console: ConsolePlace | None = None
    ) -> LocalRun:
        task = self._own(self._spawn(spec, run_id, console))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            # The thread cannot be interrupted: what it starts is stopped once it is done.
            task.add_done_callback(_stop_unwanted)
            raise

    async def adopt(
        self, spec: LaunchSpec, *, run_id: str, processes: Sequence[ProcessIdentity]
    ) -> LocalRun | None:
        return await asyncio.shield(self._own(self._adopt(spec, run_id, tuple(processes))))

    async def sweep(self, run_ids: Collection[str]) -> int:
        found = WatchedProcesses(self._reader, frozenset(run_ids))
        await asyncio.shield(self._own(found.take_down(self._hurry)))
        return len(found.identities)

    async def signal(self, processes: Sequence[ProcessIdentity], number: int) -> None:
        await self._in_thread(send_signal, tuple(processes), number)

    async def runs_in(self, directory: Path) -> set[str]:
        return await self._in_thread(run_ids_below, str(directory))

    def hurry(self) -> None:
        self._hurry.set()

    async def close(self) -> None:
        self._reader.withdraw_all()
        while self._owned:
            await asyncio.wait(self._owned)
        await asyncio.gather(*(run.let_go() for run in self.runs))
        self._terminals.close()
        if self._log_keeper is not None:
            self._log_keeper.cancel()
            await asyncio.wait([self._log_keeper])
        await self._reader.close()
        await asyncio.to_thread(self._spawner.shutdown)

    async def _spawn(self, spec: LaunchSpec, run_id: str, console: ConsolePlace | None) -> LocalRun:
        terminal: int | None = None
        if spec.on_terminal and console is not None:
            terminal = await self._terminals.open(console)
        try:
            started = await self._in_thread(launch, spec, run_id, self._base_env, terminal)
        except BaseException:
            if terminal is not None:
                os.close(terminal)
            raise
        main = started.main
        log.debug("process %d runs %s in %s", main.identity.pid, shlex.join(spec.argv), spec.cwd)
        run = self._watch(spec, run_id, [main], RunState.STARTING, started.bound_before)
        run.has_terminal(terminal)
        return run

    async def _adopt(
        self, spec: LaunchSpec, run_id: str, processes: tuple[ProcessIdentity, ...]
    ) -> LocalRun | None:
        handles = await self._in_thread(open_carriers, processes, run_id)
        if spec.goes_on(len(processes), len(handles)):
            return self._watch(spec, run_id, handles, RunState.READY)
        left = WatchedProcesses(self._reader, [run_id])
        left.add_all(handles)
        try:
            # Not left to the ladder, which tolerates errors: an unreadable /proc must raise here.
            left.add_all(await self._reader.carriers([run_id], left.identities))
        except OSError:
            left.forget()
            raise
        await left.take_down(self._hurry, stop_signal=spec.stop_signal, stop_limit=spec.stop_limit)
        return None

    def _watch(
        self,
        spec: LaunchSpec,
        run_id: str,
        essential: list[Handle],
        state: RunState,
        bound_before: frozenset[int] = frozenset(),
    ) -> LocalRun:
        run = LocalRun(
            spec,
            run_id,
            essential,
            state,
            bound_before=bound_before,
            reader=self._reader,
            hurry=self._hurry,
        )
        self._runs.add(run)
        if self._log_keeper is None or self._log_keeper.done():
            self._log_keeper = asyncio.create_task(self._keep_logs())
        return run

    async def _keep_logs(self) -> None:
        pause = self._log_period
        while self.runs:
            await asyncio.sleep(pause)
            self._runs = set(self.runs)
            logs = [(run.log_path, run.spec.log_limit) for run in self._runs]
            # A program that floods its log is looked at more often.
            cut = await self._in_thread(_bound_logs, logs)
            pause = self._log_period / 20 if cut else self._log_period

    def _own(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.create_task(work)
        self._owned.add(task)
        task.add_done_callback(self._owned.discard)
        return task

    def _in_thread(self, function: Callable[[*Ts], T], *args: *Ts) -> asyncio.Future[T]:
        return asyncio.get_running_loop().run_in_executor(self._spawner, function, *args)


def _stop_unwanted(task: asyncio.Task[LocalRun]) -> None:
    if not task.cancelled() and task.exception() is None:
        _ = task.result().begin_stop()


def _bound_logs(logs: Sequence[tuple[Path, int]]) -> bool:
    cut = False
    for path, limit in logs:
        try:
            cut |= bound_log(path, limit)
        except OSError as error:
            log.warning("cannot shorten %s: %s", path, error)
    return cut
