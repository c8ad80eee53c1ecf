"""The file format pcap, with stamps in nanoseconds."""

from __future__ import annotations

import itertools
import os
import struct
from collections.abc import Sequence

MAGIC = 0xA1B23C4D
ETHERNET = 1

HEADER = struct.Struct("=IHHiIII")
"""Magic number, version (two numbers), time zone, accuracy, snapshot length, kind of network."""

RECORD = struct.Struct("=IIII")
"""Seconds, nanoseconds, bytes that follow, bytes that the frame had."""

BILLION = 1_000_000_000

CHUNK = 1024 * 1024


def header(snapshot_length: int) -> bytes:
    """What a file begins with.

    :param snapshot_length: how many bytes of a frame are kept at most.
    """
    return HEADER.pack(MAGIC, 2, 4, 0, 0, snapshot_length, ETHERNET)


def snapshot_length(beginning: bytes) -> int:
    """What :func:`header` was made for.

    :param beginning: of a file.
    :raises ValueError: that is no file of ours.
    """
    if len(beginning) == HEADER.size:
        magic, *_, length, network = HEADER.unpack(beginning)
        if (magic, network) == (MAGIC, ETHERNET):
            return int(length)
    raise ValueError("there is a file which is not a capture of Ethernet frames in nanoseconds")


def records(frames: Sequence[bytes], stamp: int, most: int) -> bytes:
    """Frames as they stand in a file.

    :param frames: at least one.
    :param stamp: when they came, in nanoseconds since 1970.
    :param most: how many bytes of a frame are kept at most.
    """
    seconds, nanoseconds = divmod(stamp, BILLION)
    parts = []
    for length, group in itertools.groupby(frames, len):
        # One head for all of them: most often those that come together are of one length.
        head = RECORD.pack(seconds, nanoseconds, min(length, most), length)
        parts += [head, head.join([frame[:most] for frame in group])]
    return b"".join(parts)


def whole_records(data: bytes, most: int, position: int = 0) -> tuple[int, int]:
    """How much of a sequence of records is whole and fits.

    :param most: how many bytes fit, from the beginning of ``data`` on.
    :param position: where the first record begins.
    :returns: where the last such record ends, and how many there are.
    """
    count = 0
    while position + RECORD.size <= len(data):
        end = position + RECORD.size + RECORD.unpack_from(data, position)[2]
        if end > min(most, len(data)):
            break
        position = end
        count += 1
    return position, count


def end_of_whole_records(descriptor: int) -> int:
    """Where the last whole record of a file ends. Blocks as long as it takes to read the file.

    :raises OSError: it cannot be read.
    """
    position = HEADER.size
    while True:
        data = os.pread(descriptor, CHUNK, position)
        read, _ = whole_records(data, len(data))
        if not read:
            return position
        position += read
