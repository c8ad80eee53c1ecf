"""VLANs: who is in them, where their addresses are, and the tags of their frames."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from gns3server_ethernet.switch.port import Port
from gns3server_ethernet.switch.wanted import DOT1Q, QINQ, TAG_TYPE

PLAIN, TAGGED, OUTER = range(3)
"""Forms of a frame on a wire: without a tag, with that of its VLAN, with an outer one as well."""

ADDRESSES = 12
"""Bytes of the two addresses that a frame begins with; a tag comes after them."""

TAG = bytes.fromhex(TAG_TYPE[2:])


class Entry:
    """Where an address is: the port, the form that frames have there, and when it was heard of."""

    __slots__ = ("form", "port", "seen")

    def __init__(self, port: Port, form: int, seen: float) -> None:
        self.port = port
        self.form = form
        self.seen = seen


class Vlan:
    """A VLAN of a switch.

    :param number: 1 to 4094.
    :param forms: the ports that belong to it, and the form that its frames have there.
    """

    __slots__ = ("forms", "table", "tag")

    def __init__(self, number: int, forms: Mapping[Port, int]) -> None:
        self.forms = forms
        self.tag = TAG + number.to_bytes(2, "big")
        self.table: dict[bytes, Entry] = {}


def forms_in(number: int, ports: Iterable[Port]) -> dict[Port, int]:
    """Which ports belong to a VLAN, and the form that its frames have there."""
    forms = {}
    for port in ports:
        wanted = port.wanted
        if wanted.type == QINQ:
            forms[port] = OUTER
        elif wanted.vlan == number:
            forms[port] = PLAIN
        elif wanted.type == DOT1Q:
            forms[port] = TAGGED
    return forms


def outer_tag(port: Port) -> bytes:
    """The outer tag on the wire of a qinq port."""
    return bytes.fromhex(port.wanted.ethertype[2:]) + port.wanted.vlan.to_bytes(2, "big")


def tag_number(frame: bytes) -> int:
    """The VLAN that a frame's tag names, 0 if it gives only a priority."""
    return (frame[ADDRESSES + 2] & 0x0F) << 8 | frame[ADDRESSES + 3]


def without_tag(frame: bytes) -> bytes:
    """A frame without the first of its tags."""
    return frame[:ADDRESSES] + frame[ADDRESSES + 4 :]
