"""What psutil tells about processes.

Nothing is told of processes that are gone, or that we may not read.
"""

from __future__ import annotations

import socket
from contextlib import suppress
from dataclasses import dataclass, field

import psutil

from gns3server.running.spec import Port


def command_line(pid: int) -> str:
    """The command that a process was started with, empty when it cannot be read."""
    with suppress(psutil.Error):
        return " ".join(psutil.Process(pid).cmdline())
    return ""


def working_directory(pid: int) -> str:
    """The directory in which a process works, empty when it cannot be read."""
    with suppress(psutil.Error):
        return psutil.Process(pid).cwd()
    return ""


def lives(pid: int) -> bool:
    """Whether there is a process with this id that is not a zombie."""
    with suppress(psutil.Error):
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return False


@dataclass(slots=True)
class Binding:
    """Who has bound a port, and on which addresses."""

    pids: set[int] = field(default_factory=set)
    addresses: set[str] = field(default_factory=set)


def bound_ports() -> dict[Port, Binding]:
    """The ports that are bound on this machine.

    :raises OSError: the kernel does not list its sockets.
    """
    found: dict[Port, Binding] = {}
    for link in psutil.net_connections("inet"):
        # A connection uses a port without having bound it.
        if link.laddr and link.status in (psutil.CONN_LISTEN, psutil.CONN_NONE):
            tcp = link.type == socket.SOCK_STREAM
            bound = found.setdefault(Port("tcp" if tcp else "udp", link.laddr.port), Binding())
            bound.addresses.add(link.laddr.ip)
            if link.pid is not None:
                bound.pids.add(link.pid)
    return found
