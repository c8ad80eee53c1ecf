"""VLANs: who is in them, where their addresses are, and the tags of their frames."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from gns3server_ethernet.switch.port import Port
from gns3server_ethernet.switch.wanted import DOT1Q, QINQ, TAG_TYPE, TAG_TYPES

PLAIN, TAGGED = range(2)
"""Forms of a frame on a wire: without the tag of its VLAN, and with it."""

ADDRESSES = 12
"""Bytes of the two addresses that a frame begins with; a tag comes after them."""

TAGS = frozenset(bytes.fromhex(each[2:]) for each in TAG_TYPES)
"""What a tag begins with."""

MOVES, MOVES_SECONDS = 2, 1.0
"""How often an address may turn up at another port in that time: a host that is moved does less."""

REST_SECONDS = 5.0
"""Seconds after which an address that has moved too often may be learned again."""


class Entry:
    """Where an address is: the port, the form that frames have there, and when it was heard of."""

    __slots__ = ("form", "moves", "port", "seen", "since")

    def __init__(self, port: Port, form: int, seen: float) -> None:
        self.port = port
        self.form = form
        self.seen = seen
        self.since = seen
        self.moves = 0
        """How often it has moved since then."""

    def move(self, port: Port, form: int, now: float) -> bool:
        """Be at another port; returns whether it does that no more often than a host can."""
        self.port, self.form, self.seen = port, form, now
        if now - self.since > MOVES_SECONDS:
            self.since, self.moves = now, 0
        self.moves += 1
        return self.moves <= MOVES


class Restless:
    """An address that has moved too often: its frames come back through a loop of wires.

    :param port: where it was heard of last.
    :param moved: when it has last moved.
    """

    __slots__ = ("moved", "port")

    def __init__(self, port: Port, moved: float) -> None:
        self.port = port
        self.moved = moved

    def rests(self, port: Port, now: float) -> bool:
        """Note where it is heard of; returns whether it has stayed there for long enough."""
        if port is not self.port:
            self.port, self.moved = port, now
        return now - self.moved >= REST_SECONDS


class Vlan:
    """A VLAN of a switch.

    :param forms: the ports that belong to it, and the form that its frames have there.
    """

    __slots__ = ("forms", "restless", "table")

    def __init__(self, forms: Mapping[Port, int]) -> None:
        self.forms = forms
        self.table: dict[bytes, Entry] = {}
        self.restless: dict[bytes, Restless] = {}


def forms_in(number: int, ports: Iterable[Port]) -> dict[Port, int]:
    """Which ports belong to a VLAN, and the form that its frames have there."""
    forms = {}
    for port in ports:
        wanted = port.wanted
        if wanted.vlan == number:
            forms[port] = PLAIN
        elif wanted.type == DOT1Q:
            forms[port] = TAGGED
    return forms


def tag_of(port: Port) -> bytes:
    """The tag that trunks have on what came in without one."""
    wanted = port.wanted
    kind = wanted.ethertype if wanted.type == QINQ else TAG_TYPE
    return bytes.fromhex(kind[2:]) + wanted.vlan.to_bytes(2, "big")


def tag_number(frame: bytes) -> int:
    """The VLAN that a frame's tag names, 0 if it gives only a priority."""
    return (frame[ADDRESSES + 2] & 0x0F) << 8 | frame[ADDRESSES + 3]


def without_tag(frame: bytes) -> bytes:
    """A frame without the first of its tags."""
    return frame[:ADDRESSES] + frame[ADDRESSES + 4 :]
