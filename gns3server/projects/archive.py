"""A project as it was at one moment, to be read by whoever passes it on."""

from __future__ import annotations

import os
import stat
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from gns3server.errors import NotFound, quoted
from gns3server.files.safe_open import MISSING, OpenFile, open_beneath
from gns3server.places.snapshot_files import COPIED
from gns3server.projects.plain_records import plain
from gns3server.running.threads import SeparateThreads
from gns3server.storage.lab_tables import read_lab
from gns3server.storage.stores import PROJECT_FILE, PROJECT_MIGRATIONS

PIECE = 1024 * 1024
"""Bytes that are read at once."""


@dataclass(frozen=True, slots=True)
class ArchivedFile:
    """A file of an archive.

    :param path: relative to the project's directory, as ``os`` gives it.
    :param size: in bytes.
    :param mode: its permissions.
    :param modified: seconds since 1970.
    """

    path: str
    size: int
    mode: int
    modified: float


class Archive:
    """A project as it was at one moment: its records, and its files.

    Links, and what is no regular file, are not part of it.

    :param place: the directory of the snapshot that it is read from.
    :param threads: read the files.
    """

    def __init__(
        self,
        place: Path,
        records: Mapping[str, Any],
        files: tuple[ArchivedFile, ...],
        running: tuple[str, ...],
        threads: SeparateThreads,
    ) -> None:
        self._place = place
        self._threads = threads
        self.records = records
        """Its records as plain data: ``id`` and ``name`` of the project; ``values`` that plugins
        store, by plugin and key; ``nodes``, each with ``id``, ``type``, ``name``, ``console``,
        ``number``, ``properties``, ``layout``, ``values`` and ``wires``; ``links``, each with
        ``id``, ``ends``, ``suspended``, ``filters``, ``seed`` and ``values``."""
        self.files = files
        """Its files, in the order of their paths."""
        self.running = running
        """Ids of the nodes that ran: their files are as they were at that moment."""

    async def read(self, path: str) -> AsyncIterator[bytes]:
        """The content of a file, piece by piece.

        :raises gns3server.errors.NotFound: the archive has no such file.
        :raises OSError: it cannot be read.
        """
        opening = partial(open_beneath, self._place / COPIED, path)
        try:
            file = await self._threads.run(opening, dropped=OpenFile.close)
        except MISSING as error:
            raise NotFound(f"The archive has no file {quoted(path)}: see its files.") from error
        try:
            position = 0
            while piece := await self._threads.run(partial(file.read, position, PIECE)):
                position += len(piece)
                yield piece
        finally:
            file.close()


def look_into(place: Path) -> tuple[Mapping[str, Any], tuple[ArchivedFile, ...]]:
    """The records and files of a snapshot. Blocks.

    :raises gns3server.storage.file_check.DatabaseError: its records cannot be used.
    :raises OSError: its files cannot be listed.
    """
    lab = read_lab(place / PROJECT_FILE, PROJECT_MIGRATIONS)
    root, files = place / COPIED, []
    for parent, directories, names in os.walk(root):
        directories.sort()
        for name in sorted(names):
            file = os.path.join(parent, name)
            found = os.lstat(file)
            if stat.S_ISREG(found.st_mode):
                path, mode = os.path.relpath(file, root), stat.S_IMODE(found.st_mode)
                files.append(ArchivedFile(path, found.st_size, mode, found.st_mtime))
    return plain(lab.stored), tuple(files)
