"""What the server wants of a switch or hub, as it tells it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

ACCESS, DOT1Q, QINQ = "access", "dot1q", "qinq"
"""The types of ports."""

TAG_TYPE = "0x8100"
"""The Ethernet type of a VLAN tag (IEEE 802.1Q)."""

TAG_TYPES = (TAG_TYPE, "0x88A8", "0x9100", "0x9200")
"""The types of the tags that switches put around those of others."""


class WantedPort(NamedTuple):
    """A port.

    :param type: ``access``: frames have no tag, and belong to ``vlan``. ``dot1q``: frames have the
        tags of their VLANs, those of ``vlan`` have none. ``qinq``: frames are carried as they are,
        with whatever tags they have, and belong to ``vlan``; dot1q ports have a tag of
        ``ethertype`` and ``vlan`` around them.
    """

    number: int
    name: str
    type: str = ACCESS
    vlan: int = 1
    ethertype: str = TAG_TYPE


class Wire(NamedTuple):
    """The end of a UDP tunnel: frames come to ``lport``, and go to ``rport`` of ``host``."""

    lport: int
    host: str
    rport: int


class Wanted(NamedTuple):
    """All of it.

    :param name: what the console calls it.
    :param ageing: seconds after which an address that is not heard of any more is forgotten.
    :param flood_limit: frames a second that may be sent to all ports.
    :param wires: by the number of the port.
    """

    name: str
    ageing: float
    flood_limit: int
    ports: tuple[WantedPort, ...]
    wires: Mapping[int, Wire]

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> Wanted:
        """What JSON values mean.

        :raises ValueError: something is missing, or not known.
        """
        try:
            return cls(
                name=values["name"],
                ageing=values["ageing"],
                flood_limit=values["flood_limit"],
                ports=tuple(WantedPort(**port) for port in values["ports"]),
                wires={int(number): Wire(**wire) for number, wire in values["wires"].items()},
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"this is not what a switch is told: {error}") from error

    def told(self) -> dict[str, Any]:
        """The JSON values."""
        return {
            **self._asdict(),
            "ports": [port._asdict() for port in self.ports],
            "wires": {str(number): wire._asdict() for number, wire in self.wires.items()},
        }
