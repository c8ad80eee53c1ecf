"""What processes are at, as psutil reads it.

Those that are gone, or none of ours to look into, have nothing to tell.
"""

from __future__ import annotations

import socket
from contextlib import suppress

import psutil

from gns3server.running.spec import Port


def command_line(pid: int) -> str:
    """The command that a process was started with, empty when that cannot be read."""
    with suppress(psutil.Error):
        return " ".join(psutil.Process(pid).cmdline())
    return ""


def working_directory(pid: int) -> str:
    """Where a process works, empty when that cannot be read."""
    with suppress(psutil.Error):
        return psutil.Process(pid).cwd()
    return ""


def lives(pid: int) -> bool:
    """Whether there is a process of this id that is no zombie."""
    with suppress(psutil.Error):
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return False


def bound_ports() -> dict[Port, set[int]]:
    """The ports that are bound on this machine, with the processes that have them.

    :raises OSError: the kernel does not list its sockets.
    """
    found: dict[Port, set[int]] = {}
    for link in psutil.net_connections("inet"):
        # A connection has a port without having bound it.
        if link.laddr and link.status in (psutil.CONN_LISTEN, psutil.CONN_NONE):
            tcp = link.type == socket.SOCK_STREAM
            pids = found.setdefault(Port("tcp" if tcp else "udp", link.laddr.port), set())
            if link.pid is not None:
                pids.add(link.pid)
    return found
