"""Which directories a project may have, and what in them may be removed.

All functions block: call them off the loop.
"""

from __future__ import annotations

import contextlib
import logging
import os
import pwd
import shutil
import uuid
from collections.abc import Collection, Iterable
from itertools import islice
from pathlib import Path

from gns3server.errors import Conflict, FilesFailed, advice
from gns3server.files.durable import make_directory, sync_directory, sync_file
from gns3server.files.private import DIRECTORY_MODE, keep_private, opener
from gns3server.files.safe_open import MISSING, directory_beneath
from gns3server.storage.stores import PROJECT_FILE

log = logging.getLogger(__name__)

FILES_DIRECTORY = "project-files"
TEMPORARY_MARKER = ".gns3_temporary"
DATABASE_SUFFIXES = ("", "-wal", "-shm", "-journal")
"""What the names of a database's files end with (SQLite, "Temporary Files")."""

LONGEST = 4095
"""Bytes of a path, which Linux does not take longer (PATH_MAX, without the byte at its end)."""

DELETED = ".gns3_deleted-"
"""The start of the names of hidden directories that hold files to be removed."""

MOVING = ".gns3_moving-"
"""The start of the names of hidden directories through which files of a project are moved."""


def real_path(path: str, reserved: Iterable[Path], kept: Iterable[Path] = ()) -> Path:
    """The real path of a directory that a project may have.

    :param reserved: directories of the server; neither they nor their parents may be a project.
    :param kept: directories of the server that no project may be in either.
    :raises Conflict: relative, or a place that holds more than this project.
    """
    try:
        if len(os.fsencode(path)) > LONGEST:
            raise Conflict(
                f"The project path {path[:200]!r}... is longer than {LONGEST} bytes: choose a "
                "shorter one."
            )
        real = Path(os.path.realpath(path))
        homes = {Path(os.path.realpath(e.pw_dir)) for e in pwd.getpwall() if e.pw_dir}
    except (ValueError, UnicodeError, OSError) as error:
        raise Conflict(f"The project path {path!r} cannot be used: {error}.") from error
    if not os.path.isabs(path):
        raise Conflict(f"The project path {path!r} is relative: give an absolute path.")
    if real == Path("/") or any(real == home or real in home.parents for home in homes):
        raise Conflict(
            f"{real} is or holds a home directory and cannot be a project: name one below it."
        )
    for place in (Path(os.path.realpath(place)) for place in kept):
        if place in real.parents:
            raise Conflict(
                f"{real} is in {place}, a directory of the server, and cannot be a project: choose "
                "another directory."
            )
    for place in (Path(os.path.realpath(place)) for place in reserved):
        if real == place or real in place.parents:
            raise Conflict(
                f"{real} is or holds {place}, a directory of the server, and cannot be a project: "
                "choose another directory."
            )
    return real


def check_apart(path: Path, others: Iterable[Path]) -> None:
    """Refuse a directory that would share files with another project's.

    :raises Conflict: it equals, holds or lies within one of ``others``.
    """
    for other in others:
        if path == other or path in other.parents or other in path.parents:
            raise Conflict(
                f"{path} is, holds or lies within {other}, the directory of another project: "
                "choose another directory."
            )


def make_project_directory(path: Path) -> bool:
    """Make a project's directory if it is missing.

    :returns: whether all of it is ours: made now, or found empty but perhaps for an empty
        :data:`FILES_DIRECTORY`, which clients make beforehand.
    :raises FilesFailed: it cannot be made or is not a directory.
    """
    try:
        ours = not path.exists() or _is_empty(path)
        make_directory(path)
        if not os.access(path, os.W_OK | os.X_OK):
            raise PermissionError(f"{path} is not writable")
    except OSError as error:
        raise FilesFailed(
            f"The project directory {path} cannot be made or used: "
            + (advice(error) or f"{error}. Make it writable for the server's user")
            + ", or choose another path."
        ) from error
    return ours


def close_to_others(path: Path, whole: bool) -> None:
    """Keep other users out of what we have put into a project's directory.

    :param whole: the directory itself is ours as well.
    """
    keep_private(path / FILES_DIRECTORY)
    if whole:
        keep_private(path)


def _is_empty(path: Path) -> bool:
    """Whether nothing of anybody's is in a directory."""
    entries = list(islice(path.iterdir(), 2))
    files = path / FILES_DIRECTORY
    return not entries or (
        entries == [files]
        and files.is_dir()
        and not files.is_symlink()
        and not any(files.iterdir())
    )


def mark_temporary(path: Path, temporary: bool) -> None:
    """Write or remove the marker of a temporary project (PRJ-18, PRJ-19).

    :raises FilesFailed: that is not possible; no marker is left that was not there before.
    """
    marker = path / TEMPORARY_MARKER
    if marker.is_file() is temporary:
        return
    try:
        if temporary:
            with open(marker, "w", opener=opener) as file:
                file.write("1")
            sync_file(marker)
        else:
            marker.unlink(missing_ok=True)
        sync_directory(path)
    except OSError as error:
        # A marker left behind would make a later start remove the project.
        if temporary:
            with contextlib.suppress(OSError):
                marker.unlink(missing_ok=True)
        raise FilesFailed(
            f"The mark of a temporary project in {path} cannot be changed: "
            f"{advice(error) or f'{error}. Make the directory writable'}."
        ) from error


def temporary_leftovers(projects: Path, keep: Collection[Path]) -> list[Path]:
    """The directories of temporary projects that no server knows (SRV-04).

    :param keep: the real paths of the projects that this server knows.
    :raises OSError: the directory of projects cannot be read.
    """
    if not projects.is_dir():
        return []
    projects = Path(os.path.realpath(projects))
    return [
        path
        for path in projects.iterdir()
        if path not in keep and not path.is_symlink() and os.path.isfile(path / TEMPORARY_MARKER)
    ]


def aside_of(project_id: str, path: Path, whole: bool) -> Path:
    """Where the files of a project are while it is being deleted."""
    name = f"{DELETED}{uuid.UUID(project_id).hex}"
    return path.with_name(name) if whole else path / name


def set_aside(project_id: str, path: Path, whole: bool) -> Path | None:
    """Take a project's files out of the way in one step, before they are removed.

    :param whole: the whole directory is ours; otherwise only what we put into it is taken.
    :returns: where they are now, for :func:`bring_back` or :func:`discard`;
        ``None`` when there was nothing.
    :raises OSError: they cannot be moved; they are where they were, unless the error says
        otherwise.
    """
    if not path.is_dir():
        return None
    bring_back_interrupted(project_id, path, whole)
    aside = aside_of(project_id, path, whole)
    if aside.is_dir():
        # From an earlier project with this id, whose files could not be removed.
        discard(aside)
    try:
        if whole:
            path.rename(aside)
        else:
            aside.mkdir(DIRECTORY_MODE)
            _move(path, aside, _records(path))
        sync_directory(aside.parent)
    except OSError as error:
        try:
            if aside.is_dir():
                bring_back(path, aside, whole)
        except OSError as second:
            raise OSError(
                f"{error}. Files of it are in {aside} until the server is started again"
            ) from second
        raise
    return aside


def bring_back(path: Path, aside: Path | None, whole: bool) -> None:
    """Undo :func:`set_aside`."""
    if aside is None:
        return
    if whole:
        aside.rename(path)
        return
    _move(aside, path, reversed(_records(aside)))
    aside.rmdir()


def bring_back_interrupted(project_id: str, path: Path, whole: bool) -> bool:
    """Undo a :func:`set_aside` that a crash interrupted; returns whether there was one.

    The records tell where the project is: they are moved last in both directions, and what is
    left of a project whose removal was interrupted has them still.

    :raises OSError: its files cannot be moved.
    """
    aside = aside_of(project_id, path, whole)
    here = os.path.lexists(path / PROJECT_FILE)
    if aside.is_symlink() or here is os.path.lexists(aside / PROJECT_FILE):
        return False
    # A whole directory is moved in one step.
    if here and (whole or not aside.is_dir()):
        return False
    bring_back(path, aside, whole)
    sync_directory(aside.parent)
    return True


def _records(directory: Path) -> list[Path]:
    """The records in a directory, each before its log.

    They are moved away in this order, and back in the reverse: so a file that is in its place has
    its log beside it, whenever that is interrupted.
    """
    return sorted(directory.glob(f"{PROJECT_FILE}*"))


def _move(source: Path, target: Path, records: Iterable[Path]) -> None:
    """Move what we put into a project's directory, its records last."""
    for entry in [source / FILES_DIRECTORY, source / TEMPORARY_MARKER, *records]:
        if os.path.lexists(entry):
            entry.rename(target / entry.name)


def discard(aside: Path | None) -> None:
    """Remove for good what was set aside, its records last.

    :raises OSError: something could not be removed.
    """
    if aside is None:
        return
    if aside.is_symlink():
        # Not ours: a lab has brought it along.
        aside.unlink()
        return
    for entry in list(aside.iterdir()):
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
    shutil.rmtree(aside)


def remove_what_was_made(path: Path) -> None:
    """Remove the records and the marker of a new project whose creation failed."""
    for suffix in DATABASE_SUFFIXES:
        (path / f"{PROJECT_FILE}{suffix}").unlink(missing_ok=True)
    (path / TEMPORARY_MARKER).unlink(missing_ok=True)


def remove_if_empty(directories: Iterable[Path]) -> None:
    """Remove directories that have nothing in them, in this order."""
    for path in directories:
        with contextlib.suppress(OSError):
            path.rmdir()


def remove_what_we_put_there(path: Path) -> None:
    """Remove a project that is not on record: our files, and the directory if it is then empty.

    :raises OSError: something could not be removed.
    """
    if (path / FILES_DIRECTORY).is_dir() and not (path / FILES_DIRECTORY).is_symlink():
        shutil.rmtree(path / FILES_DIRECTORY)
    remove_what_was_made(path)
    remove_if_empty([path])


def remove_node_directory(project: Path, path: Path) -> None:
    """Remove the directory of a node; it need not exist. What is behind a link is not it.

    :param project: the directory of its project.
    :raises OSError: something could not be removed.
    """
    with contextlib.suppress(*MISSING), directory_beneath(project, path.parent) as parent:
        place = parent / path.name
        if place.is_symlink():
            place.unlink()
        elif place.is_dir():
            shutil.rmtree(place)
