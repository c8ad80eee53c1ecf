"""Captured frames as lines of text: what the demo shows of its pings."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from ipaddress import IPv4Address

HEADER = struct.Struct("=IHHiIII")
RECORD = struct.Struct("=IIII")
MAGIC = 0xA1B23C4D
"""Of a pcap file with nanosecond stamps, as this server writes them."""

ETHERNET_HEADER = 14
ARP, IPV4, IPV6 = 0x0806, 0x0800, 0x86DD
ICMP = 1
ECHO = {0: "echo reply", 8: "echo request"}
ARP_WORDS = {1: "who has", 2: "has"}


def lines_of(pcap: bytes) -> Iterator[str]:
    """One line a frame: when it came after the first one, and what it is.

    :raises ValueError: this is no capture.
    """
    if len(pcap) < HEADER.size or HEADER.unpack_from(pcap)[0] != MAGIC:
        raise ValueError("this is not a capture with nanosecond stamps")
    at, first = HEADER.size, None
    while at + RECORD.size <= len(pcap):
        seconds, nanoseconds, size, _ = RECORD.unpack_from(pcap, at)
        at += RECORD.size
        when = seconds * 1_000_000_000 + nanoseconds
        first = when if first is None else first
        yield f"{(when - first) / 1e9:9.6f} s  {describe(pcap[at : at + size])}"
        at += size


def describe(frame: bytes) -> str:
    """What a frame is, in a few words."""
    kind = int.from_bytes(frame[12:14], "big")
    packet = frame[ETHERNET_HEADER:]
    if kind == ARP and len(packet) >= 28:
        word = ARP_WORDS.get(int.from_bytes(packet[6:8], "big"), "?")
        asked = IPv4Address(packet[24:28] if word == "who has" else packet[14:18])
        return f"ARP   {IPv4Address(packet[14:18])}  {word} {asked}"
    if kind == IPV4 and len(packet) >= 28 and packet[9] == ICMP:
        message = packet[4 * (packet[0] & 15) :]
        number = int.from_bytes(message[6:8], "big")
        ends = f"{IPv4Address(packet[12:16])} > {IPv4Address(packet[16:20])}"
        return f"ICMP  {ends}  {ECHO.get(message[0], 'other')}, seq {number}"
    if kind == IPV6:
        return f"IPv6  {len(frame)} bytes"
    return f"type {kind:#06x}, {len(frame)} bytes"
