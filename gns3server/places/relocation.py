"""Copying a project into a directory that need not be empty, or leaving no trace there.

All of it blocks: call it off the loop.
"""

from __future__ import annotations

import os
import shutil
import uuid
from pathlib import Path

from gns3server.errors import Conflict
from gns3server.files.durable import sync_directory, sync_file
from gns3server.files.private import DIRECTORY_MODE
from gns3server.places.paths import MOVING
from gns3server.storage.stores import PROJECT_FILE

REPLACED = "replaced"
"""The directory in which replaced files are kept while the move can still be undone."""


class Relocation:
    """The files of a project on their way into a directory.

    They are first copied into a hidden directory there. Only renames follow,
    each of which can be undone, until :meth:`finish`.
    """

    def __init__(self, target: Path) -> None:
        self._target = target
        self._room = target / f"{MOVING}{uuid.uuid4().hex}"
        self._replaced = self._room / REPLACED
        self._renamed: list[tuple[Path, Path]] = []
        self.copy = self._room / "copy"

    def receive(self, old: Path) -> None:
        """Copy all files of a project, links as links, except for its records; durably.

        :raises OSError: something cannot be copied.
        """

        def records(directory: str, names: list[str]) -> set[str]:
            top = Path(directory) == old
            return {name for name in names if top and name.startswith(PROJECT_FILE)}

        self._room.mkdir(DIRECTORY_MODE)
        try:
            shutil.copytree(old, self.copy, symlinks=True, ignore=records)
        except shutil.Error as error:
            raise OSError("; ".join(str(why) for _, _, why in error.args[0])) from error
        for directory, _, names in os.walk(self.copy):
            for name in names:
                path = Path(directory, name)
                if path.is_file() and not path.is_symlink():
                    sync_file(path)
            sync_directory(Path(directory))

    def keep_records(self, owner: str) -> None:
        """Move records that are already there aside, under the id of their project."""
        records = self._target / PROJECT_FILE
        self._rename(records, records.with_name(f"{PROJECT_FILE}.{owner}"))

    def take_away(self, name: str) -> None:
        """Take away a directory that is there, which :meth:`finish` then removes.

        :param name: of an entry of the target directory; nothing is done if it is no directory.
        :raises OSError: it cannot be taken away.
        """
        if _is_directory(self._target / name):
            self._rename(self._target / name, self._replaced / name)

    def put_in_place(self) -> None:
        """Put the copy in its place, durably; existing files of the same names are replaced.

        :raises Conflict: a directory is where a file belongs, or the other way round.
        :raises OSError: it cannot be put there.
        """
        self._merge(Path())
        for directory in {path.parent for renamed in self._renamed for path in renamed}:
            if self._room not in directory.parents:
                sync_directory(directory)

    def _merge(self, directory: Path) -> None:
        for entry in sorted((self.copy / directory).iterdir()):
            name = directory / entry.name
            target = self._target / name
            if os.path.lexists(target):
                if _is_directory(entry) != _is_directory(target):
                    raise Conflict(
                        f"{target} is in the way of a {_kind(entry)} of the same name: "
                        "rename it, or choose another path."
                    )
                if _is_directory(entry):
                    self._merge(name)
                    continue
                self._rename(target, self._replaced / name)
            self._rename(entry, target)

    def _rename(self, source: Path, target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        source.rename(target)
        self._renamed.append((source, target))

    def undo(self) -> None:
        """Undo everything, as if the project had never come.

        :raises OSError: something could not be undone.
        """
        while self._renamed:
            source, target = self._renamed.pop()
            target.rename(source)
        self.finish()

    def finish(self) -> None:
        """Remove what was needed only for undoing.

        :raises OSError: something could not be removed.
        """
        if self._room.is_dir():
            shutil.rmtree(self._room)


def _kind(path: Path) -> str:
    return "directory" if _is_directory(path) else "file"


def _is_directory(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()
