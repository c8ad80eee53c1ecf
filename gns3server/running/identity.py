"""Who a process is, beyond its pid, which the kernel gives out again.

Linux only (pidfd_open: kernel 5.3). Everything here reads /proc: never call it on the loop.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple

from gns3server.running.procfs import ProcessStat, read_bytes, read_stat


@dataclass(frozen=True, slots=True)
class ProcessIdentity:
    """One process, for ever: no other one, on this boot or another, has the same three values.

    start_time: field 22 of /proc/PID/stat (proc(5)), clock ticks since boot; unlike a time of
    day it does not move when the clock is set.
    """

    pid: int
    start_time: int
    boot_id: str


class Handle(NamedTuple):
    """A process and the pidfd that refers to it; whoever gets it must close `fd`."""

    identity: ProcessIdentity
    fd: int


def read_boot_id() -> str:
    """Return the id that the kernel gave to this boot (random(4))."""
    return read_bytes("/proc/sys/kernel/random/boot_id").decode().strip()


def open_handle(pid: int) -> Handle | None:
    """Open a process and read its identity; None when no process has that pid. Raise OSError."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return None
    try:
        # Only now: while the pidfd is open the pid may pass on, but then the process behind the
        # pidfd is reaped and the check below sees it.
        stat = read_stat(pid)
        if stat is not None and _refers_to(fd, pid):
            return Handle(ProcessIdentity(pid, stat.start_time, read_boot_id()), fd)
    except BaseException:
        os.close(fd)
        raise
    os.close(fd)
    return None


def open_pidfd(identity: ProcessIdentity) -> int | None:
    """Open a living process; None when it is gone, a zombie or another one. Raise OSError."""
    if identity.boot_id != read_boot_id():
        return None
    try:
        fd = os.pidfd_open(identity.pid)
    except ProcessLookupError:
        return None
    try:
        stat = read_stat(identity.pid)
        if stat is not None and stat.alive and stat.start_time == identity.start_time:
            return fd
    except BaseException:
        os.close(fd)
        raise
    os.close(fd)
    return None


def open_all(stats: Iterable[ProcessStat]) -> list[Handle]:
    """Open those of the processes that still live. Raise OSError with none left open."""
    boot_id = read_boot_id()
    return open_living(ProcessIdentity(stat.pid, stat.start_time, boot_id) for stat in stats)


def open_living(processes: Iterable[ProcessIdentity]) -> list[Handle]:
    """Open those of the processes that still live. Raise OSError with none left open."""
    handles: list[Handle] = []
    try:
        for identity in processes:
            fd = open_pidfd(identity)
            if fd is not None:
                handles.append(Handle(identity, fd))
    except BaseException:
        close_all(handles)
        raise
    return handles


def send_signal(processes: Iterable[ProcessIdentity], number: int) -> None:
    """Send a signal to those of the processes that still live. Raise OSError."""
    handles = open_living(processes)
    try:
        for handle in handles:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(handle.fd, number)
    finally:
        close_all(handles)


def close_all(handles: Iterable[Handle]) -> None:
    """Close the pidfds."""
    for handle in handles:
        os.close(handle.fd)


def _refers_to(fd: int, pid: int) -> bool:
    """Tell whether the process behind a pidfd still owns its pid (fdinfo: -1 once reaped)."""
    for line in read_bytes(f"/proc/self/fdinfo/{fd}").splitlines():
        if line.startswith(b"Pid:"):
            return int(line.split()[1]) == pid
    return False
