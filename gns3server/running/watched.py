"""The processes of a run: watched, signalled, reaped and taken down through their pidfds."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
from collections.abc import Awaitable, Collection, Iterable

from gns3server.running.identity import Handle, ProcessIdentity
from gns3server.running.reader import KernelReader

log = logging.getLogger(__name__)

STOP_SIGNAL = signal.SIGTERM
STOP_LIMIT = 3.0
_POLITE_PASSES = 2


class WatchedProcess:
    """One watched process.

    ``code`` is its exit code, negative for the signal that ended it; None while it lives, and
    if it is not our child.

    :param handle: the process; its pidfd is ours from now on.
    """

    __slots__ = ("code", "ended", "fd", "identity")

    def __init__(self, handle: Handle) -> None:
        self.identity, self.fd = handle
        self.code: int | None = None
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @property
    def gone(self) -> bool:
        """Whether it has ended (a killed grandchild may stay a zombie until init reaps it)."""
        return self.ended.done()

    def signal(self, number: int) -> None:
        """Send a signal; harmless when it has ended.

        :raises PermissionError: it has become another user's.
        """
        if not self.gone:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self.fd, number)


class WatchedProcesses:
    """The known processes of a run, or of several; to be made on the loop.

    :param reader: finds those that are not known yet.
    :param run_ids: of these runs, as held in the processes' environments.
    """

    def __init__(self, reader: KernelReader, run_ids: Collection[str]) -> None:
        self._reader = reader
        self._run_ids = run_ids
        self._loop = asyncio.get_running_loop()
        self._members: dict[ProcessIdentity, WatchedProcess] = {}
        self._ended: list[WatchedProcess] = []

    @property
    def identities(self) -> list[ProcessIdentity]:
        """All processes, in the order in which they were added."""
        return list(self._members)

    @property
    def alive(self) -> list[WatchedProcess]:
        """The processes that have not ended, as far as the loop has noticed."""
        return [member for member in self._members.values() if not member.gone]

    @property
    def ended(self) -> list[WatchedProcess]:
        """The processes that have ended, in the order in which that was noticed."""
        return list(self._ended)

    def add(self, handle: Handle) -> WatchedProcess:
        """Watch a process.

        :param handle: its pidfd is ours from now on.
        :returns: the watched process, which may have been added before.
        """
        known = self._members.get(handle.identity)
        if known is not None:
            os.close(handle.fd)
            return known
        member = self._members[handle.identity] = WatchedProcess(handle)
        self._loop.add_reader(member.fd, self._readable, member)
        return member

    def add_all(self, handles: Iterable[Handle]) -> None:
        """Watch several processes.

        :param handles: as in :meth:`add`.
        """
        for handle in handles:
            self.add(handle)

    def signal(self, *numbers: int) -> None:
        """Send signals to all living processes.

        A process that has become another user's counts as ended from then on: waiting for it could
        take for ever.

        :param numbers: of the signals, sent to each process one after the other.
        """
        for member in self.alive:
            try:
                for number in numbers:
                    member.signal(number)
            except PermissionError:
                log.warning("process %d is now another user's: not stopped", member.identity.pid)
                self._end(member)

    async def take_down(
        self,
        hurry: asyncio.Event,
        *,
        stop_signal: int = STOP_SIGNAL,
        stop_limit: float = STOP_LIMIT,
    ) -> None:
        """Stop them, their descendants and all that carry one of the run ids: the stop ladder.

        Ask, wait, kill, wait until gone, then look for those that hid. Returns when none is
        alive. If processes cannot be searched for, only the known ones are stopped. Nothing else
        is ever signalled.

        :param hurry: once set, processes are killed without being given time to end.
        :param stop_signal: the signal that asks processes to end.
        :param stop_limit: seconds after which they are killed.
        """
        passes = 0
        while True:
            await self._find("descendants", self._reader.family(self.identities))
            while self.alive:
                # Runs that keep forking new processes have been asked often enough.
                if passes < _POLITE_PASSES and not hurry.is_set():
                    # A process that was stopped (SIGSTOP) takes its signal once it is continued.
                    self.signal(stop_signal, signal.SIGCONT)
                    if await self.gone_within(stop_limit, hurry):
                        continue
                self.signal(signal.SIGKILL)
                await self.gone()
            await self._find("stragglers", self._reader.carriers(self._run_ids, self.identities))
            if not self.alive:
                return
            passes += 1

    async def gone(self) -> None:
        """Wait until the processes that are alive now have ended."""
        waiting = [member.ended for member in self.alive]
        if waiting:
            await asyncio.wait(waiting)

    async def gone_within(self, limit: float, hurry: asyncio.Event) -> bool:
        """Wait a while for the processes that are alive now to end.

        :param limit: seconds to wait at most.
        :param hurry: once set, there is no more waiting.
        :returns: whether they have ended.
        """
        waiting = [member.ended for member in self.alive]
        gone = asyncio.create_task(self.gone())
        hurried = asyncio.create_task(hurry.wait())
        try:
            await asyncio.wait({gone, hurried}, timeout=limit, return_when=asyncio.FIRST_COMPLETED)
        finally:
            gone.cancel()
            hurried.cancel()
        return all(ended.done() for ended in waiting)

    def forget(self) -> None:
        """Stop watching, and leave the processes alone."""
        for member in self.alive:
            self._end(member)

    async def _find(self, what: str, search: Awaitable[list[Handle]]) -> None:
        try:
            self.add_all(await search)
        except OSError as error:
            # Most likely no file descriptor is left: known processes must be stopped all the same.
            log.warning("cannot look for %s: %s", what, error)

    def _readable(self, member: WatchedProcess) -> None:
        try:
            # This also reaps it, if it is our child: an adopted process may be.
            result = os.waitid(os.P_PIDFD, member.fd, os.WEXITED | os.WNOHANG)
        except ChildProcessError:
            self._end(member)
            return
        if result is None:
            # Its last thread has not quite ended: the pidfd stays readable and calls again.
            return
        member.code = result.si_status if result.si_code == os.CLD_EXITED else -result.si_status
        self._end(member)

    def _end(self, member: WatchedProcess) -> None:
        self._loop.remove_reader(member.fd)
        os.close(member.fd)
        self._ended.append(member)
        member.ended.set_result(None)
