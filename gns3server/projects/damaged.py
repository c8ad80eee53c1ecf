"""Projects that cannot be opened: kept as they are, reported, deleted on request.

What runs in a damaged project goes on running. It is still on record, if only
in a file that cannot be read, and found by the run id that every process of a
node has in its environment.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gns3server.errors import Conflict, LabError, NotFound, advice_sentence
from gns3server.places.index import ProjectIndex
from gns3server.running.machine import Machine
from gns3server.running.spec import LaunchSpec
from gns3server.storage.file_check import DatabaseError, DatabaseLocked, lock_holder, salvage
from gns3server.storage.rows import ProjectPlace
from gns3server.storage.stores import PROJECT_FILE

log = logging.getLogger(__name__)

AGAIN = "Then open the project again by its id, or delete it."


@dataclass(frozen=True, slots=True)
class Damage:
    """A project that cannot be opened.

    :param reason: why not.
    :param remedy: sentences that say what to do about it.
    """

    place: ProjectPlace
    reason: str
    remedy: str

    @property
    def id(self) -> str:
        """The project's id."""
        return self.place.id

    @property
    def path(self) -> str:
        """The project's directory, as it was given."""
        return self.place.given


class DamagedProjects:
    """The projects that could not be opened, by id, in the order in which that was found."""

    def __init__(self) -> None:
        self._damages: dict[str, Damage] = {}

    def __contains__(self, project_id: str) -> bool:
        return project_id in self._damages

    def __iter__(self) -> Iterator[Damage]:
        return iter(list(self._damages.values()))

    def check(self, project_id: str) -> None:
        """Refuse a project that is damaged.

        :raises Conflict: it is damaged; the message says what to do about it.
        """
        damage = self._damages.get(project_id)
        if damage is not None:
            raise Conflict(f"Project {project_id} is damaged: {damage.reason}. {damage.remedy}")

    def note(self, place: ProjectPlace, error: Exception) -> None:
        """Note why a project could not be opened."""
        if isinstance(error, DatabaseError):
            reason, remedy = error.reason, error.remedy
        elif isinstance(error, LabError):
            reason, remedy = error.message.removesuffix("."), ""
        elif isinstance(error, OSError):
            where = f"{error.filename}: " if error.filename else ""
            reason, remedy = f"{where}{error.strerror or error}", advice_sentence(error)
        else:
            log.error("project %s in %s", place.id, place.path, exc_info=error)
            reason = "the server failed to open it"
            remedy = "Look at the server's log, and please report it."
        remedy = f"{remedy} {AGAIN}".lstrip()
        log.error("project %s in %s stays closed: %s. %s", place.id, place.path, reason, remedy)
        self._damages[place.id] = Damage(place, reason, remedy)

    def forget(self, project_id: str) -> None:
        """Forget a damage: the project is open, or deleted."""
        self._damages.pop(project_id, None)

    async def delete(self, project_id: str, places: ProjectIndex, machine: Machine) -> None:
        """Stop what runs in a damaged project, and remove its files.

        Files that belong to another project by now stay.

        :raises NotFound: it is not damaged any longer.
        :raises DatabaseError: another process has its file.
        :raises FilesFailed: the files cannot be removed.
        """
        damage = self._damages.get(project_id)
        if damage is None:
            raise NotFound(f"Project {project_id} was opened or deleted meanwhile.")

        async def forget() -> None:
            self.forget(project_id)

        if await _end_runs(machine, damage.place):
            await places.delete(damage.place, forget)
        else:
            await places.remove(project_id)
            await forget()


async def _end_runs(machine: Machine, place: ProjectPlace) -> bool:
    """Stop what runs in a damaged project before it is deleted.

    These are the runs that its file names, if it can be read, and every process of a
    node that works in its directory.

    :returns: whether the files in its directory are its own, as far as that can be told.
    :raises DatabaseError: another process has the file, and perhaps runs the lab.
    """
    run_ids, foreign = await asyncio.to_thread(_find_runs, place)
    if foreign:
        return False
    run_ids |= await machine.runs_in(place.path)
    if run_ids:
        log.info("project %s: what still runs in it is stopped", place.id)
        await machine.sweep(run_ids)
    return True


def _find_runs(place: ProjectPlace) -> tuple[set[str], bool]:
    file = place.path / PROJECT_FILE
    try:
        holder = lock_holder(file)
    except OSError:
        holder = None
    if holder is not None:
        raise DatabaseLocked(file, holder)
    owners = owners_of(file)
    return runs_of(file, place.path), bool(owners) and place.id not in owners


def owners_of(file: Path) -> set[str]:
    """The ids of the projects whose records a file holds, one at most if it is sound. Blocks."""
    return {str(row[0]) for row in salvage(file, "SELECT id FROM project")}


def runs_of(file: Path, directory: Path) -> set[str]:
    """The ids of the runs in a directory that a file names, as far as it can be read. Blocks.

    A copy of a project names the runs of the first one, which work elsewhere.
    """
    found = salvage(file, "SELECT id, spec FROM run")
    if not found:
        found = [(run_id, "") for (run_id,) in salvage(file, "SELECT id FROM run")]
    return {str(run_id) for run_id, spec in found if not _works_elsewhere(spec, directory)}


def _works_elsewhere(spec: Any, directory: Path) -> bool:
    try:
        return not LaunchSpec.from_json(json.loads(spec)).is_in(directory)
    except (ValueError, TypeError):
        return False
