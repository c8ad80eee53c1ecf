"""Reads captures, and refuses whatever is not as it should be; asks tshark as well, where it is."""

from __future__ import annotations

import shutil
import struct
import subprocess
from pathlib import Path
from typing import NamedTuple

HEADER = struct.Struct("<IHHiIII")
RECORD = struct.Struct("<IIII")


class Record(NamedTuple):
    """A frame in a capture."""

    stamp: int
    """In nanoseconds since 1970."""
    length: int
    """Of the frame; the capture may have less of it."""
    frame: bytes


def read_file(path: Path) -> list[Record]:
    """All records of a file, each of which must be whole."""
    data = path.read_bytes()
    records, end = read(data)
    assert end == len(data), f"{len(data) - end} bytes too many"
    if shutil.which("capinfos"):
        _ask_capinfos(path, len(records))
    if shutil.which("tshark"):
        _ask_tshark(path, records)
    return records


def frames_of(path: Path) -> list[bytes]:
    """The frames of a file."""
    return [record.frame for record in read_file(path)]


def read(data: bytes) -> tuple[list[Record], int]:
    """All records that are whole, and where they end; more of the next one may follow."""
    if len(data) < HEADER.size:
        return [], 0
    magic, *version, zone, accuracy, snapshot_length, network = HEADER.unpack_from(data)
    assert (magic, version, zone, accuracy, network) == (0xA1B23C4D, [2, 4], 0, 0, 1)
    records: list[Record] = []
    end = HEADER.size
    while end + RECORD.size <= len(data):
        seconds, nanoseconds, kept, length = RECORD.unpack_from(data, end)
        assert nanoseconds < 1_000_000_000
        assert kept == min(length, snapshot_length)
        if end + RECORD.size + kept > len(data):
            break
        frame = data[end + RECORD.size : end + RECORD.size + kept]
        records.append(Record(seconds * 1_000_000_000 + nanoseconds, length, frame))
        end += RECORD.size + kept
    stamps = [record.stamp for record in records]
    assert stamps == sorted(stamps)
    return records, end


def _ask_capinfos(path: Path, count: int) -> None:
    done = subprocess.run(
        ["capinfos", "-t", "-E", "-M", "-c", "-o", "-T", "-r", path],
        capture_output=True,
        text=True,
        check=True,
    )
    found = done.stdout.split("\t")[1:]
    assert [text.strip() for text in found] == ["nsecpcap", "ether", str(count), "True"]


def _ask_tshark(path: Path, records: list[Record]) -> None:
    fields = ["-e", "frame.time_epoch", "-e", "frame.len", "-e", "frame.cap_len"]
    done = subprocess.run(
        ["tshark", "-n", "-r", path, "-T", "fields", *fields],
        capture_output=True,
        text=True,
        check=True,
    )
    assert [line.split("\t") for line in done.stdout.splitlines()] == [
        [
            f"{record.stamp // 1_000_000_000}.{record.stamp % 1_000_000_000:09}",
            str(record.length),
            str(len(record.frame)),
        ]
        for record in records
    ]
