"""A control group that limits the memory of a node (cgroups(7)), of version 1 or 2.

In version 1 it is made below the server's own group. In version 2 it is made beside that, since no
group may have both processes and groups that limit something; so the group around must be ours to
divide: root's is, and one that systemd has delegated. ``python -m gns3server_linux.holder.group
NAME`` removes it: when a node has been killed, nobody else would.
"""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")

MEMBERSHIP = Path("/proc/self/cgroup")

ADVICE = "Start the server as root or with 'systemd-run --user --scope', or set memory_limit to 0"

LIMITS = ("memory.limit_in_bytes", "memory.max")
"""What the limit is called, in version 1 and 2."""

SWAP_LIMITS = ("memory.memsw.limit_in_bytes", "memory.swap.max")
"""Where there is swap: of memory and swap together, and of swap alone."""


def place(name: str) -> Path:
    """Where the group of a node is, whether it is there or not.

    :raises OSError: this machine has no such groups.
    """
    for line in MEMBERSHIP.read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if "memory" in controllers.split(","):
            return ROOT / "memory" / path.lstrip("/") / name
        around = ROOT / os.path.dirname(path).lstrip("/")
        if not controllers and "memory" in _controllers(around):
            return around / name
    raise OSError(f"no control group around the server's limits memory. {ADVICE}")


def _controllers(group: Path) -> list[str]:
    """What a group of version 2 limits in those below it."""
    with contextlib.suppress(OSError):
        return (group / "cgroup.subtree_control").read_text().split()
    return []


def make(name: str, memory: int) -> Path:
    """Make a group.

    :param memory: how much its processes may have together, in bytes.
    :raises OSError: this user may not.
    """
    group = place(name)
    try:
        group.mkdir(exist_ok=True)
    except OSError as error:
        raise OSError(f"{group} cannot be made: {error.strerror}. {ADVICE}") from error
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
    # An earlier server, of another group, may have made it.
    for group in [*ROOT.rglob(sys.argv[1])]:
        with contextlib.suppress(FileNotFoundError):
            group.rmdir()


if __name__ == "__main__":
    main()
