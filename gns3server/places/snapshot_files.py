"""The files of snapshots: copied from a project, kept in it, and brought back.

All of it blocks: call it off the loop.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from gns3server.files.copying import TreeCopy
from gns3server.files.durable import sync_directory
from gns3server.files.private import DIRECTORY_MODE
from gns3server.files.safe_open import directory_beneath
from gns3server.places.paths import FILES_DIRECTORY, RESTORING, SNAPSHOTS_DIRECTORY
from gns3server.storage.stores import PROJECT_FILE

COPIED = "files"
"""The directory, in a snapshot's, that holds the copies."""

NEW, OLD = "new", "old"
"""The directories, in a restoration's, of what comes and of what it replaces."""

OURS = (".gns3_", PROJECT_FILE)
"""How the names of the server's own files and directories begin, in a project's directory."""

ROOM = re.compile(f"{re.escape(RESTORING)}[0-9a-f]{{32}}")


def place_of(project: Path, snapshot_id: str) -> Path:
    """The directory of a snapshot."""
    return project / SNAPSHOTS_DIRECTORY / snapshot_id


def take(project: Path, snapshot_id: str, *, whole: bool, stopped: Callable[[], bool]) -> int:
    """Copy the files of a project into a snapshot; returns how many bytes.

    :param whole: the project's directory is ours; otherwise only what we put there is copied.
    :raises gns3server.files.copying.GivenUp: it was stopped.
    :raises OSError: something cannot be copied.
    """
    place = place_of(project, snapshot_id)
    with directory_beneath(project, place, make=True) as directory:
        return copy_files(project, directory / COPIED, whole=whole, stopped=stopped)


def prepare_snapshot(project: Path, snapshot_id: str) -> None:
    """Make the directory of a snapshot, for files that come from elsewhere.

    :raises OSError: it cannot be made.
    """
    with directory_beneath(project, place_of(project, snapshot_id), make=True) as directory:
        (directory / COPIED / FILES_DIRECTORY).mkdir(DIRECTORY_MODE, parents=True)


def size_of(directory: Path) -> int:
    """How many bytes the files below a directory have.

    :raises OSError: something cannot be looked at.
    """
    return sum(
        os.lstat(os.path.join(parent, name)).st_size
        for parent, _, names in os.walk(directory)
        for name in names
    )


def receive(
    project: Path, room: str, snapshot_id: str, *, whole: bool, stopped: Callable[[], bool]
) -> None:
    """Copy the files of a snapshot into a directory from which they can be put in place.

    :raises gns3server.files.copying.GivenUp: it was stopped.
    :raises OSError: something cannot be copied.
    """
    with (
        directory_beneath(project, place_of(project, snapshot_id) / COPIED) as source,
        directory_beneath(project, project / room, make=True) as target,
    ):
        copy_files(source, target / NEW, whole=whole, stopped=stopped)
        (target / OLD).mkdir(DIRECTORY_MODE)
        sync_directory(target)


def copy_files(source: Path, target: Path, *, whole: bool, stopped: Callable[[], bool]) -> int:
    """Copy the files of a project, except for the server's own; returns how many bytes.

    :param target: nothing but a directory may be there.
    :param whole: the project's directory is ours; otherwise only what we put there is copied.
    :raises gns3server.files.copying.GivenUp: it was stopped.
    :raises OSError: something cannot be copied.
    """

    def wanted(name: str) -> bool:
        return name == FILES_DIRECTORY or (whole and not name.startswith(OURS))

    copy = TreeCopy(stopped)
    copy.copy(source, target, wanted)
    # So that bringing it back means something, whatever there is then.
    (target / FILES_DIRECTORY).mkdir(DIRECTORY_MODE, exist_ok=True)
    sync_directory(target)
    sync_directory(target.parent)
    return copy.size


def put_in_place(project: Path, room: str) -> None:
    """Put received files in the place of those of the same names at the top; durably.

    After a crash it can be called again.

    :raises OSError: something cannot be put there.
    """
    new, old = project / room / NEW, project / room / OLD
    with suppress(FileNotFoundError):
        for name in sorted(os.listdir(new)):
            if os.path.lexists(project / name) and not os.path.lexists(old / name):
                (project / name).rename(old / name)
            (new / name).rename(project / name)
        sync_directory(project)


def remove_room(project: Path, room: str) -> None:
    """Remove the directory of a restoration.

    :raises OSError: something could not be removed.
    """
    place = project / room
    if ROOM.fullmatch(room) and place.is_dir() and not place.is_symlink():
        shutil.rmtree(place)
