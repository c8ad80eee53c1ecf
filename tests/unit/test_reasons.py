"""Why files cannot be written: each reason has its own remedy."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from gns3server.files.reasons import obstacle, remedy


def error(number: int, place: Path | None = None) -> OSError:
    name = None if place is None else str(place)
    return OSError(number, os.strerror(number), name)


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (errno.ENOSPC, "The disk is full: make room on it."),
        (errno.EDQUOT, "The disk quota is used up: make room."),
        (errno.EROFS, "The file system is read-only: make it writable again"),
        (errno.EIO, "The disk has failed: look at the kernel's log (dmesg)"),
        (errno.EMFILE, "ulimit -n"),
        (errno.EFBIG, "Put the right file in its place"),
        (errno.EINVAL, "Make it a regular file"),
    ],
)
def test_each_reason_has_its_own_remedy(number, text):
    assert text in remedy(error(number))


@pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM])
def test_a_file_of_another_user_is_to_be_given_to_the_servers(tmp_path, monkeypatch, number):
    """Permission denied is no full disk: make the file writable for this user (chown)."""
    (tmp_path / "file").touch()
    owner = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    text = remedy(error(number, tmp_path / "file"))
    assert text.startswith(f"{tmp_path}/file belongs to ")
    assert f" {tmp_path}/file)" in text
    assert "chown -R" not in text
    assert "(chown -R " in remedy(error(number, tmp_path))
    # Where a file cannot be made, it is its directory that is another's.
    assert f"{tmp_path} belongs to " in remedy(error(number, tmp_path / "new"))


def test_what_the_mode_does_not_forbid_is_not_blamed_on_it(tmp_path):
    (tmp_path / "file").touch(0o600)
    assert "see lsattr" in remedy(error(errno.EPERM, tmp_path / "file"))
    (tmp_path / "file").chmod(0o400)
    assert f"(chmod u+rwX {tmp_path}/file)" in remedy(error(errno.EACCES, tmp_path / "file"))


def test_nothing_is_in_the_way_of_what_is_in_order_or_missing(tmp_path):
    (tmp_path / "file").touch()
    assert obstacle(tmp_path, tmp_path / "file", tmp_path / "missing") is None
