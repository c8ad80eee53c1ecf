"""The ports of demos: those that run at the same time on a machine share none."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from gns3server.cli.demo_steps import DemoFailed

DEMOS = 8
"""How many demos there may be at the same time."""

CONSOLES, CONSOLES_EACH = 5101, 20
UDP, UDP_EACH = 20101, 50
"""Ports that a server with the default settings does not give out."""


@dataclass(frozen=True, slots=True)
class DemoPorts:
    """What one demo may use: the first and the last port of each kind."""

    consoles: tuple[int, int]
    udp: tuple[int, int]


@contextmanager
def claimed_ports(mark: str = "gns3server-demo") -> Iterator[DemoPorts]:
    """Claim ports until the context ends.

    A name in the abstract socket namespace marks the claim: it works between processes of all
    users, and ends with the process that made it.

    :param mark: what the name begins with.
    :raises DemoFailed: there are as many demos as there may be.
    """
    for number in range(DEMOS):
        with socket.socket(socket.AF_UNIX) as claim:
            try:
                claim.bind(f"\0{mark}-{number}")
            except OSError:
                continue
            yield DemoPorts(
                consoles=_block(CONSOLES, CONSOLES_EACH, number), udp=_block(UDP, UDP_EACH, number)
            )
            return
    raise DemoFailed(f"{DEMOS} demos are running on this machine: wait until one has ended.")


def _block(first: int, size: int, number: int) -> tuple[int, int]:
    """The first and the last port of a block."""
    return first + number * size, first + (number + 1) * size - 1
