"""Directories of projects from before version 1.3, whose VMs had integer ids (contract 4.4).

All functions block: call them off the loop.
"""

from __future__ import annotations

import errno
import os
import shutil
import uuid
from dataclasses import dataclass
from pathlib import Path

from gns3server.errors import FilesFailed
from gns3server.files.reasons import DIRECTORY_REMEDY, remedy
from gns3server.files.safe_open import is_plain_name
from gns3server.places.paths import FILES_DIRECTORY, MOVING


@dataclass(frozen=True, slots=True, kw_only=True)
class LegacyNode:
    """A VM that a client knows by an integer, and where its files may be.

    :param location: parent directory of projects, where servers that were not
        local kept a directory per project name; ``None`` on a local server.
    :param pattern: of its directory, by ``id`` and ``name``; empty if its type had none.
    """

    project_path: Path
    project_name: str
    location: Path | None
    node_type: str
    pattern: str
    number: int
    name: str

    def sources(self) -> list[tuple[Path, Path]]:
        """What is moved, in order: from where to where, unless that is there already."""
        files = self.project_path / FILES_DIRECTORY
        kind = self.node_type
        moves = []
        if is_plain_name(self.project_name):
            moves.append((self.project_path / f"{self.project_name}-files", files))
            if self.location is not None:
                moves.append((self.location / self.project_name / kind, files / kind))
        return moves

    def directory(self) -> Path | None:
        """Where its own files are after that; ``None`` when its type never had such names."""
        if not self.pattern or not is_plain_name(self.name):
            return None
        path = self.pattern.format(id=self.number, name=self.name)
        return self.project_path / FILES_DIRECTORY / path


def convert(legacy: LegacyNode, new_directory: Path) -> None:
    """Move the files of a legacy VM to the directory of its new id; missing ones are skipped.

    :raises FilesFailed: something could not be moved.
    """
    try:
        for source, target in legacy.sources():
            move(source, target)
        own = legacy.directory()
        if own is not None:
            move(own, new_directory)
    except OSError as error:
        raise FilesFailed(
            f"The files of VM {legacy.name!r} could not be moved to their new place: {error}. "
            f"{remedy(error, new_directory, DIRECTORY_REMEDY)} Then try again."
        ) from error


def move(source: Path, target: Path) -> None:
    """Move a directory unless it is missing or the target is there."""
    if not source.is_dir() or source.is_symlink() or target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        source.rename(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        copy_across(source, target)


def copy_across(source: Path, target: Path) -> None:
    """Move a directory to another file system: all of it is copied before anything is removed."""
    copy = target.with_name(f"{MOVING}{uuid.uuid4().hex}")
    try:
        shutil.copytree(source, copy, symlinks=True)
        copy.rename(target)
        # Durable before the only other copy is removed.
        os.sync()
    except shutil.Error as error:
        raise OSError("; ".join(str(why) for _, _, why in error.args[0])) from error
    finally:
        shutil.rmtree(copy, ignore_errors=True)
    shutil.rmtree(source)
