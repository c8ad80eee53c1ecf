"""Captured frames in words."""

from __future__ import annotations

import struct

import pytest

from gns3server.cli.frames import describe, lines_of

HEADER = struct.pack("=IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 65535, 1)
ETHERNET = b"\xff" * 6 + b"\x00\x50\x79\x66\x68\x00"
ONE, OTHER = bytes([192, 168, 1, 1]), bytes([192, 168, 1, 2])


def arp(word: int) -> bytes:
    return (
        ETHERNET
        + b"\x08\x06"
        + bytes([0, 1, 8, 0, 6, 4, 0, word])
        + b"\0" * 6
        + ONE
        + b"\0" * 6
        + OTHER
    )


def icmp(kind: int) -> bytes:
    ip = bytes([0x45]) + b"\0" * 8 + b"\x01" + b"\0" * 2 + ONE + OTHER
    return ETHERNET + b"\x08\x00" + ip + bytes([kind, 0, 0, 0, 0, 1, 0, 7])


@pytest.mark.parametrize(
    ("frame", "words"),
    [
        (arp(1), "ARP   192.168.1.1  who has 192.168.1.2"),
        (arp(2), "ARP   192.168.1.1  has 192.168.1.1"),
        (icmp(8), "ICMP  192.168.1.1 > 192.168.1.2  echo request, seq 7"),
        (icmp(0), "ICMP  192.168.1.1 > 192.168.1.2  echo reply, seq 7"),
        (icmp(3), "ICMP  192.168.1.1 > 192.168.1.2  other, seq 7"),
        (ETHERNET + b"\x86\xdd" + b"x" * 48, "IPv6  62 bytes"),
        (ETHERNET + b"\x88\xb5", "type 0x88b5, 14 bytes"),
        (ETHERNET + b"\x08\x06", "type 0x0806, 14 bytes"),
        (b"", "type 0x0000, 0 bytes"),
    ],
)
def test_frames_are_described(frame, words):
    assert describe(frame) == words


def test_each_frame_is_a_line_with_its_time_after_the_first():
    records = [(10, 999_999_000), (12, 1000)]
    frame = icmp(8)
    pcap = HEADER + b"".join(
        struct.pack("=IIII", *when, len(frame), len(frame)) + frame for when in records
    )
    first, second = lines_of(pcap)
    assert first.startswith(" 0.000000 s  ICMP")
    assert second.startswith(" 1.000002 s  ICMP")


@pytest.mark.parametrize("data", [b"", b"no capture at all, but text of some length"])
def test_what_is_no_capture_is_refused(data):
    with pytest.raises(ValueError, match="not a capture"):
        list(lines_of(data))
