"""Captures as bytes: what is written, and how much of a torn file is whole."""

from __future__ import annotations

import os

import pytest
from pcap_files import read, read_file

from gns3server.links.panel import pcap

STAMP = 1_800_000_000_123_456_789


def test_frames_of_all_lengths_are_written_with_nanoseconds(tmp_path):
    frames = [b"", b"a", b"bcd", b"efg", bytes(65507), b"h"]
    path = tmp_path / "file.pcap"
    content = pcap.header(65535) + pcap.records(frames, STAMP, 65535)
    path.write_bytes(content + pcap.records([b"later"], STAMP + 1, 65535))
    records = read_file(path)
    assert [record.frame for record in records] == [*frames, b"later"]
    assert {record.stamp for record in records[:-1]} == {STAMP}
    assert records[-1].stamp == STAMP + 1


def test_long_frames_are_cut_and_their_length_is_told():
    content = pcap.header(10) + pcap.records([b"short", bytes(11), bytes(1514)], STAMP, 10)
    assert [(each.length, len(each.frame)) for each in read(content)[0]] == [
        (5, 5),
        (11, 10),
        (1514, 10),
    ]


def test_only_records_that_are_whole_and_fit_are_counted():
    data = pcap.records([bytes(60)] * 3, STAMP, 65535)
    one = len(data) // 3
    assert pcap.whole_records(data, len(data)) == (len(data), 3)
    assert pcap.whole_records(data, len(data) - 1) == (2 * one, 2)
    assert pcap.whole_records(data[:-1], len(data)) == (2 * one, 2)
    assert pcap.whole_records(data[: one + 8], len(data)) == (one, 1)
    assert pcap.whole_records(b"", 100) == (0, 0)


@pytest.mark.parametrize("torn", [0, 1, 15, 16, 17, 75])
def test_the_end_of_a_torn_file_is_found_however_long_it_is(tmp_path, monkeypatch, torn):
    # More than is read at once.
    data = pcap.records([bytes(1500)] * 2000, STAMP, 65535)
    torn_record = pcap.records([bytes(60)], STAMP, 65535)[:torn]
    path = tmp_path / "file.pcap"
    path.write_bytes(pcap.header(65535) + data + torn_record)
    descriptor = os.open(path, os.O_RDONLY)
    try:
        assert pcap.end_of_whole_records(descriptor) == len(pcap.header(65535)) + len(data)
    finally:
        os.close(descriptor)


def test_what_is_no_capture_of_ours_is_refused():
    assert pcap.snapshot_length(pcap.header(96)) == 96
    for beginning in (b"", b"\n\r\r\n" * 6, bytes(24), pcap.header(96)[:23]):
        with pytest.raises(ValueError, match="not a capture"):
            pcap.snapshot_length(beginning)
