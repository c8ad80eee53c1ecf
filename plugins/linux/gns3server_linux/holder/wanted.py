"""What the server wants of a node, as it tells it.

The one module of the program that the server imports as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

KIND, PROTOCOL = "linux", 1
"""What the program calls itself, and the version of its calls and events."""

STARTUP = "startup.sh"
"""A script in the node's folder: it has the console before the shell."""

WORKS = "works: "
"""What :mod:`~gns3server_linux.holder.probe` says first if there can be nodes."""

MOST_ADAPTERS = 16


class Wire:
    """The end of a UDP tunnel: frames come to ``lport``, and go to ``rport`` of ``host``.

    :param carrier: whether the interface shall see a carrier; without one, nothing passes.
    """

    def __init__(self, lport: int, host: str, rport: int, carrier: bool = True) -> None:
        self.lport = lport
        self.host = host
        self.rport = rport
        self.carrier = carrier

    @property
    def tunnel(self) -> tuple[int, str, int]:
        """What cannot change while it is plugged in."""
        return self.lport, self.host, self.rport


class Wanted(SimpleNamespace):
    """All of it. Only the wires can be changed while the node runs.

    :param name: its host name.
    :param home: its folder on the machine.
    :param addresses: the MAC addresses of its interfaces, ``eth0`` first.
    :param wires: by the number of the interface.
    :param sysctls: values below ``/proc/sys/net``, by name with dots.
    :param shell: what its console shows.
    :param daemons: of FRR, in the order in which they are started; none for a plain host.
    :param restart: whether a daemon that ends is started again.
    :param ip: the path of the program ``ip``.
    :param most_processes: how many it may have, threads included.
    :param group: what its control group is called, if its memory is limited.
    :param memory: bytes that it may have; 0 for no limit.
    """

    name: str
    home: str
    addresses: tuple[str, ...]
    wires: Mapping[int, Wire]
    sysctls: Mapping[str, str]
    shell: tuple[str, ...]
    daemons: tuple[str, ...]
    restart: bool
    ip: str
    most_processes: int
    group: str
    memory: int

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> Wanted:
        """What JSON values mean.

        :raises ValueError: something is missing, or not known.
        """
        if values.keys() != cls.__annotations__.keys():
            wrong = ", ".join(sorted(values.keys() ^ cls.__annotations__.keys()))
            raise ValueError(f"this is not what a node is told: {wrong}")
        try:
            return cls(
                **{
                    **values,
                    "addresses": tuple(values["addresses"]),
                    "wires": read_wires(values["wires"]),
                    "shell": tuple(values["shell"]),
                    "daemons": tuple(values["daemons"]),
                }
            )
        except TypeError as error:
            raise ValueError(f"this is not what a node is told: {error}") from error

    def told(self) -> dict[str, Any]:
        """The JSON values."""
        return {**vars(self), "wires": tell_wires(self.wires)}


def tell_wires(wires: Mapping[int, Wire]) -> dict[str, Any]:
    """The JSON values of wires."""
    return {str(number): vars(wire) for number, wire in wires.items()}


def read_wires(values: Mapping[str, Any]) -> dict[int, Wire]:
    """The wires that JSON values mean.

    :raises ValueError: something is missing, or not known.
    """
    try:
        return {int(number): Wire(**wire) for number, wire in values.items()}
    except (TypeError, AttributeError) as error:
        raise ValueError(f"these are no wires: {error}") from error
