"""What programs print is kept, its end is shown, and it never fills the disk."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gns3server.running.logs import bound_log, log_tail, older_part, open_log
from gns3server.running.spec import LaunchSpec, Port

LIMIT = 10_000


def test_a_long_log_is_cut_under_its_writer(tmp_path: Path) -> None:
    path = tmp_path / "log"
    writer = open_log(path)
    try:
        os.write(writer, b"a" * 50 + b"b" * LIMIT)
        bound_log(path, LIMIT)
        assert path.stat().st_size == 0
        os.write(writer, b"c" * 5)
    finally:
        os.close(writer)
    assert path.read_bytes() == b"c" * 5
    assert older_part(path).read_bytes() == b"b" * LIMIT
    assert log_tail(path, 8) == "bbbccccc"
    assert log_tail(path, 2) == "cc"


def test_a_long_log_is_cut_where_no_copy_can_be_made(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"x" * 2 * LIMIT)
    (tmp_path / ".log.new").mkdir()
    assert bound_log(path, LIMIT)
    assert path.stat().st_size == 0
    assert not older_part(path).exists()


def test_a_short_log_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"x" * LIMIT)
    bound_log(path, LIMIT)
    assert path.stat().st_size == LIMIT
    assert not older_part(path).exists()


def test_a_log_begins_empty_and_in_a_file_of_its_own(tmp_path: Path) -> None:
    path, other = tmp_path / "log", tmp_path / "other"
    other.write_text("precious")
    path.symlink_to(other)
    older_part(path).write_text("of the run before")
    writer = open_log(path)
    os.write(writer, b"mine")
    os.close(writer)
    assert other.read_text() == "precious"
    assert log_tail(path, 100) == "mine"


def test_what_is_no_file_is_neither_read_nor_cut(tmp_path: Path) -> None:
    path = tmp_path / "log"
    assert log_tail(path, 100) == ""
    for make in (os.mkfifo, os.mkdir):
        make(path)
        bound_log(path, 0)
        assert log_tail(path, 100) == ""
        path.rename(tmp_path / make.__name__)


@pytest.mark.parametrize("obstacle", [os.mkfifo, lambda path: path.symlink_to("precious")])
def test_what_is_in_the_way_of_a_cut_is_not_written_to(
    tmp_path: Path, obstacle: Callable[[Path], None]
) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"x" * 100)
    (tmp_path / "precious").write_text("precious")
    obstacle(tmp_path / ".log.new")
    assert bound_log(path, 10)
    assert log_tail(path, 100) == "x" * 10
    assert (tmp_path / "precious").read_text() == "precious"


async def test_a_flood_is_kept_within_its_bound(
    start: Callable[[LaunchSpec], Any],
    make_spec: Callable[..., LaunchSpec],
    tcp_port: Port,
) -> None:
    body = f"""
os.write(1, b"x" * {LIMIT * 5})
while os.fstat(1).st_size:
    time.sleep(0.01)
os.write(1, b"\\xffend")
a = tcp({tcp_port.number})
rest()
"""
    # It is ready once its output has been cut. What is written during a cut is lost, and a cut
    # may begin in the midst of a write: the end is written afterwards.
    run = await start(make_spec(body, ports=(tcp_port,), log_limit=LIMIT))
    assert await run.log_tail(6) == "xx\N{REPLACEMENT CHARACTER}end"
    assert len(await run.log_tail(LIMIT * 9)) == LIMIT + len("?end")
    await run.stop()
