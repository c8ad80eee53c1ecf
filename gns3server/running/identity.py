"""The identity of a process, beyond its pid, which the kernel uses again.

Linux only (P_PIDFD of waitid: kernel 5.4). Everything here reads /proc: never call it on the loop.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple

from gns3server.running.procfs import ProcessStat, may_carry, read_bytes, read_stat

BOOT_ID = "/proc/sys/kernel/random/boot_id"


@dataclass(frozen=True, slots=True)
class ProcessIdentity:
    """One process, for ever: no other, on this boot or another, has the same three values.

    :param pid: its number, in our pid namespace.
    :param start_time: field 22 of /proc/PID/stat (proc(5)), clock ticks since boot; unlike a time
        of day, it does not change when the clock is set.
    :param boot_id: the id of the boot that it was started in (random(4)).
    """

    pid: int
    start_time: int
    boot_id: str


class Handle(NamedTuple):
    """A process and the pidfd that refers to it; the recipient must close ``fd``."""

    identity: ProcessIdentity
    fd: int


def read_boot_id() -> str:
    """Return the id that the kernel gave this boot (random(4)).

    :raises OSError: it cannot be read.
    """
    try:
        return read_bytes(BOOT_ID).decode().strip()
    except FileNotFoundError as error:
        raise OSError(
            f"{BOOT_ID} is hidden, and without it no process could be known again after a restart. "
            "Give the server a /proc with all of it: no ProcSubset=pid (systemd), no subset=pid "
            "(mount)"
        ) from error


def open_child(pid: int) -> Handle | None:
    """Open a child of ours, which may have ended but has not been reaped, and read its identity.

    :returns: None when it is not a child of ours: something else has reaped it.
    :raises OSError: no descriptor is left, most likely.
    """
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return None
    try:
        stat, boot_id = read_stat(pid), read_boot_id()
        # Checked last: a child not yet reaped has kept its pid, so what was read is its own.
        os.waitid(os.P_PIDFD, fd, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if stat is not None:
            return Handle(ProcessIdentity(pid, stat.start_time, boot_id), fd)
    except ChildProcessError:
        pass
    except BaseException:
        os.close(fd)
        raise
    os.close(fd)
    return None


def open_living(processes: Iterable[ProcessIdentity]) -> list[Handle]:
    """Open those of the processes that still live; zombies count as dead.

    :raises OSError: no descriptor is left, most likely; none of them is left open.
    """
    boot_id = read_boot_id()
    handles: list[Handle] = []
    try:
        for identity in processes:
            fd = _open(identity) if identity.boot_id == boot_id else None
            if fd is not None:
                handles.append(Handle(identity, fd))
    except BaseException:
        close_all(handles)
        raise
    return handles


def open_carriers(processes: Iterable[ProcessIdentity], run_id: str) -> list[Handle]:
    """Open those of the processes that still live and belong to a run, as far as can be told.

    A record may have come from anywhere: what it names need not be the run's.

    :raises OSError: as :func:`open_living`.
    """
    living = open_living(processes)
    try:
        ours = [handle for handle in living if may_carry(handle.identity.pid, run_id)]
    except BaseException:
        close_all(living)
        raise
    close_all(handle for handle in living if handle not in ours)
    return ours


def open_all(stats: Iterable[ProcessStat]) -> list[Handle]:
    """Open those of the processes that still live, given their stat lines of this boot.

    :raises OSError: as :func:`open_living`.
    """
    boot_id = read_boot_id()
    return open_living(ProcessIdentity(stat.pid, stat.start_time, boot_id) for stat in stats)


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
    """Close pidfds.

    :param handles: must not be used afterwards.
    """
    for handle in handles:
        os.close(handle.fd)


def _open(identity: ProcessIdentity) -> int | None:
    """Open a process of this boot; None when it has ended, or its pid is another's by now."""
    try:
        fd = os.pidfd_open(identity.pid)
    except ProcessLookupError:
        return None
    try:
        # Checked last: if the same process has the pid now, it also had it at the opening.
        stat = read_stat(identity.pid)
        if stat is not None and stat.alive and stat.start_time == identity.start_time:
            return fd
    except BaseException:
        os.close(fd)
        raise
    os.close(fd)
    return None
