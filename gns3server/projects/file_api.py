"""What plugins do with the files of a project."""

from __future__ import annotations

import asyncio
import os

from gns3server.errors import Conflict, Forbidden, StorageFailed, quoted
from gns3server.files import durable
from gns3server.files.reasons import DIRECTORY_REMEDY, remedy
from gns3server.files.safe_open import directory_beneath
from gns3server.nodes.limits import core_code
from gns3server.nodes.project_base import ProjectBase
from gns3server.projects.project_files import is_record, is_text

LARGEST_FILE = 16 * 1024 * 1024
"""How many bytes a file may have that is written in one go."""


class Files:
    """The files in a project's directory, but for the server's own records and marks."""

    def __init__(self, project: ProjectBase) -> None:
        self._project = project

    @core_code
    async def write(self, path: str, content: bytes) -> None:
        """Write a file, or replace it: after a crash there is the old or the new one.

        Directories on the way to it are made.

        :param path: relative to the project's directory.
        :raises gns3server.errors.Forbidden: it leaves the directory, is hidden at its top, or is
            one of the server's records.
        :raises gns3server.errors.Conflict: it is too long, or a directory or link is in its way.
        :raises gns3server.errors.StorageFailed: it could not be written.
        """
        if len(content) > LARGEST_FILE:
            raise Conflict(
                f"The file {quoted(path)} would have {len(content)} bytes, and nothing was "
                f"changed: give it at most {LARGEST_FILE}."
            )
        await asyncio.to_thread(self._write, plain_path(path), content)

    def _write(self, path: str, content: bytes) -> None:
        root = self._project.path
        target = root / path
        try:
            with directory_beneath(root, target.parent, make=True) as place:
                durable.stage(place, {target.name: content})
                durable.replace(place, {target.name: content})
                durable.sync_directory(place)
        except (IsADirectoryError, NotADirectoryError, FileExistsError) as error:
            raise Conflict(
                f"The file {quoted(path)} cannot be written: {error.strerror}. Choose another path."
            ) from error
        except OSError as error:
            raise StorageFailed(
                f"The file {quoted(path)} cannot be written: {error}. "
                f"{remedy(error, target, DIRECTORY_REMEDY)} Then try again."
            ) from error


def plain_path(path: str) -> str:
    """A path of a file that may be written, without detours.

    :raises Forbidden: it may not.
    """
    normal = os.path.normpath(path)
    if "\0" in path or normal.startswith(("/", ".")) or is_record(normal) or not is_text(normal):
        raise Forbidden(
            f"{quoted(path)} cannot be written: give the path of a file below the project's "
            "directory that is not hidden at its top, and none of the server's own."
        )
    return normal
