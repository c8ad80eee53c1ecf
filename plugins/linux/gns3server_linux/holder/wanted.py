"""What the server wants of a node, as it tells it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

MOST_ADAPTERS = 16


class Wire(NamedTuple):
    """The end of a UDP tunnel: frames come to ``lport``, and go to ``rport`` of ``host``.

    :param carrier: whether the interface shall see a carrier; without one, nothing passes.
    """

    lport: int
    host: str
    rport: int
    carrier: bool = True


class Wanted(NamedTuple):
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
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"this is not what a node is told: {error}") from error

    def told(self) -> dict[str, Any]:
        """The JSON values."""
        wires = {str(number): wire._asdict() for number, wire in self.wires.items()}
        return {**self._asdict(), "wires": wires}


def read_wires(values: Mapping[str, Any]) -> dict[int, Wire]:
    """The wires that JSON values mean.

    :raises ValueError: something is missing, or not known.
    """
    try:
        return {int(number): Wire(**wire) for number, wire in values.items()}
    except (TypeError, AttributeError) as error:
        raise ValueError(f"these are no wires: {error}") from error
