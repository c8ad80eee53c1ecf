"""Ports for tests that run side by side: part of :mod:`gns3server.testing`."""

from __future__ import annotations

import contextlib
import random
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gns3server.ports import can_bind

PORT_BLOCK = 500
PORT_BLOCKS = range(11000, 32000, PORT_BLOCK)

TIME_WAIT = "06"
"""The state of a connection that is closed and only lingers (proc(5), tcp_states.h)."""


@dataclass(frozen=True, slots=True)
class PortBlock:
    """A range of ports that no other test on this machine uses at the same time."""

    first: int
    last: int


def _is_free(block: range) -> bool:
    """Whether no socket of this machine uses a port of a block, whatever left it there.

    Connections that linger, for a minute, are no obstacle to binding as emulators do.
    """
    for table in ("tcp", "tcp6", "udp", "udp6"):
        path = Path("/proc/net", table)
        for line in path.read_text().splitlines()[1:] if path.exists() else ():
            _, local, _, state, *_ = line.split()
            port = int(local.rpartition(":")[2], 16)
            if port in block and (state != TIME_WAIT or not can_bind("TCP", port)):
                return False
    return True


def _below_the_kernels_own(blocks: range) -> list[int]:
    """The blocks that the kernel gives no connection a port from: there, free ports stay free."""
    own = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text()
    below = [first for first in blocks if first + PORT_BLOCK <= int(own.split()[0])]
    # If the machine gives out all of them, there is no choice.
    return below or [*blocks]


@contextlib.contextmanager
def claimed_ports(blocks: range = PORT_BLOCKS) -> Iterator[PortBlock]:
    """Claim a block of ports that is free, and that no other test gets meanwhile.

    A name in the abstract socket namespace marks the claim: it works between
    processes and ends with the process that made it.

    :param blocks: the first port of each block that may be claimed.
    :raises RuntimeError: all blocks are claimed or in use.
    """
    candidates = _below_the_kernels_own(blocks)
    random.shuffle(candidates)
    for first in candidates:
        mark = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            mark.bind(f"\0gns3server-test-ports-{first}")
        except OSError:
            mark.close()
            continue
        with mark:
            if not _is_free(range(first, first + PORT_BLOCK)):
                continue
            yield PortBlock(first, first + PORT_BLOCK - 1)
            return
    raise RuntimeError("all blocks of test ports are in use: are many test runs active?")
