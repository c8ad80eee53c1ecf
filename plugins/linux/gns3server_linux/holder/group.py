"""A control group that limits the memory of a node (cgroups(7)), of version 1 or 2.

It is made beside the server's own group, which must be ours to divide: root's is, and one that
systemd has delegated. ``python -m gns3server_linux.holder.group NAME`` removes it: when a node has
been killed, nobody else would.
"""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")

LIMITS = ("memory.limit_in_bytes", "memory.max")
"""What the limit is called, in version 1 and 2."""

SWAP_LIMITS = ("memory.memsw.limit_in_bytes", "memory.swap.max")
"""Where there is swap: of memory and swap together, and of swap alone."""


def place(name: str) -> Path:
    """Where the group of a node is, whether it is there or not.

    :raises OSError: this machine has no such groups.
    """
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if "memory" in controllers.split(","):
            return ROOT / "memory" / path.lstrip("/") / name
        if not controllers and "memory" in _controllers(path):
            return ROOT / path.lstrip("/") / name
    raise OSError("this user has no control group for memory")


def _controllers(path: str) -> list[str]:
    """What a group of version 2 can limit in those below it."""
    with contextlib.suppress(OSError):
        return (ROOT / path.lstrip("/") / "cgroup.subtree_control").read_text().split()
    return []


def make(name: str, memory: int) -> Path:
    """Make a group.

    :param memory: how much its processes may have together, in bytes.
    :raises OSError: this user may not.
    """
    group = place(name)
    group.mkdir(exist_ok=True)
    for names, value in ((LIMITS, str(memory)), (SWAP_LIMITS, None)):
        for number, limit in enumerate(names):
            file = group / limit
            if file.exists():
                file.write_text(value or (str(memory), "0")[number])
    return group


def take_in(group: Path, pid: int) -> None:
    """Have a process be in a group, and all that it starts from then on.

    :raises OSError: this user may not.
    """
    (group / "cgroup.procs").write_text(str(pid))


def main() -> None:
    """Remove the group of a node that has ended, if it is there."""
    with contextlib.suppress(FileNotFoundError):
        os.rmdir(place(sys.argv[1]))


if __name__ == "__main__":
    main()
