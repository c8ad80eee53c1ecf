"""Moving the directories of old projects."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from gns3server.places.legacy import move


@pytest.fixture
def old(tmp_path, monkeypatch):
    """A directory that cannot be renamed to another place, as if that had another disk."""
    path = tmp_path / "old"
    (path / "deep").mkdir(parents=True)
    (path / "deep" / "file").write_text("content")
    (path / "link").symlink_to("deep")
    rename = Path.rename

    def rename_on_one_disk(source, target):
        if source == path:
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        return rename(source, target)

    monkeypatch.setattr(Path, "rename", rename_on_one_disk)
    return path


def test_a_directory_is_moved_to_another_disk(old, tmp_path):
    target = tmp_path / "parent" / "new"
    move(old, target)
    assert not old.exists()
    assert (target / "deep" / "file").read_text() == "content"
    assert os.readlink(target / "link") == "deep"
    assert os.listdir(target.parent) == ["new"]


def test_what_cannot_be_copied_to_another_disk_stays_whole(old, tmp_path):
    os.mkfifo(old / "pipe")
    target = tmp_path / "parent" / "new"
    with pytest.raises(OSError, match="named pipe"):
        move(old, target)
    assert sorted(os.listdir(old)) == ["deep", "link", "pipe"]
    assert os.listdir(target.parent) == []
