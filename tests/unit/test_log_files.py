"""The log: bounded, and no reason for a server to stop or to fill its standard error."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

import pytest

from gns3server.log.rotation import KEPT, MIB, LogFile, LogStream

LINE = "x" * (MIB // 10)


@pytest.fixture
def log():
    """Makes loggers of a handler."""
    loggers = []

    def make(handler):
        logger = logging.getLogger(f"{__name__}.{id(handler)}")
        logger.propagate = False
        logger.setLevel(logging.INFO)
        logger.addHandler(handler)
        loggers.append(handler)
        return logger

    yield make
    for handler in loggers:
        handler.close()


def test_a_file_that_is_full_is_put_aside_and_few_are_kept(log, tmp_path):
    logger = log(LogFile(tmp_path / "log", 1))
    for number in range(60):
        logger.info("%d %s", number, LINE)
    files = sorted(tmp_path.iterdir())
    assert [path.name for path in files] == ["log", *(f"log.{n}" for n in range(1, KEPT + 1))]
    assert all(path.stat().st_size <= MIB for path in files)
    lines = "".join(path.read_text() for path in [*files[:0:-1], files[0]]).splitlines()
    assert [line.split()[0] for line in lines] == [str(n) for n in range(60 - len(lines), 60)]
    assert len(lines) > 30


def test_a_file_that_is_there_is_appended_to(log, tmp_path):
    (tmp_path / "log").write_text("of before\n")
    log(LogFile(tmp_path / "log", 1)).info("now")
    assert (tmp_path / "log").read_text() == "of before\nnow\n"


def test_where_nothing_can_be_put_aside_the_file_begins_again(log, tmp_path):
    logger = log(LogFile(tmp_path / "log", 1))
    (tmp_path / f"log.{KEPT}" / "in the way").mkdir(parents=True)
    for number in range(60):
        logger.info("%d %s", number, LINE)
    path = tmp_path / "log"
    assert path.stat().st_size <= MIB
    assert path.read_text().splitlines()[-1].startswith("59 ")


def test_text_that_is_no_unicode_is_written_all_the_same(log, tmp_path):
    log(LogFile(tmp_path / "log", 1)).info("a\udc80b")
    assert (tmp_path / "log").read_text() == "a\\udc80b\n"


def test_what_is_no_file_is_never_put_aside(log):
    logger = log(LogFile(Path(os.devnull), 1))
    for _ in range(30):
        logger.info(LINE)
    assert Path(os.devnull).is_char_device()


def test_a_full_disk_is_told_once_and_the_gap_in_the_log(log, tmp_path, capsys):
    disk = tmp_path / "disk"
    disk.symlink_to("/dev/full")
    handler = LogFile(disk, 1)
    logger = log(handler)
    for _ in range(1000):
        logger.info("lost")
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "the log cannot be written (No space left on device)" in err
    with handler._file, open(tmp_path / "log", "ab", buffering=0) as handler._file:
        logger.info("found")
    assert (tmp_path / "log").read_text() == (
        "1000 records are missing here: the log could not be written\nfound\n"
    )
    assert capsys.readouterr().err == ""


def test_a_stream_that_nobody_reads_any_more_is_told_once(log, capsys):
    reader, writer = os.pipe()
    os.close(reader)
    stream = open(writer, "w")  # noqa: SIM115  it cannot be closed in order
    logger = log(LogStream(stream))
    for _ in range(1000):
        logger.info("lost")
    err = capsys.readouterr().err
    assert "Broken pipe" in err
    assert err.count("\n") == 1
    with pytest.raises(BrokenPipeError):
        stream.close()


def test_nor_is_standard_error_needed(log, monkeypatch):
    with open(os.devnull, "w") as gone:
        monkeypatch.setattr(sys, "stderr", gone)
    handler = LogFile(Path("/dev/full"), 1)
    log(handler).info("lost")
    assert handler._lost == 1
