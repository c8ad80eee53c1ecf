"""The processes of a run: watched, signalled and reaped through their pidfds."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import subprocess
from collections.abc import Callable, Iterable
from typing import Any

from gns3server.running.identity import Handle, ProcessIdentity

log = logging.getLogger(__name__)


class WatchedProcess:
    """One watched process.

    gone: it has ended (a killed grandchild may stay a zombie until init reaps it).
    code: the exit code, negative for a signal; None while it lives, and if it is not our child.
    """

    __slots__ = ("code", "ended", "fd", "gone", "identity", "popen")

    def __init__(self, handle: Handle, popen: subprocess.Popen[Any] | None) -> None:
        self.identity, self.fd = handle
        self.popen = popen
        self.gone = False
        self.code: int | None = None
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()


class WatchedProcesses:
    """Some processes; `noticed` is called on the loop for each one that ends."""

    def __init__(self, noticed: Callable[[WatchedProcess], None] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        self._noticed = noticed
        self._members: dict[ProcessIdentity, WatchedProcess] = {}

    @property
    def identities(self) -> list[ProcessIdentity]:
        """All processes, in the order in which they were added."""
        return list(self._members)

    @property
    def alive(self) -> list[WatchedProcess]:
        """Those that have not ended, as far as the loop has noticed."""
        return [member for member in self._members.values() if not member.gone]

    def add(self, handle: Handle, popen: subprocess.Popen[Any] | None = None) -> WatchedProcess:
        """Watch a process; the pidfd is ours from now on."""
        known = self._members.get(handle.identity)
        if known is not None:
            os.close(handle.fd)
            return known
        member = self._members[handle.identity] = WatchedProcess(handle, popen)
        self._loop.add_reader(member.fd, self._readable, member)
        return member

    def add_all(self, handles: Iterable[Handle]) -> None:
        """Watch several processes."""
        for handle in handles:
            self.add(handle)

    def signal(self, *numbers: int) -> None:
        """Send signals to all that live."""
        for member in self.alive:
            try:
                for number in numbers:
                    signal.pidfd_send_signal(member.fd, number)
            except ProcessLookupError:
                continue
            except PermissionError:
                # A helper that changed its user: waiting for it could take for ever.
                log.warning("process %d is not ours to stop", member.identity.pid)
                self._end(member)

    async def gone(self, limit: float | None = None) -> bool:
        """Wait until those that live now have ended; False when `limit` seconds did not do."""
        waiting = [member.ended for member in self.alive]
        if not waiting:
            return True
        _, late = await asyncio.wait(waiting, timeout=limit)
        return not late

    def forget(self) -> None:
        """Stop watching, and let the processes be."""
        self._noticed = None
        for member in self.alive:
            if member.popen is not None:
                # It outlives its Popen on purpose, which would complain when it is collected.
                member.popen.returncode = 0
            self._end(member)

    def _readable(self, member: WatchedProcess) -> None:
        if member.popen is not None:
            member.code = member.popen.poll()
            if member.code is None:
                # Its last thread is not quite through: the pidfd stays readable and calls again.
                return
        else:
            _reap(member.fd)
        self._end(member)

    def _end(self, member: WatchedProcess) -> None:
        self._loop.remove_reader(member.fd)
        os.close(member.fd)
        member.gone = True
        if not member.ended.done():
            member.ended.set_result(None)
        if self._noticed is not None:
            self._noticed(member)


def _reap(fd: int) -> None:
    """Reap a process if it is our child after all: one adopted by the server that started it."""
    with contextlib.suppress(ChildProcessError):
        os.waitid(os.P_PIDFD, fd, os.WEXITED | os.WNOHANG)
