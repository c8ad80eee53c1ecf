"""Files that a server has left behind, or that are where only the server's own should be.

Only what a server certainly made for temporary use, and nobody needs, is removed. Anything
else is reported.
"""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gns3server.cli.doctor.report import Finding, Section
from gns3server.cli.doctor.survey import KnownProject, Survey
from gns3server.files.uploads import remains
from gns3server.places.paths import (
    DELETED,
    FILES_DIRECTORY,
    MOVING,
    RESTORING,
    SNAPSHOTS_DIRECTORY,
    TEMPORARY_MARKER,
)
from gns3server.places.relocation import REPLACED
from gns3server.projects.damaged import owners_of
from gns3server.running import runtime
from gns3server.storage.file_check import DATABASE_SUFFIXES, lock_holder
from gns3server.storage.migrations import PART_SUFFIX
from gns3server.storage.rows import StoredProject
from gns3server.storage.state_lock import LOCK_FILE
from gns3server.storage.stores import PROJECT_FILE, SERVER_FILE

ROOM = re.compile(f"(?:{'|'.join(map(re.escape, (MOVING, DELETED, RESTORING)))})[0-9a-f]{{32}}")
OLD_VERSION = re.compile(r".*\.v[0-9]+(-[0-9]+)?")


@dataclass(frozen=True, slots=True)
class Leftover:
    """A file or directory that is left over.

    :param what: what it is, and what to do about it.
    :param removable: whether it may be removed while no server runs.
    :param problem: whether it counts as a problem.
    """

    path: Path
    what: str
    removable: bool = False
    problem: bool = False


def leftovers(survey: Survey) -> Section:
    """What :func:`find_leftovers` finds."""
    hint = "--clean removes it."
    if survey.server is not None:
        hint = "The running server may be at work on it; if it remains, --clean removes it later."
    return Section(
        "Files left over",
        [
            Finding(
                str(found.path),
                problem=found.problem or found.removable,
                advice=f"{found.what} {hint}" if found.removable else found.what,
            )
            for found in find_leftovers(survey)
        ],
    )


def find_leftovers(survey: Survey) -> Iterator[Leftover]:
    """All files left over; what cannot be read is left out."""
    for project in survey.projects:
        yield from _in_project(survey, project)
    location = Path(os.path.realpath(survey.settings.projects_path))
    for parent in sorted({location, *(project.path.parent for project in survey.projects)}):
        for path in _rooms(parent, DELETED):
            yield _deleted(survey, path)
    yield from _unknown_projects(survey, location)
    yield from _uploads(survey.settings.images_path)
    yield from _in_state(survey.settings.state_path)


def _entries(directory: Path) -> list[Path]:
    try:
        return sorted(directory.iterdir())
    except OSError:
        return []


def _rooms(directory: Path, prefix: str) -> Iterator[Path]:
    for path in _entries(directory):
        is_room = path.name.startswith(prefix) and ROOM.fullmatch(path.name)
        if is_room and path.is_dir() and not path.is_symlink():
            yield path


# Projects ---------------------------------------------------------------------------


def _in_project(survey: Survey, project: KnownProject) -> Iterator[Leftover]:
    if project.is_in_foreign_hands:
        return
    for path in _rooms(project.path, DELETED):
        yield _deleted(survey, path)
    for path in _rooms(project.path, MOVING):
        yield _moved(path)
    for path in _entries(project.path):
        if path.name.startswith(PROJECT_FILE):
            yield from _beside(path, PROJECT_FILE)
    if project.stored is not None:
        yield from _of_snapshots(project.path, project.stored)
        nodes = {(node.type, node.id) for node in project.stored.nodes}
        removed = set(project.stored.removed_nodes)
        for path in _node_directories(project.path):
            node = (path.parent.name, path.name)
            if node in removed:
                yield Leftover(path, "Left by a deleted node: a commit of the project removes it.")
            elif node not in nodes:
                yield Leftover(path, "It belongs to no node of the project: look at what is in it.")


def _of_snapshots(project: Path, stored: StoredProject) -> Iterator[Leftover]:
    """What of snapshots and restorations the next opening removes, and what is on no record."""
    begun = {row.room for row in stored.restorations}
    for path in _rooms(project, RESTORING):
        what = "It belongs to no restoration of a snapshot: look at what is in it."
        if path.name in begun:
            what = "A restoration of a snapshot was not finished: the next opening does that."
        yield Leftover(path, what)
    states = {row.id: row.state for row in stored.snapshots}
    for path in _entries(project / SNAPSHOTS_DIRECTORY):
        if path.name not in states:
            yield Leftover(path, "It is no snapshot of the project: look at what is in it.")
        elif states[path.name] != "whole":
            yield Leftover(path, "A snapshot that is none: the next opening removes it.")


def _node_directories(project: Path) -> Iterator[Path]:
    for kind in _entries(project / FILES_DIRECTORY):
        if kind.is_dir() and not kind.is_symlink():
            yield from (path for path in _entries(kind) if _is_id(path.name) and path.is_dir())


def _is_id(text: str) -> bool:
    try:
        return str(uuid.UUID(text)) == text.lower()
    except ValueError:
        return False


def _deleted(survey: Survey, room: Path) -> Leftover:
    """The files of a project that was being deleted."""
    file = room / PROJECT_FILE
    if _is_locked(file):
        return Leftover(room, "A server is deleting this project just now.")
    owners = owners_of(file)
    for project in survey.projects:
        if project.place.id in owners:
            what = (
                f"Files of project {project.place.id}, whose deletion was not finished. The next "
                f"start of the server puts them back into {project.path}, if nothing is there."
            )
            return Leftover(room, what, problem=True)
    if os.path.exists(file) and not owners:
        what = "Files of a project that is no longer known: look at what is in it, and remove it."
        return Leftover(room, what, problem=True)
    return Leftover(room, "Files of a project that was deleted.", removable=True)


def _moved(room: Path) -> Leftover:
    """The files of a project on their way into this directory."""
    if any(files for _, _, files in os.walk(room / REPLACED)):
        what = (
            f"A move of a project was not finished. {REPLACED} has files that were here before "
            "under the same names: put back what you miss, then remove it."
        )
        return Leftover(room, what, problem=True)
    what = "A move of a project was not finished; its files are where they were."
    return Leftover(room, what, removable=True)


def _is_locked(file: Path) -> bool:
    try:
        return lock_holder(file) is not None
    except OSError:
        return False


def _beside(path: Path, name: str) -> Iterator[Leftover]:
    """The files beside a database whose names begin with the database's own."""
    rest = path.name.removeprefix(name)
    if rest in DATABASE_SUFFIXES:
        return
    if path.name.endswith(PART_SUFFIX):
        yield Leftover(path, "A copy of a database that was not finished.", removable=True)
    elif OLD_VERSION.fullmatch(path.name):
        what = "The file of an earlier version: needed only to go back to that server."
        yield Leftover(path, what)
    elif _is_id(rest.removeprefix(".")):
        yield Leftover(
            path, f"The records of project {rest[1:]}, from which this directory was copied."
        )
    else:
        yield Leftover(path, "No server has made it.")


def _unknown_projects(survey: Survey, location: Path) -> Iterator[Leftover]:
    known = {project.path for project in survey.projects}
    known |= {parent for path in known for parent in path.parents}
    for path in _entries(location):
        if path in known or not path.is_dir() or ROOM.fullmatch(path.name):
            continue
        if path in survey.arrivals:
            what = (
                "A project that was not completely copied or imported: the next start removes it."
            )
            if survey.server is not None:
                what = "A project that the running server copies or imports just now."
            yield Leftover(path, what)
            continue
        if os.path.isfile(path / TEMPORARY_MARKER):
            yield Leftover(path, "A temporary project without a record: the next start removes it.")
            continue
        owners = owners_of(path / PROJECT_FILE)
        what = "No project on record has this directory."
        yield Leftover(path, " ".join([what, *(_copied(survey, owner) for owner in owners)]))
        for room in _rooms(path, MOVING):
            yield Leftover(room, "A move to this directory was not finished.")


def _copied(survey: Survey, project_id: str) -> str:
    """What to do with a directory that holds a project which is not on record there."""
    known = next((p.path for p in survey.projects if p.place.id == project_id), None)
    if known is None:
        return (
            f"It holds project {project_id}: to take that in, open it by its id "
            f"(POST /v1/projects/{project_id}/open)."
        )
    if os.path.lexists(known):
        return (
            f"It holds a copy of project {project_id}, which is in {known}: to use the copy "
            "instead, close the project and move that directory away, then open it by its id."
        )
    return f"It holds project {project_id}, which was in {known}: open it by its id."


# Other directories --------------------------------------------------------------------


def _uploads(images: Path) -> Iterator[Leftover]:
    for directory, _, _ in os.walk(images):
        for path in remains(Path(directory)):
            yield Leftover(path, "An upload that was not finished.", removable=True)


def _in_state(state: Path) -> Iterator[Leftover]:
    for path in _entries(state):
        if path.name.startswith(SERVER_FILE):
            yield from _beside(path, SERVER_FILE)
        elif path.name not in (LOCK_FILE, runtime.NAME):
            yield Leftover(path, "No server has made it.")
