"""The captures of a project's links: which there are, and their files."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import stat
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

from gns3server.errors import Conflict, FilesFailed
from gns3server.files.reasons import DIRECTORY_REMEDY, remedy
from gns3server.files.safe_open import directory_beneath
from gns3server.links.link import CaptureView
from gns3server.nodes.project_base import ProjectBase
from gns3server.storage.link_rows import CaptureRow

log = logging.getLogger(__name__)

DIRECTORY = "captures"
"""The directory of captures, in the project's."""

SUFFIX = ".pcap"

SNAPSHOT_LENGTH = 262144
"""How many bytes of a frame are kept by default, and the most that can be."""

LEAST_BYTES = 4096
"""The smallest bound of a capture's file."""


def file_name(name: str) -> str:
    """The name of a capture's file, which ends as such files do."""
    return name if name.endswith(SUFFIX) else name + SUFFIX


class Captures:
    """The captures that are under way, by link."""

    def __init__(self, project: ProjectBase) -> None:
        self._project = project
        self._rows: dict[str, CaptureRow] = {}

    def __contains__(self, link_id: object) -> bool:
        return link_id in self._rows

    def restore(self, rows: Mapping[str, CaptureRow]) -> None:
        """Take in what was read from disk."""
        self._rows = dict(rows)

    def view(self, link_id: str) -> CaptureView | None:
        """The capture of a link, as clients see it."""
        row = self._rows.get(link_id)
        return None if row is None else view_of(row)

    def wanted(self, link_id: str) -> Mapping[str, Any] | None:
        """The capture of a link, as the link panel is told of it."""
        row = self._rows.get(link_id)
        if row is None:
            return None
        return {
            "path": str(self._directory / row.file),
            "beneath": str(self._project.path),
            "snapshot_length": row.snapshot_length,
            "max_bytes": row.max_bytes,
        }

    def set(self, link_id: str, row: CaptureRow | None) -> None:
        """Note that a link is captured, or no longer."""
        if row is None:
            self._rows.pop(link_id, None)
        else:
            self._rows[link_id] = row

    async def make_room(self, name: str | None, *, names: str, overwrite: bool) -> str:
        """Make sure that a new capture can be written, and return the name of its file.

        :param name: a plain name; by default one that no file has.
        :param names: what is captured, for the default name.
        :param overwrite: set the file of that name aside, until :meth:`settle` is called.
        :raises Conflict: there is such a file already, or another capture writes it.
        :raises FilesFailed: the directory for captures cannot be used.
        """
        taken = {row.file for row in self._rows.values()}
        directory = self._directory
        try:
            return await asyncio.to_thread(
                partial(_make_room, names=names, taken=taken, overwrite=overwrite),
                self._project.path,
                directory,
                name,
            )
        except OSError as error:
            raise FilesFailed(
                f"Nothing can be captured into {directory}: {error.strerror or error}. "
                f"{remedy(error, directory, DIRECTORY_REMEDY)} Then try again."
            ) from error

    async def settle(self, file: str, *, made: bool) -> None:
        """Deal with a file that was set aside for a capture, if there is one.

        :param made: whether the capture has begun: the former file is removed then, and is put
            back if not.
        """
        work = partial(_settle, self._project.path, self._directory, file, made=made)
        try:
            await asyncio.to_thread(work)
        except OSError as error:
            log.warning("%s was left as %s: %s", file, _aside(file), error)

    @property
    def _directory(self) -> Path:
        return self._project.path / DIRECTORY


def view_of(row: CaptureRow) -> CaptureView:
    """A capture as clients see it."""
    return CaptureView(
        file=f"{DIRECTORY}/{row.file}",
        snapshot_length=row.snapshot_length,
        max_bytes=row.max_bytes,
    )


def _make_room(
    root: Path, directory: Path, name: str | None, *, names: str, taken: set[str], overwrite: bool
) -> str:
    """See :meth:`Captures.make_room`. Blocks."""
    with directory_beneath(root, directory, make=True) as place:
        there = set(os.listdir(place))
        if name is None:
            plain = re.sub(r"[^\w-]+", "_", names, flags=re.ASCII)[:80]
            numbered = (plain if n == 1 else f"{plain}-{n}" for n in count(1))
            return next(file for file in map(file_name, numbered) if file not in there | taken)
        file = file_name(name)
        if file in taken:
            raise Conflict(
                f"Another link of this project is captured into {DIRECTORY}/{file}: choose "
                "another name."
            )
        if file in there:
            if not overwrite:
                raise Conflict(
                    f"{DIRECTORY}/{file} is there already, and nothing was changed: choose another "
                    "name, or ask for it to be overwritten."
                )
            if stat.S_ISDIR((place / file).lstat().st_mode):
                raise Conflict(
                    f"{DIRECTORY}/{file} is a directory, and is not overwritten: choose another "
                    "name."
                )
            (place / file).replace(place / _aside(file))
        return file


def _settle(root: Path, directory: Path, file: str, *, made: bool) -> None:
    """See :meth:`Captures.settle`. Blocks."""
    with directory_beneath(root, directory) as place, suppress(FileNotFoundError):
        if made:
            (place / _aside(file)).unlink()
        else:
            (place / _aside(file)).replace(place / file)


def _aside(file: str) -> str:
    """The name of a file that is about to be overwritten; that of no capture begins so."""
    return f".{file}.former"
