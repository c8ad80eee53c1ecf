"""Which directories a project may have, and what in them may be removed.

All functions block: call them off the loop.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import pwd
import shutil
import uuid
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from gns3server.errors import Conflict, FilesFailed, advice, quoted
from gns3server.files.durable import make_directory, sync_directory, write_new
from gns3server.files.private import DIRECTORY_MODE, keep_private
from gns3server.files.reasons import DIRECTORY_REMEDY, obstacle, remedy
from gns3server.files.safe_open import MISSING, directory_beneath
from gns3server.storage.file_check import database_files, salvage
from gns3server.storage.stores import PROJECT_FILE

log = logging.getLogger(__name__)

FILES_DIRECTORY = "project-files"
TEMPORARY_MARKER = ".gns3_temporary"
MOST_SEARCHED = 256
"""Directories of no known project that are looked into for a project, at most."""

LONGEST = 4095
"""Bytes of a path, which Linux does not take longer (PATH_MAX, without the byte at its end)."""

DELETED = ".gns3_deleted-"
"""The start of the names of hidden directories that hold files to be removed."""

IMMOVABLE = (errno.EXDEV, errno.EBUSY)
"""How the kernel says that a directory cannot be renamed, whatever the user's rights are."""

MOVING = ".gns3_moving-"
"""The start of the names of hidden directories through which files of a project are moved."""

RESTORING = ".gns3_restoring-"
"""The start of the names of hidden directories through which files of a snapshot come back."""

SNAPSHOTS_DIRECTORY = ".gns3_snapshots"

OWN_DIRECTORIES = (FILES_DIRECTORY, SNAPSHOTS_DIRECTORY)
"""What of a project's directory is ours, whoever made that."""


def real_path(path: str, reserved: Iterable[Path], kept: Iterable[Path] = ()) -> Path:
    """The real path of a directory that a project may have.

    :param reserved: directories of the server; neither they nor their parents may be a project.
    :param kept: directories of the server that no project may be in either.
    :raises Conflict: relative, or a place that holds more than this project.
    """
    try:
        if len(os.fsencode(path)) > LONGEST:
            raise Conflict(
                f"The project path {quoted(path)} is longer than {LONGEST} bytes: choose a "
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
        if _holds(place, real.parent):
            raise Conflict(
                f"{real} is in {place}, a directory of the server, and cannot be a project: choose "
                "another directory."
            )
    for place in (Path(os.path.realpath(place)) for place in reserved):
        if _holds(real, place):
            raise Conflict(
                f"{real} is or holds {place}, a directory of the server, and cannot be a project: "
                "choose another directory."
            )
    return real


def _holds(directory: Path, path: Path) -> bool:
    """Whether a path is in a directory, or is it: by its name, or by another from a bind mount."""
    places = (path, *path.parents)
    if directory in places:
        return True
    with contextlib.suppress(OSError):
        wanted = os.stat(directory)
        there = filter(os.path.exists, places)
        return any(os.path.samestat(os.stat(place), wanted) for place in there)
    return False


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
        in_the_way = obstacle(path)
        if in_the_way is not None:
            raise in_the_way
    except OSError as error:
        raise FilesFailed(
            f"The project directory {path} cannot be made or used: "
            f"{advice(error) or _with_remedy(error, path)}, or choose another path."
        ) from error
    return ours


def _with_remedy(error: OSError, path: Path) -> str:
    return f"{error}. {remedy(error, path, DIRECTORY_REMEDY).removesuffix('.')}"


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
            write_new(marker, b"1", durable=True)
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
            f"{advice(error) or _with_remedy(error, path)}."
        ) from error


def find_project(projects: Path, project_id: str, taken: Collection[Path]) -> list[Path]:
    """The directories in which the records of a project are, by its id.

    :param projects: the directory that is searched, but for links and what is below.
    :param taken: directories of other projects, which are left alone.
    :returns: only the one that has the id as its name, if there is one.
    """
    found: list[Path] = []
    for place in islice(_project_directories(projects, project_id, taken), MOST_SEARCHED):
        if (project_id,) in salvage(place / PROJECT_FILE, "SELECT id FROM project"):
            found.append(place)
            if place.name == project_id:
                break
    return found


def copied_projects(projects: Path, taken: Collection[Path]) -> list[tuple[Path, str]]:
    """The directories that hold projects on no record, and the ids of these.

    :param projects: the directory that is searched, as by :func:`find_project`.
    :param taken: directories of known projects.
    """
    places = islice(_project_directories(projects, "", taken), MOST_SEARCHED)
    return [
        (place, owner)
        for place in places
        for (owner,) in salvage(place / PROJECT_FILE, "SELECT id FROM project")
        if isinstance(owner, str)
    ]


def _project_directories(projects: Path, first: str, taken: Collection[Path]) -> Iterator[Path]:
    """Directories with records, but for those that are taken: one of a certain name first."""
    real = Path(os.path.realpath(projects))

    def candidates() -> Iterator[str]:
        if first:
            yield first
        with contextlib.suppress(OSError):
            yield from sorted(name for name in os.listdir(real) if name != first)

    # Projects that are just being deleted or moved are in directories of ours.
    ours = (DELETED, MOVING)
    for place in map(real.joinpath, candidates()):
        records = place / PROJECT_FILE
        # What is behind a link is where its owner wants it. These functions, unlike those of Path,
        # take what may not be searched (lost+found) for something that has no records.
        linked = os.path.islink(place) or os.path.islink(records)
        busy = place in taken or place.name.startswith(ours)
        if not (busy or linked) and os.path.isfile(records):
            yield place


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


@dataclass(frozen=True, slots=True)
class Aside:
    """Files of a project that are out of the way, before they are removed.

    :param place: the directory that they are in now.
    :param path: the project's directory.
    :param whole: all of that directory is ours.
    """

    place: Path
    path: Path
    whole: bool

    @property
    def inside(self) -> bool:
        """Whether they are still in the project's directory, and some of them in their places."""
        return self.place.parent == self.path


def aside_of(project_id: str, path: Path, whole: bool) -> Path:
    """Where the files of a project are while it is being deleted, unless they cannot leave it."""
    name = f"{DELETED}{uuid.UUID(project_id).hex}"
    return path.with_name(name) if whole else path / name


def set_aside(project_id: str, path: Path, whole: bool) -> Aside | None:
    """Take a project's files out of the way, before they are removed.

    A directory that cannot be renamed, as it is a mount point or of another layer of an overlay,
    stays where it is: then it is enough that the records are out of the way.

    :param whole: the whole directory is ours; otherwise only what we put into it is taken.
    :returns: where they are now, for :func:`bring_back` or :func:`discard`;
        ``None`` when there was nothing.
    :raises OSError: they cannot be moved; they are where they were, unless the error says
        otherwise.
    """
    if not path.is_dir():
        return None
    bring_back_interrupted(project_id, path, whole)
    if whole:
        try:
            return _set_aside(Aside(aside_of(project_id, path, whole=True), path, whole))
        except OSError as error:
            if error.errno not in IMMOVABLE:
                raise
    return _set_aside(Aside(aside_of(project_id, path, whole=False), path, whole))


def _set_aside(aside: Aside) -> Aside:
    if aside.place.is_dir():
        # From an earlier project with this id, whose files could not be removed.
        _remove_aside(aside.place)
    try:
        if aside.inside:
            aside.place.mkdir(DIRECTORY_MODE)
            _move(aside.path, aside.place, _records(aside.path))
        else:
            aside.path.rename(aside.place)
        sync_directory(aside.place.parent)
    except OSError as error:
        try:
            if aside.place.is_dir():
                bring_back(aside)
        except OSError as second:
            raise OSError(
                f"{error}. Files of it are in {aside.place} until the server is started again"
            ) from second
        raise
    return aside


def bring_back(aside: Aside | None) -> None:
    """Undo :func:`set_aside`."""
    if aside is None:
        return
    if aside.inside:
        _move(aside.place, aside.path, reversed(_records(aside.place)))
        aside.place.rmdir()
    else:
        aside.place.rename(aside.path)


def bring_back_interrupted(project_id: str, path: Path, whole: bool) -> bool:
    """Undo a :func:`set_aside` that a crash interrupted; returns whether there was one.

    The records tell where the project is: they are moved last in both directions, and what is
    left of a project whose removal was interrupted has them still.

    :raises OSError: its files cannot be moved.
    """
    for beside in (True, False) if whole else (False,):
        aside = Aside(aside_of(project_id, path, beside), path, whole)
        here = os.path.lexists(path / PROJECT_FILE)
        if os.path.islink(aside.place) or here is os.path.lexists(aside.place / PROJECT_FILE):
            continue
        # A whole directory is moved in one step.
        if here and (beside or not os.path.isdir(aside.place)):
            continue
        bring_back(aside)
        sync_directory(aside.place.parent)
        return True
    return False


def _records(directory: Path) -> list[Path]:
    """The records in a directory, each before its log.

    They are moved away in this order, and back in the reverse: so a file that is in its place has
    its log beside it, whenever that is interrupted.
    """
    return sorted(directory.glob(f"{PROJECT_FILE}*"))


def _move(source: Path, target: Path, records: Iterable[Path]) -> None:
    """Move what we put into a project's directory, its records last."""
    for name in OWN_DIRECTORIES:
        if os.path.lexists(source / name):
            try:
                (source / name).rename(target / name)
            except OSError as error:
                if error.errno not in IMMOVABLE:
                    raise
    for entry in [source / TEMPORARY_MARKER, *records]:
        if os.path.lexists(entry):
            entry.rename(target / entry.name)


def discard(aside: Aside | None) -> None:
    """Remove for good what was set aside, and what of it had to stay in its place.

    :raises OSError: something could not be removed.
    """
    if aside is None:
        return
    if not aside.inside:
        _remove_aside(aside.place)
        return
    own = [aside.path / name for name in OWN_DIRECTORIES]
    left = list(aside.path.iterdir()) if aside.whole else own
    for entry in left:
        if entry != aside.place:
            _remove(entry)
    # Last, so that what is left is known for what it is.
    _remove_aside(aside.place)
    if aside.whole:
        remove_if_empty([aside.path])


def _remove_aside(place: Path) -> None:
    """Remove a directory of files that were set aside, the records last."""
    if place.is_symlink():
        # Not ours: a lab has brought it along.
        place.unlink()
        return
    for entry in list(place.iterdir()):
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
    shutil.rmtree(place)


def _remove(place: Path) -> None:
    """Remove whatever there is, but nothing behind a link."""
    if not place.is_dir() or place.is_symlink():
        place.unlink(missing_ok=True)
        return
    try:
        shutil.rmtree(place)
    except OSError as error:
        # A mount point stays, empty.
        if error.errno != errno.EBUSY or not place.is_mount():
            raise


def remove_what_was_made(path: Path) -> None:
    """Remove the records and the marker of a new project whose creation failed."""
    for file in (*database_files(path / PROJECT_FILE), path / TEMPORARY_MARKER):
        file.unlink(missing_ok=True)


def remove_if_empty(directories: Iterable[Path]) -> None:
    """Remove directories that have nothing in them, in this order."""
    for path in directories:
        with contextlib.suppress(OSError):
            path.rmdir()


def remove_what_we_put_there(path: Path) -> None:
    """Remove a project that is not on record: our files, and the directory if it is then empty.

    :raises OSError: something could not be removed.
    """
    for place in (path / name for name in OWN_DIRECTORIES):
        if place.is_dir() and not place.is_symlink():
            shutil.rmtree(place)
    remove_what_was_made(path)
    remove_if_empty([path])


def remove_beneath(project: Path, path: Path) -> None:
    """Remove a directory of ours in a project; it need not exist. What is behind a link is not it.

    :param project: the directory of the project.
    :param path: of a node or a snapshot, for instance.
    :raises OSError: something could not be removed.
    """
    with contextlib.suppress(*MISSING), directory_beneath(project, path.parent) as parent:
        place = parent / path.name
        if place.is_symlink():
            place.unlink()
        elif place.is_dir():
            shutil.rmtree(place)
