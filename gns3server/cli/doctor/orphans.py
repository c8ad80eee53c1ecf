"""Processes of nodes that no server will find, or that may belong to another server.

Every process of a node has a run id in its environment. What matters is who has
that id on record; names of programs prove nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from gns3server.cli.doctor.processes import command_line, lives, working_directory
from gns3server.cli.doctor.report import Finding, Section
from gns3server.cli.doctor.survey import KnownProject, Survey
from gns3server.projects.damaged import runs_of
from gns3server.storage.rows import RunRow
from gns3server.storage.stores import PROJECT_FILE

STOPPED = "--clean stops it."
LEFT_ALONE = "It is left alone."


@dataclass(frozen=True, slots=True)
class Orphan:
    """Processes that are not part of any run that a server of ours continues.

    :param text: which processes they are.
    :param why: what is known about them.
    :param run_id: the run to stop, if it may be stopped: it is lost, and of a known project.
    :param problem: whether they belong to nobody, as far as we know.
    """

    text: str
    why: str
    run_id: str | None = None
    problem: bool = True


def orphans(survey: Survey) -> Section:
    """The processes that :func:`find_orphans` finds."""
    return Section(
        "Processes without an owner",
        [
            Finding(
                orphan.text,
                problem=orphan.problem,
                advice=f"{orphan.why} {LEFT_ALONE if orphan.run_id is None else STOPPED}",
            )
            for orphan in find_orphans(survey)
        ],
    )


def find_orphans(survey: Survey) -> Iterator[Orphan]:
    """All processes that carry a run id but are not part of a run that continues."""
    recorded = {run.id: (f"project {p.place.id}", run) for p, _, run in survey.runs()}
    recorded |= {run.id: ("the server itself", run) for run in survey.own_runs}
    strangers = _Strangers()
    for run_id in survey.carriers:
        pids = survey.carrying(run_id)
        if not pids:
            continue
        if run_id in recorded:
            owner, run = recorded[run_id]
            # A running server takes care of what it has on record.
            if survey.server is None and not survey.goes_on(run):
                yield _remains(owner, run, pids)
            continue
        known = next((p for p in survey.projects if run_id in p.run_ids), None)
        # Records come first: a directory below ours may hold another server's project.
        if known is None and strangers.recognize(run_id, pids):
            continue
        known = known or _working_in(survey, pids)
        yield from [_of(known, run_id, pids)] if known else _unknown(run_id, pids)
    yield from strangers.tell()


class _Strangers:
    """Runs that are on record, but with projects that are not ours."""

    def __init__(self) -> None:
        self._runs: dict[Path, set[str]] = {}
        self._pids: dict[Path, list[int]] = {}

    def recognize(self, run_id: str, pids: Sequence[int]) -> bool:
        """Whether records at or above a directory that a run works in name that run."""
        for place in _directories(pids):
            for parent in (Path(place), *Path(place).parents):
                file = parent / PROJECT_FILE
                if file not in self._runs:
                    self._runs[file] = runs_of(file, file.parent)
                if run_id in self._runs[file]:
                    self._pids.setdefault(file, []).extend(pids)
                    return True
        return False

    def tell(self) -> Iterator[Orphan]:
        """One entry for each project."""
        for file, pids in self._pids.items():
            why = "A project of another server or state_path."
            yield Orphan(f"on record in {file}: {len(pids)}", why, problem=False)


def _directories(pids: Sequence[int]) -> set[str]:
    return {place for pid in pids if (place := working_directory(pid))}


def _working_in(survey: Survey, pids: Sequence[int]) -> KnownProject | None:
    """Our project in whose directory a run works."""
    places = _directories(pids)
    return next((p for p in survey.projects if any(map(p.holds, places))), None)


def _describe(run_id: str, pids: Sequence[int]) -> str:
    names = (f"process {pid} ({command_line(pid):.60})" for pid in pids)
    return f"{', '.join(names)}, run {run_id:.40}"


def _remains(owner: str, run: RunRow, pids: Sequence[int]) -> Orphan:
    left = "a run that lost a process" if run.processes else "a start"
    why = f"What is left of {left} of {owner}; no server continues with it."
    return Orphan(_describe(run.id, pids), why, run.id)


def _of(project: KnownProject, run_id: str, pids: Sequence[int]) -> Orphan:
    text, name = _describe(run_id, pids), f"project {project.place.id}"
    if project.stored is not None:
        why = f"It works in the directory of {name}, which no longer has a record of it."
        return Orphan(text, why, run_id)
    if project.is_in_foreign_hands:
        return Orphan(text, f"It is of {name}, which another process has.", problem=False)
    why = (
        f"It is of {name}, which cannot be read: the next server finds it again once the project "
        "is repaired, and stops it if the project is deleted."
    )
    return Orphan(text, why, problem=False)


def _unknown(run_id: str, pids: Sequence[int]) -> Iterator[Orphan]:
    # Another server's run that has meanwhile ended is no longer on record.
    if any(map(lives, pids)):
        where = " and ".join(sorted(_directories(pids))) or "an unknown directory"
        why = (
            f"It works in {where} and no record that we know names it. It may belong to "
            "another server, or to a project whose directory was moved away. If it is neither, "
            "end it by hand."
        )
        yield Orphan(_describe(run_id, pids), why)
