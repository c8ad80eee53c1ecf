"""What /proc tells about processes. Everything here blocks: never call it on the loop.

The formats are those of proc(5). Processes that are gone, or that we may not read, are left
out silently: they come and go while we read. Other errors (no file descriptor left) are
raised as OSError, so that nobody takes an unread process for a dead one.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable
from typing import NamedTuple

RUN_ID_VARIABLE = "GNS3_RUN_ID"
"""Environment variable that marks every process of a run as ours."""

_GONE = (FileNotFoundError, ProcessLookupError, PermissionError)
_DEAD_STATES = (b"Z", b"X", b"x")


class ProcessStat(NamedTuple):
    """One line of /proc/PID/stat.

    :param pid: number of the process.
    :param parent: number of its parent.
    :param start_time: clock ticks since boot.
    :param alive: whether it is not a zombie.
    """

    pid: int
    parent: int
    start_time: int
    alive: bool


def read_bytes(path: str) -> bytes:
    """Read a whole file of /proc.

    :param path: of the file.
    :raises OSError: it cannot be read.
    """
    # Unbuffered: the io layer makes three times as many system calls, and rounds read hundreds.
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        chunks = []
        while chunk := os.read(fd, 65536):
            chunks.append(chunk)
        return b"".join(chunks)
    finally:
        os.close(fd)


def parse_stat(line: bytes) -> ProcessStat:
    """Parse a stat line.

    :param line: in the form of proc(5); the command's name may hold blanks and parentheses.
    """
    head, _, tail = line.rpartition(b")")
    fields = tail.split()
    # proc(5) counts from 1 and the state, first after the name, is field 3.
    return ProcessStat(
        pid=int(head.partition(b" ")[0]),
        parent=int(fields[1]),
        start_time=int(fields[19]),
        alive=fields[0] not in _DEAD_STATES,
    )


def read_stat(pid: int) -> ProcessStat | None:
    """Read the stat line of one process; zombies have one.

    :param pid: number of the process.
    :returns: None when there is none.
    :raises OSError: no descriptor is left, most likely.
    """
    try:
        line = read_bytes(f"/proc/{pid}/stat")
    except _GONE:
        return None
    return parse_stat(line) if line else None


class ProcessTable:
    """The living processes of the machine and who started whom. Zombies count as dead.

    A second :meth:`refresh` only reads new processes: a caller that relies on the table must open
    and verify what it finds, and clear the table when that fails.
    """

    def __init__(self) -> None:
        self._stats: dict[int, ProcessStat] = {}
        self._children: dict[int, list[ProcessStat]] = {}

    def refresh(self) -> ProcessTable:
        """Read the processes that are not in the table yet, and drop those that are gone.

        :returns: the table.
        :raises OSError: no descriptor is left, most likely.
        """
        pids = _pids()
        known = self._stats
        fresh = {pid: known.get(pid) or read_stat(pid) for pid in pids}
        self._stats = {pid: stat for pid, stat in fresh.items() if stat is not None and stat.alive}
        self._children = {}
        for stat in self._stats.values():
            self._children.setdefault(stat.parent, []).append(stat)
        return self

    def clear(self) -> None:
        """Have the next :meth:`refresh` read everything."""
        self._stats = {}
        self._children = {}

    def holds(self, pid: int, start_time: int) -> bool:
        """Tell whether this very process is alive.

        :param pid: its number.
        :param start_time: clock ticks since boot.
        """
        stat = self._stats.get(pid)
        return stat is not None and stat.start_time == start_time

    def descendants(self, roots: Iterable[int]) -> list[ProcessStat]:
        """Return the children of processes, their grandchildren and so on.

        :param roots: the numbers of these processes.
        """
        found: dict[int, ProcessStat] = {}
        todo = list(roots)
        while todo:
            for stat in self._children.get(todo.pop(), ()):
                if stat.pid not in found:
                    found[stat.pid] = stat
                    todo.append(stat.pid)
        return list(found.values())


def processes() -> ProcessTable:
    """Read all processes.

    :raises OSError: no descriptor is left, most likely.
    """
    return ProcessTable().refresh()


def socket_inodes(pid: int) -> set[int]:
    """Return the inodes of the sockets that a process holds open.

    :param pid: its number; a process that is gone, or hides its descriptors, has none.
    :raises OSError: no descriptor is left, most likely.
    """
    found: set[int] = set()
    try:
        names = os.listdir(f"/proc/{pid}/fd")
    except _GONE:
        return found
    for name in names:
        try:
            target = os.readlink(f"/proc/{pid}/fd/{name}")
        except _GONE:
            continue
        if target.startswith("socket:["):
            found.add(int(target[8:-1]))
    return found


def hides_descriptors(pid: int) -> bool:
    """Whether a process does not show us its descriptors.

    So it is with one that has more rights than this process: by capabilities of its file
    (capabilities(7)) or as another user (set-user-ID). Its environment cannot be read either.
    """
    try:
        os.listdir(f"/proc/{pid}/fd")
    except PermissionError:
        return True
    except OSError:
        return False
    return False


def socket_owners(inodes: Collection[int]) -> dict[int, set[int]]:
    """Return the numbers of the processes that hold sockets open, by the sockets' inodes.

    Processes that we may not read are left out.

    :param inodes: of the sockets.
    :raises OSError: no descriptor is left, most likely.
    """
    found: dict[int, set[int]] = {}
    for pid in _pids():
        for inode in socket_inodes(pid).intersection(inodes):
            found.setdefault(inode, set()).add(pid)
    return found


def command_line(pid: int) -> str:
    """Return the command that a process was started with.

    :param pid: its number.
    :returns: words separated by blanks, empty when they cannot be read.
    """
    try:
        words = read_bytes(f"/proc/{pid}/cmdline").split(b"\0")
    except _GONE:
        return ""
    return " ".join(os.fsdecode(word) for word in words if word)


def working_directory(pid: int) -> str | None:
    """Return the directory in which a process works.

    :param pid: its number.
    :returns: its path; if the directory is gone, the last path it had. None when that cannot be
        read.
    """
    try:
        return os.readlink(f"/proc/{pid}/cwd").removesuffix(" (deleted)")
    except _GONE:
        return None


def run_id_carriers() -> dict[str, list[ProcessStat]]:
    """Return the living processes of our user that carry a run id, by run id.

    The environment is the one that the process was started with (or its parent, before an exec).
    This process itself is left out: a server that is started from a node's shell must not stop
    itself.

    :raises OSError: no descriptor is left, most likely.
    """
    found: dict[str, list[ProcessStat]] = {}
    own, user = os.getpid(), os.geteuid()
    prefix = RUN_ID_VARIABLE.encode() + b"="
    for pid in _pids():
        if pid == own:
            continue
        try:
            if os.stat(f"/proc/{pid}").st_uid != user:
                continue
            # Before the environment: if the start time is the same afterwards, so is the process.
            stat = read_stat(pid)
            environment = read_bytes(f"/proc/{pid}/environ")
        except _GONE:
            continue
        if stat is None or not stat.alive or prefix not in environment:
            continue
        for item in environment.split(b"\0"):
            if item.startswith(prefix):
                found.setdefault(os.fsdecode(item[len(prefix) :]), []).append(stat)
    return found


def may_carry(pid: int, run_id: str) -> bool:
    """Whether a process carries a run id, or hides its environment: as one with capabilities does.

    :raises OSError: no descriptor is left, most likely.
    """
    try:
        environment = read_bytes(f"/proc/{pid}/environ")
    except PermissionError:
        return True
    except _GONE:
        return False
    return f"{RUN_ID_VARIABLE}={run_id}".encode() in environment.split(b"\0")


def run_ids_below(directory: str) -> set[str]:
    """Return the run ids of our user's processes that work in a directory or below it.

    :param directory: its path.
    :raises OSError: no descriptor is left, most likely.
    """
    found = set()
    for run_id, stats in run_id_carriers().items():
        for stat in stats:
            place = working_directory(stat.pid)
            if place is not None and f"{place}/".startswith(f"{directory}/"):
                found.add(run_id)
    return found


def _pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdecimal()]
