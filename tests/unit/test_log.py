"""The log: bounded, and no reason for a server to stop or to fill its standard error."""

from __future__ import annotations

import logging
import os
import resource
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from gns3server.log.output import MOST_WAITING, write_all
from gns3server.log.rotation import KEPT, MIB, LogFile, LogHandler

LINE = "x" * (MIB // 10)


def logger_to(write, **how):
    logger = logging.Logger(__name__)  # noqa: LOG001  nobody else hears what it is told
    logger.addHandler(LogHandler(write, **how))
    return logger


@pytest.fixture
def log():
    """Makes loggers of files of at most one MiB."""
    files = []

    def make(path):
        files.append(LogFile(Path(path), 1))
        return logger_to(files[-1].write)

    yield make
    for file in files:
        file.close()


def test_a_file_that_is_full_is_put_aside_and_few_are_kept(log, tmp_path):
    logger = log(tmp_path / "log")
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
    log(tmp_path / "log").info("now")
    assert (tmp_path / "log").read_text() == "of before\nnow\n"


def test_where_nothing_can_be_put_aside_the_file_begins_again(log, tmp_path):
    logger = log(tmp_path / "log")
    (tmp_path / f"log.{KEPT}" / "in the way").mkdir(parents=True)
    for number in range(60):
        logger.info("%d %s", number, LINE)
    path = tmp_path / "log"
    assert path.stat().st_size <= MIB
    assert path.read_text().splitlines()[-1].startswith("59 ")


def put_aside(path):
    path.rename(path.with_name("old"))


def put_aside_and_make_another(path):
    put_aside(path)
    path.touch()


def copy_and_cut(path):
    path.with_name("old").write_bytes(path.read_bytes())
    os.truncate(path, 0)


@pytest.mark.parametrize("rotate", [put_aside, put_aside_and_make_another, copy_and_cut])
def test_a_program_may_rotate_the_log_as_it_likes(log, tmp_path, rotate):
    """If another file has the name of the log, or none, it is opened anew."""
    logger = log(tmp_path / "log")
    logger.info("before")
    rotate(tmp_path / "log")
    logger.info("after")
    (tmp_path / "old").unlink()
    logger.info("later")
    assert (tmp_path / "log").read_text() == "after\nlater\n"
    (tmp_path / "log").unlink()
    logger.info("at last")
    assert (tmp_path / "log").read_text() == "at last\n"


def test_a_log_whose_directory_is_gone_is_told_and_goes_on_once_it_is_back(log, tmp_path, capsys):
    (tmp_path / "logs").mkdir()
    logger = log(tmp_path / "logs" / "log")
    (tmp_path / "logs").rename(tmp_path / "away")
    logger.info("lost")
    assert "the log cannot be written (No such file or directory)" in capsys.readouterr().err
    (tmp_path / "logs").mkdir()
    logger.info("found")
    lines = (tmp_path / "logs" / "log").read_text().splitlines()
    assert [line[:21] for line in lines] == ["1 records are missing", "found"]


def test_a_pipe_without_a_reader_cannot_be_a_log(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="nobody reads this pipe"):
        LogFile(tmp_path / "pipe", 1)


def test_text_that_is_no_unicode_is_written_all_the_same(log, tmp_path):
    log(tmp_path / "log").info("a\udc80b")
    assert (tmp_path / "log").read_text() == "a\\udc80b\n"


def test_what_is_no_file_is_never_put_aside(log):
    logger = log(os.devnull)
    for _ in range(30):
        logger.info(LINE)
    assert Path(os.devnull).is_char_device()


@pytest.fixture
def disks(tmp_path):
    """A full disk and one that has room."""
    full, roomy = LogFile(Path("/dev/full"), 1), LogFile(tmp_path / "log", 1)
    with closing(full), closing(roomy):
        yield [full, roomy]


@pytest.fixture
def logger(disks):
    """A logger to the first of the disks."""
    return logger_to(lambda text: disks[0].write(text))  # noqa: PLW0108  the first by then


def test_a_full_disk_is_told_once_and_the_gap_in_the_log(logger, disks, tmp_path, capsys):
    for _ in range(1000):
        logger.info("lost")
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "the log cannot be written (No space left on device)" in err
    disks.reverse()
    logger.info("found")
    assert (tmp_path / "log").read_text() == (
        "1000 records are missing here: the log could not be written\nfound\n"
    )
    assert capsys.readouterr().err == ""
    disks.reverse()
    logger.info("lost")
    assert capsys.readouterr().err == err


def test_what_does_not_fit_is_not_begun(log, tmp_path):
    logger = log(tmp_path / "log")
    logger.info("fits")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len("fits\nhal"), hard))
    try:
        logger.info("half of it")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    logger.info("fits")
    gap = "1 records are missing here: the log could not be written"
    assert (tmp_path / "log").read_text() == f"fits\n{gap}\nfits\n"


def test_a_stream_that_nobody_reads_any_more_is_told_once(capsys):
    reader, writer = os.pipe()
    os.close(reader)
    stream = open(writer, "w")  # noqa: SIM115  it cannot be closed in order
    logger = logger_to(partial(print, file=stream, flush=True))
    for _ in range(1000):
        logger.info("lost")
    err = capsys.readouterr().err
    assert "Broken pipe" in err
    assert err.count("\n") == 1
    with pytest.raises(BrokenPipeError):
        stream.close()


def test_nobody_waits_for_the_reader_of_a_stream(capsys):
    reader, writer = os.pipe()
    logger = logger_to(lambda line: write_all(writer, f"{line}\n".encode()), waits=True)
    for number in range(30):
        logger.info("%d %s", number, LINE)
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "the log cannot be written (nobody reads it)" in err
    with open(reader) as stream, ThreadPoolExecutor(1) as late:
        lines = late.submit(stream.readlines)
        logger.handlers[0].flush()
        logger.info("read again")
        logger.handlers[0].flush()
        os.close(writer)
    *kept, gap, last = lines.result()
    # What was said first is kept.
    assert [line.split()[0] for line in kept] == [str(number) for number in range(len(kept))]
    assert len(kept) >= MOST_WAITING // len(LINE) - 1
    assert gap == f"{30 - len(kept)} records are missing here: the log could not be written\n"
    assert last == "read again\n"


def test_a_pipe_that_another_program_has_made_nonblocking_loses_nothing():
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    logger = logger_to(lambda line: write_all(writer, f"{line}\n".encode()), waits=True)
    logger.info(LINE * 5)
    with open(reader) as stream:
        assert stream.readline() == f"{LINE * 5}\n"
    os.close(writer)


def test_without_a_thread_the_log_is_written_all_the_same(monkeypatch):
    def refuse(thread):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    lines: list[str] = []
    logger = logger_to(lines.append, waits=True)
    logger.critical("no more processes")
    assert lines == ["no more processes"]


def test_nor_is_standard_error_needed(logger, disks, tmp_path, monkeypatch):
    with open(os.devnull, "w") as gone:
        monkeypatch.setattr(sys, "stderr", gone)
    logger.info("lost")
    disks.reverse()
    logger.info("found")
    assert (tmp_path / "log").read_text().startswith("1 records are missing")
