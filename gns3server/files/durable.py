"""Replacing small files so that a crash leaves the old or the new content, never half of one.

All functions block: call them off the loop.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Mapping
from pathlib import Path

from gns3server.files.private import make_directories, open_private

STAGED_SUFFIX = ".new"


def sync_directory(path: Path) -> None:
    """Make the entries of a directory durable."""
    sync_file(path)


def sync_file(path: Path) -> None:
    """Make a file's content durable."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_tree(path: Path, stopped: Callable[[], bool] = lambda: False) -> None:
    """Make all files and directories in a directory durable.

    :param stopped: asked from time to time whether to leave it.
    :raises OSError: as the file system says.
    """
    for parent, _, names in os.walk(path):
        for name in names:
            file = Path(parent, name)
            if stopped():
                return
            if file.is_file() and not file.is_symlink():
                sync_file(file)
        sync_directory(Path(parent))


def make_directory(path: Path) -> None:
    """Make a directory and its missing parents, durably, for this user alone."""
    for made in make_directories(path):
        sync_directory(made.parent)


def write_new(path: Path, content: bytes, *, durable: bool = False) -> None:
    """Write a new file. Whatever has its name, even a link or a pipe, is removed and not opened.

    :param durable: its content survives a loss of power, once its directory is synced as well.
    :raises OSError: as the file system says.
    """
    path.unlink(missing_ok=True)
    with open(path, "xb", opener=open_private) as stream:
        stream.write(content)
        if durable:
            stream.flush()
            os.fsync(stream.fileno())


def stage(directory: Path, files: Mapping[str, bytes]) -> None:
    """Write the new content beside each file, durably; :func:`replace` puts it in place.

    :raises OSError: as the file system says; nothing is in place then.
    """
    make_directory(directory)
    for name, content in files.items():
        if (directory / name).is_dir():
            raise IsADirectoryError(errno.EISDIR, "it is a directory", str(directory / name))
        write_new(directory / (name + STAGED_SUFFIX), content, durable=True)


def replace(directory: Path, files: Mapping[str, bytes]) -> None:
    """Put staged files in place; durable once the directory is synced."""
    for name in files:
        os.replace(directory / (name + STAGED_SUFFIX), directory / name)
