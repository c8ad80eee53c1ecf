"""What the kernel says about processes and ports: the truth that the server is held to."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

LISTENING = "0A"


def holders(kind: str, port: int) -> set[int]:
    """The processes that have a UDP socket on ``port``, or listen there for TCP."""
    wanted = {f"socket:[{inode}]" for inode in _inodes(kind, port)}
    if not wanted:
        return set()
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            # Processes end meanwhile, and others are not ours to look into.
            with contextlib.suppress(OSError):
                if any(os.readlink(fd) in wanted for fd in (entry / "fd").iterdir()):
                    found.add(int(entry.name))
    return found


def is_bound(kind: str, port: int) -> bool:
    """Whether anybody has a UDP socket on ``port``, or listens there for TCP."""
    return bool(_inodes(kind, port))


def _inodes(kind: str, port: int) -> set[str]:
    found = set()
    for table in (kind, f"{kind}6"):
        path = Path("/proc/net", table)
        if path.exists():
            for line in path.read_text().splitlines()[1:]:
                fields = line.split()
                if int(fields[1].rpartition(":")[2], 16) == port and (
                    kind == "udp" or fields[3] == LISTENING
                ):
                    found.add(fields[9])
    return found


def working_directory(pid: int) -> str:
    """The directory that a process works in; empty when it has ended."""
    with contextlib.suppress(OSError):
        return os.readlink(f"/proc/{pid}/cwd")
    return ""


def start_time(pid: int) -> int:
    """When a process was started, in clock ticks since the boot."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])


def environment(pid: int) -> dict[str, str]:
    """The environment that a process was started with."""
    items = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    pairs = (item.decode().partition("=") for item in items if item)
    return {name: value for name, _, value in pairs}


def alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"


def command_line(pid: int) -> Sequence[str]:
    """The program and arguments that a process was started with."""
    return Path(f"/proc/{pid}/cmdline").read_bytes().decode().rstrip("\0").split("\0")


@contextmanager
def foreign(kind: str, port: int) -> Iterator[None]:
    """Have a port taken by somebody who is not the server's, while the context lasts."""
    transport = socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM
    with socket.socket(socket.AF_INET, transport) as taken:
        if kind == "tcp":
            # Connections of earlier tests that are fading out do not count.
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("0.0.0.0", port))
        if kind == "tcp":
            taken.listen()
        yield
