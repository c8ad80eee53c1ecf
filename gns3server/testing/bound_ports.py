"""Which ports the processes of a test's nodes have bound."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator

from gns3server.running.procfs import read_bytes, socket_inodes
from gns3server.running.spec import Port

TCP_LISTEN = b"0A"
"""The state of a socket that listens (proc(5))."""


def bound_ports(pids: Iterable[int]) -> set[Port]:
    """The UDP ports that processes have bound, and the TCP ports that they listen on.

    Asked of the network namespace of each process, which need not be this one.
    """
    found = set[Port]()
    for pid in pids:
        # It may end meanwhile.
        with contextlib.suppress(OSError):
            inodes = socket_inodes(pid)
            found.update(port for port, inode in _sockets(pid) if inode in inodes)
    return found


def _sockets(pid: int) -> Iterator[tuple[Port, int]]:
    """All sockets of a process's network namespace that a port is bound to, with their inodes."""
    for table in ("tcp", "tcp6", "udp", "udp6"):
        try:
            lines = read_bytes(f"/proc/{pid}/net/{table}").splitlines()[1:]
        except FileNotFoundError:
            # A kernel without IPv6 has no tcp6 and no udp6.
            continue
        for line in lines:
            _, local, _, state, *rest = line.split(None, 10)
            number = int(local.rpartition(b":")[2], 16)
            if number and (table.startswith("udp") or state == TCP_LISTEN):
                yield Port("udp" if table.startswith("udp") else "tcp", number), int(rest[5])
