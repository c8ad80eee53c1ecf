"""A helper: a process of the server's own that outlives it, told by one call what it shall do."""

from __future__ import annotations

import asyncio
import logging
import sys
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gns3server.errors import LabError, Unavailable
from gns3server.running.helper_client import HelperClient, HelperFailed
from gns3server.running.runtime import runtime_directory
from gns3server.running.spec import LaunchSpec
from gns3server.storage.change import ProjectChange
from gns3server.storage.rows import Owner, RunRow
from gns3server.supervision.place import RunPlace
from gns3server.supervision.supervised_run import SupervisedRun

log = logging.getLogger(__name__)

STOP_SECONDS = 2.0
"""How long a helper may take to end before it is killed."""

LINGER_SECONDS = 5.0
"""How long one that has nothing to do waits for something, before it is ended."""

ATTEMPTS = 2
"""How many helpers are tried, one after the other, before a request is refused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HelperKind:
    """One kind of helper.

    :param name: what it says it is, and the owner of its run on record.
    :param title: what people call it.
    :param module: what it runs, as ``python -m`` does.
    :param protocol: the version of its calls.
    """

    name: str
    title: str
    module: str
    protocol: int


@dataclass(slots=True)
class _Living:
    """A helper that runs, and the connection to it."""

    run: SupervisedRun
    client: HelperClient


class _OtherVersion(HelperFailed):
    """A helper works, but is none that this server could use."""


class SupervisedHelper:
    """A helper of a project, or of the server: there once it has something to do.

    If it ends, or does not answer, another one takes its place and is told the same.

    :param place: what it is of.
    :param directory: tells where it works; made if need be.
    :param state: what it shall do, all of it.
    :param idle: whether that is nothing: it is then not started, and ends after a while.
    :param told: called with each event that it tells, and what that says.
    :param lost: called when a helper has ended, or had to be ended, with all that it held.
    """

    def __init__(
        self,
        kind: HelperKind,
        place: RunPlace,
        *,
        directory: Callable[[], Path],
        state: Callable[[], Mapping[str, Any]],
        idle: Callable[[], bool],
        told: Callable[[str, Mapping[str, Any]], None],
        lost: Callable[[], None],
    ) -> None:
        self.kind = kind
        self._place = place
        self._directory = directory
        self._state = state
        self._idle = idle
        self._told = told
        self._lost = lost
        self._living: _Living | None = None
        self._turn = asyncio.Lock()
        self._upcoming: asyncio.Task[Mapping[str, Any]] | None = None
        self._number = 0
        self._ending = False
        self._linger: asyncio.TimerHandle | None = None
        self._left_alone = False

    @property
    def owner(self) -> Owner:
        """The helper, as the owner of runs on record."""
        return Owner(self.kind.name, self._place.id)

    @property
    def socket(self) -> str:
        """Where it is controlled; empty while there is none."""
        return "" if self._living is None else _socket_of(self._living.run.spec)

    @property
    def has_left_another_alone(self) -> bool:
        """Whether one of another version was left alone with what it has."""
        return self._left_alone

    @property
    def pid(self) -> int | None:
        """Its process id; None while there is none."""
        return None if self._living is None else self._living.run.pid

    # What others ask of it ---------------------------------------------------------------

    async def synchronize(self) -> Mapping[str, Any]:
        """Tell it all that it shall do, as that is now; one that has nothing to do is not started.

        :returns: its answer.
        :raises gns3server.errors.LabError: there is none, and none can be started.
        """
        if self._upcoming is None:
            self._upcoming = asyncio.create_task(self._tell_state())
        # Shielded: one of those who share it may be cancelled.
        return await asyncio.shield(self._upcoming)

    async def call(self, name: str, what: Mapping[str, Any]) -> Any:
        """Have it do something else.

        :raises HelperFailed: it refuses, does not answer, or is not there.
        """
        if self._living is None:
            raise HelperFailed(f"{self.kind.title} is not running")
        return await self._living.client.call(name, what)

    async def adopt(self, rows: Sequence[RunRow]) -> bool:
        """Continue with one that an earlier server started.

        One that speaks another version is left alone with what it has: it ends with that. One that
        does not answer is ended.

        :param rows: the runs on record of where it belongs.
        :returns: whether there is one.
        :raises OSError: its processes could not be searched for, and were left alone.
        """
        for row in rows:
            if row.owner != self.owner:
                continue
            run = await SupervisedRun.adopt(self._place, row, title=self.kind.title)
            if run is None:
                async with self._place.change(fact=True) as change:
                    change.end_run(row.id)
                await self._remove_directory(row.spec)
            else:
                await self._take_up(run)
        return self._living is not None

    def move(self, change: ProjectChange, source: Path, target: Path) -> None:
        """Have a change store that the directory that it works in has another path."""
        if self._living is not None:
            self._living.run.move(change, source, target)

    def be_moved(self, source: Path, target: Path) -> None:
        """Take note that the directory that it works in has another path."""
        if self._living is not None:
            self._living.run.be_moved(source, target)

    async def close(self) -> None:
        """End it if it has nothing to do; otherwise leave it to the next server."""
        if self._idle():
            await self.stop()
        else:
            await self.leave()

    async def stop(self) -> None:
        """End it, and return when it is gone."""
        self._cancel_linger()
        self._ending = True
        try:
            async with self._turn:
                if self._living is not None:
                    await self._end(self._living)
        finally:
            self._ending = False

    async def leave(self) -> None:
        """Let it run on, for the next server."""
        self._cancel_linger()
        self._ending = True
        async with self._turn:
            living, self._living = self._living, None
            if living is not None:
                living.client.close()
                await living.run.leave()

    # How it is kept alive ------------------------------------------------------------------

    async def _tell_state(self) -> Mapping[str, Any]:
        async with self._turn:
            # Anyone who asks from here on must see what is wanted from now on.
            self._upcoming = None
            failure: Exception | None = None
            for _ in range(ATTEMPTS):
                if self._idle():
                    self._end_soon()
                    if self._living is None:
                        return {}
                self._number += 1
                try:
                    living = self._living or await self._start()
                    return await self._send(living)
                except HelperFailed as error:
                    failure = error
                    log.warning("%s is replaced: %s", self.kind.title, error)
                    if self._living is not None:
                        await self._end(self._living)
                        self._lost()
            raise Unavailable(f"{self.kind.title} does not work: {failure}. Try again.")

    async def _send(self, living: _Living) -> Mapping[str, Any]:
        state = {**self._state(), "number": self._number}
        answer: Mapping[str, Any] = await living.client.call("state", state)
        return answer

    async def _start(self) -> _Living:
        machine = self._place.machine
        run_id = uuid.uuid4().hex
        # Each has a directory of its own: one of another version may still be there.
        directory = runtime_directory(machine.runtime, run_id)
        await machine.make_runtime_directory(directory)
        socket = str(directory / "control")
        spec = LaunchSpec(
            # -P: nothing is imported from the directory that it works in.
            argv=(sys.executable, "-P", "-m", self.kind.module, socket),
            cwd=str(self._directory()),
            sockets=(socket,),
            stop_limit=STOP_SECONDS,
            log_name=f"{self.kind.name}.log",
        )
        run = SupervisedRun(self._place, self.owner, spec, title=self.kind.title, run_id=run_id)
        async with run.start(), self._place.change() as change:
            run.record(change)
        try:
            return await self._connect(run)
        except (OSError, HelperFailed) as error:
            await self._gone(run)
            raise HelperFailed(str(error)) from error

    async def _connect(self, run: SupervisedRun) -> _Living:
        reader, writer = await self._place.machine.connect(_socket_of(run.spec))
        client = await HelperClient.connect(reader, writer, self.kind.name)
        found = client.greeting.get("protocol"), client.greeting.get("pid")
        if found != (self.kind.protocol, run.pid):
            client.close()
            raise _OtherVersion(f"process {found[1]} answers there, and speaks version {found[0]}")
        living = self._living = _Living(run, client)
        client.listen(self._told)
        await client.call("listen", {})
        run.watch(self._noticed)
        return living

    async def _take_up(self, run: SupervisedRun) -> None:
        try:
            await self._connect(run)
        except _OtherVersion as error:
            log.warning("%s of an earlier server is left alone: %s", self.kind.title, error)
            self._left_alone = True
            await run.leave()
        except (OSError, HelperFailed) as error:
            log.warning("%s of an earlier server is ended: %s", self.kind.title, error)
            self._living = None
            await self._gone(run)

    async def _noticed(self) -> None:
        """Take note that it has ended without being asked to, and start another one."""
        async with self._turn:
            living = self._living
            if living is None or self._ending:
                return
            self._living = None
            living.client.close()
            log.warning("%s has ended by itself%s", self.kind.title, await living.run.log_tail())
            await self._gone(living.run)
        self._lost()
        try:
            await self.synchronize()
        except LabError as error:
            log.warning("%s was not started again: %s", self.kind.title, error.message)

    def _end_soon(self) -> None:
        self._cancel_linger()
        loop = asyncio.get_running_loop()
        self._linger = loop.call_later(LINGER_SECONDS, self._end_if_idle)

    def _end_if_idle(self) -> None:
        if self._idle():
            _ = self._place.own(self.stop())

    def _cancel_linger(self) -> None:
        if self._linger is not None:
            self._linger.cancel()

    async def _end(self, living: _Living) -> None:
        self._living = None
        living.client.close()
        await self._gone(living.run)

    async def _gone(self, run: SupervisedRun) -> None:
        await run.stop()
        async with self._place.change(fact=True) as change:
            run.forget(change)
        await self._remove_directory(run.spec)

    async def _remove_directory(self, spec: LaunchSpec) -> None:
        """Remove the directory of its socket."""
        try:
            await self._place.machine.remove_runtime_directory(Path(_socket_of(spec)).parent)
        except OSError as error:
            log.warning("the socket of %s was not removed: %s", self.kind.title, error)


def _socket_of(spec: LaunchSpec) -> str:
    """Where a helper is controlled."""
    return spec.sockets[0]
