"""The lock of a state directory is a regular file, and nothing else is written to."""

import os
import socket
from contextlib import closing

import pytest

from gns3server.storage.state_lock import LOCK_FILE, check_lock, lock_state


def make_socket(path):
    with closing(socket.socket(socket.AF_UNIX)) as one:
        one.bind(str(path))


@pytest.mark.parametrize(
    "make",
    [os.mkdir, os.mkfifo, make_socket, lambda path: path.symlink_to("elsewhere")],
    ids=["directory", "pipe", "socket", "link"],
)
def test_what_is_no_regular_file_is_no_lock(tmp_path, monkeypatch, make):
    # The path of a socket must be short.
    monkeypatch.chdir(tmp_path)
    (tmp_path / "elsewhere").write_text("precious")
    make(tmp_path / LOCK_FILE if make is not make_socket else LOCK_FILE)
    for use in (lock_state, check_lock):
        with pytest.raises(OSError, match=r"."):
            use(tmp_path)
    assert (tmp_path / "elsewhere").read_text() == "precious"


def test_a_check_leaves_the_lock_with_its_holder(tmp_path):
    check_lock(tmp_path)
    assert not (tmp_path / LOCK_FILE).exists()
    lock = lock_state(tmp_path)
    try:
        said = (tmp_path / LOCK_FILE).read_text()
        check_lock(tmp_path)
        assert (tmp_path / LOCK_FILE).read_text() == said != ""
        assert os.get_inheritable(lock) is False
    finally:
        os.close(lock)
