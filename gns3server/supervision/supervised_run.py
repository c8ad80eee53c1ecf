"""A run with an owner: its intent is on record, it is ready or undone, or adopted after a crash.

Nothing here knows what the owner is, or what the end of a run means to it.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path

from gns3server.errors import Conflict, advice
from gns3server.ports import Holder, Use
from gns3server.running.console import ConsolePlace
from gns3server.running.identity import ProcessIdentity
from gns3server.running.runs import Exit, LaunchFailed, Run
from gns3server.running.spec import LaunchSpec, Port
from gns3server.storage.change import ProjectChange
from gns3server.storage.rows import Owner, RunRow
from gns3server.supervision.place import RunPlace


class SupervisedRun:
    """One execution of a launch spec, from the reservation of its ports to its last process.

    Its ports stay reserved until it is gone, however its owner is changed meanwhile.

    :param place: the project that it is of, or the server.
    :param title: the name by which clients know its owner: ``VM 'PC1'``.
    """

    def __init__(
        self,
        place: RunPlace,
        owner: Owner,
        spec: LaunchSpec,
        *,
        title: str,
        run_id: str | None = None,
    ) -> None:
        self.id = run_id or uuid.uuid4().hex
        self.owner = owner
        self.spec = spec
        self._place = place
        self._machine = place.machine
        self._title = title
        self._run: Run | None = None
        self._on_record = False
        self._stopping = False
        self._terminal_lost = False
        self._watcher: asyncio.Task[None] | None = None

    @classmethod
    async def adopt(cls, place: RunPlace, row: RunRow, *, title: str) -> SupervisedRun | None:
        """Continue with a run that an earlier server started.

        :returns: ``None`` when it is no longer complete; what was left of it has been stopped.
        :raises OSError: its processes could not be searched for, and were left alone.
        """
        run = await place.machine.adopt(row.spec, run_id=row.id, processes=row.processes)
        if run is None:
            return None
        adopted = cls(place, row.owner, row.spec, title=title, run_id=row.id)
        adopted._run = run
        for port in row.spec.reserved_ports:
            adopted._machine.ports.pool(port.kind).hold_bound(port.number, adopted._holder)
        adopted._note_companions()
        if row.spec.console is not None:
            place.consoles.keep_console(row.id, row.spec, adopted._note_lost_terminal)
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
    def terminal_lost(self) -> bool:
        """Whether it was stopped because its terminal had been lost."""
        return self._terminal_lost

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
            async with self._place.start_place(self._title):
                self._on_record = True
                async with self._place.change() as change:
                    self.record(change)
                async with self._failure_explained():
                    run = await self._spawn()
            async with self._failure_explained():
                # What is left takes time, but hardly any of the machine: others may start.
                await self._place.unless_closing(run.ready(), self._title)
            yield
            undo.pop_all()

    async def _spawn(self) -> Run:
        """Start its program, and wait until that has bound its ports."""
        await self._place.make_directory(self.spec)
        console = await self._open_console()
        self._run = await self._machine.run(self.spec, run_id=self.id, console=console)
        await self._place.unless_closing(self._run.bound(), self._title)
        return self._run

    @asynccontextmanager
    async def _failure_explained(self) -> AsyncIterator[None]:
        """Say of a failure in the block whose start it was, and what the program has printed."""
        try:
            yield
        except OSError as error:
            raise Conflict(
                f"{self._title} did not start: it cannot run in its directory: "
                f"{advice(error) or error}."
            ) from error
        except LaunchFailed as failure:
            tail = await self.log_tail()
            raise Conflict(f"{self._title} did not start: {failure.reason}{tail}") from failure

    async def _open_console(self) -> ConsolePlace | None:
        if self.spec.console is None:
            return None
        return await self._place.consoles.open_console(self.id, self.spec, self._note_lost_terminal)

    def _note_lost_terminal(self) -> None:
        """Take note that nobody has its terminal any more: it can be neither seen nor used."""
        self._terminal_lost = True
        if self._run is not None:
            # Most programs end by SIGHUP at once; the ladder is for those that ignore it.
            _ = self._place.own(self._run.stop())

    def move(self, change: ProjectChange, source: Path, target: Path) -> None:
        """Have a change of the records at another path store that its directory is there.

        It takes note by :meth:`be_moved`, once those are the records that count.
        """
        spec = self.spec.moved(source, target)
        change.save_run(RunRow(id=self.id, owner=self.owner, spec=spec, processes=self.processes))

    def be_moved(self, source: Path, target: Path) -> None:
        """Take note that its directory has another path."""
        self.spec = self.spec.moved(source, target)
        if self.spec.console is not None:
            self._place.consoles.move_console(self.id, self.spec)

    @asynccontextmanager
    async def rebinding(self, ports: Collection[Port]) -> AsyncIterator[None]:
        """Have it bind other ports than before, and no longer those that are left out.

        The block makes the program do so, which has to be able to while it runs. If that fails,
        what it had stays reserved.

        :param ports: all ports that it binds from now on.
        :raises Conflict: one of them is taken.
        """
        async with AsyncExitStack() as undo:
            for port in set(ports).difference(self.spec.ports):
                pool = self._machine.ports.pool(port.kind)
                pool.hold(port.number, self._holder)
                undo.callback(pool.release, port.number, self._holder)
            yield
            undo.pop_all()
        former, self.spec = self.spec, replace(self.spec, ports=tuple(ports))
        for port in set(former.ports).difference(ports):
            self._machine.ports.pool(port.kind).release(port.number, self._holder)
        # The program has done it: if this cannot be stored, its owner says it again once adopted.
        async with self._place.change(fact=True) as change:
            self.record(change)

    def record(self, change: ProjectChange) -> None:
        """Have a change store it, as it is now."""
        change.save_run(
            RunRow(id=self.id, owner=self.owner, spec=self.spec, processes=self.processes)
        )

    def watch(self, ended: Callable[[], Awaitable[None]]) -> None:
        """Have a callback awaited as soon as it ends without having been stopped."""
        self._watcher = self._place.own(self._watch(ended))

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
        if self.spec.console is not None:
            await self._place.consoles.close_console(self.id)

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
        if self.spec.on_terminal:
            tail, where = await self._place.consoles.tail(self.id), "terminal shows"
        else:
            tail, where = "" if self._run is None else await self._run.log_tail(), "log ends"
        return f"\nIts {where}:\n{tail}" if tail else ""

    async def _watch(self, ended: Callable[[], Awaitable[None]]) -> None:
        await self.ended()
        if not self._stopping:
            await ended()

    async def _undo(self) -> None:
        await self.stop()
        self.release()
        if self._on_record:
            async with self._place.change(fact=True) as change:
                change.end_run(self.id)

    # Its ports ------------------------------------------------------------------------

    @property
    def _holder(self) -> Holder:
        return Holder(self._place.id, Use.RUNNING, self.owner.id)

    def _reserve(self) -> None:
        for port in self.spec.reserved_ports:
            self._machine.ports.pool(port.kind).hold(port.number, self._holder)
        self._note_companions()

    def _note_companions(self) -> None:
        for port in self.spec.may_bind:
            self._machine.ports.pool(port.kind).hold_companion(port.number, self._holder)

    def release(self) -> None:
        """Release its ports; harmless when it has none."""
        for port in (*self.spec.reserved_ports, *self.spec.may_bind):
            self._machine.ports.pool(port.kind).release(port.number, self._holder)
