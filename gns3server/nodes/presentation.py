"""How nodes of a type are shown by clients that draw labs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Presentation:
    """What clients that draw labs show of the nodes of a type, in whatever API they speak.

    :param symbol: the name of their picture, such as ``router``.
    :param category: the group that the type is offered in.
    :param name_format: the names of new nodes, with ``{0}`` for a number; made of the type's title
        by default.
    :param known_as: the type, in the words of an API that has a closed list of types, whose
        dialogs suit these nodes best. An API chooses if it is empty, or if it has no such type.
    :param port_name: the name of a port, with ``{0}`` for its number and ``{1}`` for its adapter's.
    :param short_port_name: the same for places that are narrow.
    """

    symbol: str = "computer"
    category: Literal["router", "switch", "guest", "firewall"] = "guest"
    name_format: str = ""
    known_as: str = ""
    port_name: str = "Ethernet{0}"
    short_port_name: str = "e{0}"
