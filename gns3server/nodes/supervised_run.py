"""A run with an owner: its intent is on record, it is ready or undone, or adopted after a crash.

Nothing here knows what the owner is, or what the end of a run means to it.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path

from gns3server.errors import Conflict, advice
from gns3server.files.safe_open import directory_beneath
from gns3server.nodes.project_base import ProjectBase
from gns3server.ports import Holder, Use
from gns3server.running.identity import ProcessIdentity
from gns3server.running.runs import Exit, LaunchFailed, Run
from gns3server.running.spec import LaunchSpec
from gns3server.storage.change import ProjectChange
from gns3server.storage.rows import Owner, RunRow


class SupervisedRun:
    """One execution of a launch spec, from the reservation of its ports to its last process.

    Its ports stay reserved until it is gone, however its owner is changed meanwhile.

    :param title: the name by which clients know its owner: ``VM 'PC1'``.
    """

    def __init__(
        self,
        project: ProjectBase,
        owner: Owner,
        spec: LaunchSpec,
        *,
        title: str,
        run_id: str | None = None,
    ) -> None:
        self.id = run_id or uuid.uuid4().hex
        self.owner = owner
        self.spec = spec
        self._project = project
        self._machine = project.machine
        self._title = title
        self._run: Run | None = None
        self._on_record = False
        self._stopping = False
        self._watcher: asyncio.Task[None] | None = None

    @classmethod
    async def adopt(cls, project: ProjectBase, row: RunRow, *, title: str) -> SupervisedRun | None:
        """Continue with a run that an earlier server started.

        :returns: ``None`` when it is no longer complete; what was left of it has been stopped.
        :raises OSError: its processes could not be searched for, and were left alone.
        """
        run = await project.machine.adopt(row.spec, run_id=row.id, processes=row.processes)
        if run is None:
            return None
        adopted = cls(project, row.owner, row.spec, title=title, run_id=row.id)
        adopted._run = run
        for port in row.spec.ports:
            adopted._machine.ports.pool(port.kind).hold_bound(port.number, adopted._holder)
        adopted._note_companions()
        return adopted

    # What it is ----------------------------------------------------------------------

    @property
    def pid(self) -> int | None:
        """The process id of its program; ``None`` before it is spawned."""
        return self._run.processes[0].pid if self._run else None

    @property
    def processes(self) -> tuple[ProcessIdentity, ...]:
        """The processes without which it is of no use, the program first."""
        return self._run.processes if self._run else ()

    @property
    def exit(self) -> Exit | None:
        """How it ended; ``None`` until that is decided."""
        return self._run.exit if self._run else None

    @property
    def ending(self) -> bool:
        """Whether an essential process has ended, or a stop has begun."""
        return self._run is not None and self._run.ending

    # Its life -----------------------------------------------------------------------

    @asynccontextmanager
    async def start(self) -> AsyncIterator[None]:
        """Bring it up; the block is entered once it is ready, and records it for its owner.

        If anything fails, the block included, everything is undone.

        :raises Conflict: a port is taken, it did not come up, or its project is about to close.
        :raises StorageFailed: it could not be put on record.
        """
        async with AsyncExitStack() as undo:
            undo.push_async_callback(self._undo)
            self._reserve()
            async with self._project.start_place(self._title):
                self._on_record = True
                async with self._project.change() as change:
                    self.record(change)
                try:
                    await asyncio.to_thread(self._make_directory)
                    self._run = await self._machine.run(self.spec, run_id=self.id)
                    await self._project.unless_closing(self._run.ready(), self._title)
                except OSError as error:
                    raise Conflict(
                        f"{self._title} did not start: it cannot run in its directory: "
                        f"{advice(error) or error}."
                    ) from error
                except LaunchFailed as failure:
                    tail = await self.log_tail()
                    raise Conflict(
                        f"{self._title} did not start: {failure.reason}{tail}"
                    ) from failure
            yield
            undo.pop_all()

    def _make_directory(self) -> None:
        """Make the directory that it runs in. Blocks.

        :raises OSError: it is not the project's, or a link or something else is in its way.
        """
        root = self._project.path
        if not self.spec.is_in(root):
            raise OSError(f"{self.spec.cwd} is not in the project's directory, {root}")
        with directory_beneath(root, self.spec.directory, make=True):
            pass

    def move(self, change: ProjectChange, source: Path, target: Path) -> None:
        """Have a change store that its directory has another path."""
        spec = self.spec.moved(source, target)
        change.save_run(RunRow(id=self.id, owner=self.owner, spec=spec, processes=self.processes))
        change.then(partial(setattr, self, "spec", spec))

    def record(self, change: ProjectChange) -> None:
        """Have a change store it, as it is now."""
        change.save_run(
            RunRow(id=self.id, owner=self.owner, spec=self.spec, processes=self.processes)
        )

    def watch(self, ended: Callable[[], Awaitable[None]]) -> None:
        """Have a callback awaited as soon as it ends without having been stopped."""
        self._watcher = self._project.own(self._watch(ended))

    async def signal(self, number: int) -> None:
        """Send a signal to each of :attr:`processes` that lives."""
        await self._machine.signal(self.processes, number)

    async def ended(self) -> Exit:
        """Wait until it has ended, and return how."""
        if self._run is None:
            raise RuntimeError("a run that was not started cannot end")
        return await self._run.ended()

    async def stop(self) -> None:
        """Stop all its processes; return when they are gone."""
        self._stopping = True
        if self._run is not None:
            await self._run.stop()

    def forget(self, change: ProjectChange) -> None:
        """Have a change forget it, once it is stopped, and release its ports."""
        change.end_run(self.id)
        change.then(self.release)

    async def leave(self) -> None:
        """Let it run on, for another server, or another opening, to adopt."""
        if self._watcher is not None:
            self._watcher.cancel()
        if self._run is not None:
            await self._run.let_go()

    async def log_tail(self) -> str:
        """The end of its output, as part of a message; empty when there is none."""
        tail = "" if self._run is None else await self._run.log_tail()
        return f"\nIts log ends:\n{tail}" if tail else ""

    async def _watch(self, ended: Callable[[], Awaitable[None]]) -> None:
        await self.ended()
        if not self._stopping:
            await ended()

    async def _undo(self) -> None:
        await self.stop()
        self.release()
        if self._on_record:
            async with self._project.change(fact=True) as change:
                change.end_run(self.id)

    # Its ports ------------------------------------------------------------------------

    @property
    def _holder(self) -> Holder:
        return Holder(self._project.id, Use.RUNNING, self.owner.id)

    def _reserve(self) -> None:
        for port in self.spec.ports:
            self._machine.ports.pool(port.kind).hold(port.number, self._holder)
        self._note_companions()

    def _note_companions(self) -> None:
        for port in self.spec.may_bind:
            self._machine.ports.pool(port.kind).hold_companion(port.number, self._holder)

    def release(self) -> None:
        """Release its ports; harmless when it has none."""
        for port in (*self.spec.ports, *self.spec.may_bind):
            self._machine.ports.pool(port.kind).release(port.number, self._holder)
