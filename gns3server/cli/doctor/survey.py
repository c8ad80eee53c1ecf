"""What the records say, and which processes there are. Looking changes nothing, and blocks.

A running server has its files locked; their content is read from copies.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from gns3server.projects.damaged import runs_of
from gns3server.running.identity import read_boot_id
from gns3server.running.procfs import ProcessStat, ProcessTable, processes, run_id_carriers
from gns3server.settings.schema import Settings
from gns3server.storage.file_check import (
    NO_ROOM_REMEDY,
    DatabaseError,
    DatabaseLocked,
    DatabaseMissing,
    NoRoomToExamine,
    check_file,
    lock_holder,
    refusal,
)
from gns3server.storage.rows import (
    ProjectPlace,
    RunRow,
    StoredProject,
    StoredServer,
    read_project_of,
    read_server,
)
from gns3server.storage.state_lock import state_owner
from gns3server.storage.stores import (
    PROJECT_FILE,
    PROJECT_MIGRATIONS,
    SERVER_FILE,
    SERVER_MIGRATIONS,
)


@dataclass(frozen=True, slots=True)
class KnownProject:
    """A project that the server knows.

    :param content: the content of its file, or why that cannot be read.
    :param run_ids: the runs that are on record, as far as the file can be read.
    """

    place: ProjectPlace
    content: StoredProject | DatabaseError
    run_ids: frozenset[str]

    @property
    def stored(self) -> StoredProject | None:
        """The content of its file, if that can be read."""
        return None if isinstance(self.content, DatabaseError) else self.content

    @property
    def path(self) -> Path:
        """Its directory."""
        return self.place.path

    @property
    def is_in_foreign_hands(self) -> bool:
        """Whether a process other than the server has its file open."""
        return isinstance(self.content, DatabaseLocked)

    def holds(self, directory: str) -> bool:
        """Whether a directory is the project's own or is below it."""
        return f"{directory}/".startswith(f"{self.path}/")


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """Everything that is known, as of one moment.

    :param server: the process that has the records open; ``None`` if no server runs.
    :param server_text: the server, in words.
    :param trouble: why the list of projects cannot be read.
    :param has_records: whether there is a list of projects.
    :param own_runs: what the server runs for itself.
    :param arrivals: the directories that are being filled for new projects.
    :param carriers: the processes that carry a run id, by run id.
    :param table: all processes.
    :param boot_id: the id of this boot; ``None`` if it is hidden.
    """

    settings: Settings
    server: int | None
    server_text: str
    trouble: DatabaseError | None
    has_records: bool
    projects: Sequence[KnownProject]
    own_runs: Sequence[RunRow]
    arrivals: Collection[Path]
    carriers: Mapping[str, Sequence[ProcessStat]]
    table: ProcessTable
    boot_id: str | None

    def living(self, run: RunRow) -> list[int]:
        """The recorded processes of a run that are alive."""
        return [
            one.pid
            for one in run.processes
            if self.boot_id in (None, one.boot_id) and self.table.holds(one.pid, one.start_time)
        ]

    def carrying(self, run_id: str) -> list[int]:
        """The living processes that carry a run id."""
        return [
            stat.pid
            for stat in self.carriers.get(run_id, ())
            if self.table.holds(stat.pid, stat.start_time)
        ]

    def goes_on(self, run: RunRow) -> bool:
        """Whether all of a run is there, so that a server can continue it."""
        return run.spec.goes_on(len(run.processes), len(self.living(run)))

    def runs(self) -> Iterator[tuple[KnownProject, StoredProject, RunRow]]:
        """All runs on record, with their projects."""
        for project in self.projects:
            if project.stored is not None:
                for run in project.stored.runs:
                    yield project, project.stored, run


def take_survey(settings: Settings) -> Survey:
    """Look at the records of a state directory and at the processes of this machine.

    :raises OSError: the processes cannot be listed.
    """
    # Before the records: a process seen here has been recorded by the time they are read.
    carriers = run_id_carriers()
    file = settings.state_path / SERVER_FILE
    stored = StoredServer([], [])
    trouble, has_records, server = None, True, None
    try:
        server = lock_holder(file)
        stored = check_file(file, SERVER_MIGRATIONS, read_server, user=server)
    except (FileNotFoundError, DatabaseMissing):
        has_records = False
    except DatabaseError as error:
        trouble = error
    except OSError as error:
        trouble = refusal(file, error)
    except NoRoomToExamine as error:
        trouble = _no_room(file, error)
    projects = [_look_into(place, server) for place in stored.places]
    boot_id = None
    # The machine's part of the report says that it is hidden.
    with suppress(OSError):
        boot_id = read_boot_id()
    return Survey(
        settings=settings,
        server=server,
        server_text=_name(settings.state_path, server),
        trouble=trouble,
        has_records=has_records,
        projects=projects,
        own_runs=stored.runs,
        arrivals=frozenset(row.path for row in stored.arrivals),
        carriers=carriers,
        table=processes(),
        boot_id=boot_id,
    )


def _name(state: Path, server: int | None) -> str:
    owner = state_owner(state)
    if owner.startswith(f"process {server} "):
        return owner
    return f"process {server}" if server else "a process that cannot be seen from here"


def _no_room(file: Path, error: NoRoomToExamine) -> DatabaseError:
    return DatabaseError(file, f"could not be copied to be read: {error}", NO_ROOM_REMEDY)


def _look_into(place: ProjectPlace, server: int | None) -> KnownProject:
    file = place.path / PROJECT_FILE
    try:
        read = partial(read_project_of, owner=place.id)
        stored = check_file(file, PROJECT_MIGRATIONS, read, user=server)
    except DatabaseError as error:
        return KnownProject(place, error, frozenset(runs_of(file, place.path)))
    except NoRoomToExamine as error:
        return KnownProject(place, _no_room(file, error), frozenset())
    return KnownProject(place, stored, frozenset(run.id for run in stored.runs))
