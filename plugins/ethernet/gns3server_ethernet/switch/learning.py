"""The switch: it learns where addresses are, and keeps VLANs apart."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from time import monotonic
from typing import Any, NamedTuple

from gns3server_ethernet.switch.bridge import Bridge
from gns3server_ethernet.switch.loop import Loop
from gns3server_ethernet.switch.port import Port
from gns3server_ethernet.switch.vlan import (
    ADDRESSES,
    PLAIN,
    TAGS,
    Entry,
    Restless,
    Vlan,
    forms_in,
    tag_number,
    tag_of,
    without_tag,
)
from gns3server_ethernet.switch.wanted import ACCESS, QINQ, Wanted

MOST_ADDRESSES = 8192
"""How many addresses are remembered; frames to others are flooded."""

SWEEP = 10.0
"""Seconds between two searches for addresses that are out of date, while the table is full."""

SHORTEST_TAGGED = 18
"""Bytes of the shortest frame with a tag."""


class Address(NamedTuple):
    """An address that the switch knows.

    :param age: seconds since it was heard of.
    """

    mac_address: str
    vlan: int
    port_number: int
    age: int


class Switch(Bridge):
    """A switch.

    A frame is carried on in the form that it came in: without a tag, or with that of its VLAN. The
    other form is made when a port needs it.
    """

    def __init__(self, loop: Loop, tell: Callable[[Mapping[str, Any]], None]) -> None:
        super().__init__(loop, tell)
        self.vlans: dict[int, Vlan] = {}
        self._ageing = 300.0
        self._named: set[int] = set()
        """The VLANs that ports name."""
        self._elsewhere: Mapping[Port, int] = {}
        """The ports in each other VLAN: there may be 4000, so they share this."""
        self._addresses = 0
        self._swept = 0.0

    def configure(self, wanted: Wanted) -> dict[int, str]:
        """Become what is wanted; addresses behind ports that have changed are forgotten."""
        before = {port: (port.wanted, port.wire) for port in self.ports.values()}
        failed = super().configure(wanted)
        self._ageing = wanted.ageing
        for port in self.ports.values():
            port.untagged, port.tag = port.wanted.vlan, tag_of(port)
            port.transparent = port.wanted.type == QINQ
        self._named = {port.untagged for port in self.ports.values()}
        self._elsewhere = forms_in(0, self.ports.values())
        same = {
            port
            for port in self.ports.values()
            # Another name changes nothing.
            if port in before
            and (before[port][0]._replace(name=""), before[port][1])
            == (port.wanted._replace(name=""), port.wire)
        }
        old, self.vlans, self._addresses = self.vlans, {}, 0
        for number, vlan in old.items():
            kept = {mac: entry for mac, entry in vlan.table.items() if entry.port in same}
            if kept:
                self._vlan(number).table = kept
                self._addresses += len(kept)
        return failed

    def addresses(self) -> Iterator[Address]:
        """All addresses that are known, by VLAN and address."""
        now = monotonic()
        for number, vlan in sorted(self.vlans.items()):
            for mac, entry in sorted(vlan.table.items()):
                age = now - entry.seen
                if age <= self._ageing:
                    yield Address(mac.hex(":"), number, entry.port.wanted.number, int(age))

    def flush(self) -> None:
        """Forget all addresses."""
        for vlan in self.vlans.values():
            vlan.table.clear()
            vlan.restless.clear()
        self._addresses = 0

    def take(self, port: Port, frame: bytes, now: float) -> None:
        """Forward a frame that came in by a port."""
        number, plain, tagged = port.untagged, frame, b""
        if frame[12:14] in TAGS and not port.transparent:
            number, plain, tagged = self._read_tag(port, frame)
            if not number:
                return
        vlan = self.vlans.get(number) or self._vlan(number)
        source = frame[6:12]
        entry = vlan.table.get(source)
        if entry is not None and entry.port is port:
            entry.seen = now
        elif not source[0] & 1:
            self._learn(vlan, source, port, now)
        entry = None if frame[0] & 1 else vlan.table.get(frame[:6])
        if entry is None or now - entry.seen > self._ageing:
            self._flood(port, vlan, plain, tagged, now)
        elif entry.port is not port:
            # Who is at the port that the frame came in by has it already.
            self._send(entry.port, entry.form, port.tag, plain, tagged)

    def _read_tag(self, port: Port, frame: bytes) -> tuple[int, bytes, bytes]:
        """The VLAN of a frame, 0 if the port does not take it, and the form that it has."""
        refused = (0, b"", b"")
        if len(frame) < SHORTEST_TAGGED:
            port.malformed += 1
            return refused
        number = tag_number(frame)
        if number == 0:
            # It has a priority, and no VLAN.
            return port.untagged, without_tag(frame), b""
        # 4095 is reserved (IEEE 802.1Q), and an access port takes no tags.
        if number == 4095 or port.wanted.type == ACCESS:
            port.wrong_vlan += 1
            return refused
        return number, b"", frame

    def _flood(self, port: Port, vlan: Vlan, plain: bytes, tagged: bytes, now: float) -> None:
        """Send a frame out of all ports of its VLAN but the one that it came in by."""
        if not self.flood_limit.allow(now, port.wanted.number):
            port.limited += 1
            return
        for other, form in vlan.forms.items():
            if other is not port and other.socket is not None:
                self._send(other, form, port.tag, plain, tagged)

    def _send(self, port: Port, form: int, tag: bytes, plain: bytes, tagged: bytes) -> None:
        """Send a frame out of a port, in the form that it has there.

        :param tag: what makes it tagged, if it came without a tag.
        :param plain: without a tag; empty if it came with one.
        :param tagged: with its tag; empty if it came without.
        """
        if form == PLAIN:
            self.send(port, plain or without_tag(tagged))
        else:
            self.send(port, tagged or plain[:ADDRESSES] + tag + plain[ADDRESSES:])

    def _learn(self, vlan: Vlan, source: bytes, port: Port, now: float) -> None:
        """Note an address that was not at this port before.

        One that moves to and fro has sent something that comes back through a loop of wires. To
        believe it would have frames to it go round for ever. So they are flooded, which is limited.
        """
        entry = vlan.table.get(source)
        if entry is not None:
            if not entry.move(port, vlan.forms[port], now):
                del vlan.table[source]
                vlan.restless[source] = Restless(port, now)
            return
        restless = vlan.restless.get(source)
        if restless is not None:
            if not restless.rests(port, now):
                return
            del vlan.restless[source]
            self._addresses -= 1
        if self._addresses >= MOST_ADDRESSES:
            self._sweep(now)
            if self._addresses >= MOST_ADDRESSES:
                return
        vlan.table[source] = Entry(port, vlan.forms[port], now)
        self._addresses += 1

    def _sweep(self, now: float) -> None:
        """Forget the addresses that are out of date."""
        if now - self._swept < SWEEP:
            return
        self._swept, self._addresses = now, 0
        for vlan in self.vlans.values():
            vlan.table = {
                mac: entry for mac, entry in vlan.table.items() if now - entry.seen <= self._ageing
            }
            vlan.restless = {
                mac: restless
                for mac, restless in vlan.restless.items()
                if now - restless.moved <= self._ageing
            }
            self._addresses += len(vlan.table) + len(vlan.restless)

    def _vlan(self, number: int) -> Vlan:
        """A VLAN that a frame belongs to; it is made when there is none."""
        vlan = self.vlans.get(number)
        if vlan is None:
            named = number in self._named
            forms = forms_in(number, self.ports.values()) if named else self._elsewhere
            vlan = self.vlans[number] = Vlan(forms)
        return vlan
