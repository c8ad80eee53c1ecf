"""Projects that come as a whole: imported by a plugin, or made as a copy of another.

A directory of their own is filled first, and noted as ours before that. One commit makes a project
of it; without that it is removed, if need be by the next start.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
import uuid
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from gns3server.errors import Conflict, InvalidRequest, StorageFailed
from gns3server.files.durable import sync_directory, sync_tree
from gns3server.files.safe_open import is_plain_name
from gns3server.nodes.project_base import ProjectServices
from gns3server.places.index import ProjectIndex
from gns3server.places.paths import FILES_DIRECTORY
from gns3server.places.snapshot_files import COPIED, place_of, prepare_snapshot, size_of
from gns3server.projects.copies import Copying
from gns3server.projects.entrance import Entrance
from gns3server.projects.plain_records import tables_of
from gns3server.projects.renewing import changed, new_ids, renewed
from gns3server.projects.snapshots import check_name, check_room
from gns3server.storage.file_check import DatabaseError, check_file
from gns3server.storage.lab_tables import Tables, read_lab, snapshot_table, write_lab
from gns3server.storage.rows import ProjectPlace
from gns3server.storage.snapshot_rows import SnapshotRow, read_snapshots
from gns3server.storage.stores import PROJECT_FILE, PROJECT_MIGRATIONS, ServerStore

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Arrived:
    """A project that has come: it is closed.

    :param ids: the new id of the project and of each node and link, by the one that it had.
    """

    project_id: str
    ids: Mapping[str, str]


class StagedProject:
    """A project that is being imported: a directory to be filled, then :meth:`commit`.

    :param place: the directory, which is for it alone.
    """

    def __init__(
        self,
        place: ProjectPlace,
        services: ProjectServices,
        copying: Copying,
        save: Callable[[ProjectPlace], Any],
    ) -> None:
        self._place = place
        self._shared = services
        self._copying = copying
        self._save = save
        self._snapshots: list[tuple[SnapshotRow, Tables]] = []
        self.arrived: Arrived | None = None
        """What has come of it, once it is committed."""

    @property
    def project_id(self) -> str:
        """The id that the project will have."""
        return self._place.id

    @property
    def directory(self) -> Path:
        """To be filled with files, off the loop; those of a node belong into
        ``project-files/<type>/<id>``, with the id that the records give it.
        """
        return self._place.path

    async def add_snapshot(self, name: str, created: float, records: Mapping[str, Any]) -> Path:
        """Have the project come with a snapshot, the oldest first; returns a directory for its
        files, to be filled as :attr:`directory` is.

        A node or link with the same id as one of the project, or of another snapshot, is the same.

        :param name: up to 200 characters that no other snapshot has.
        :param created: when it was made, in seconds since 1970.
        :param records: the project as it was then.
        :raises gns3server.errors.InvalidRequest: the name or the records are unfit.
        :raises gns3server.errors.Conflict: the name is taken, or there are 100 snapshots.
        :raises gns3server.errors.StorageFailed: the directory cannot be made.
        """
        check_name(name)
        check_room(self._place.id, name, [row.name for row, _ in self._snapshots])
        tables = self._tables_of(records, f"the snapshot {name!r}")
        row = SnapshotRow(id=str(uuid.uuid4()), name=name, created=created, state="whole")
        project, place = self._place.path, place_of(self._place.path, row.id)
        await self._copying.run(
            "The project was not imported", lambda **_: prepare_snapshot(project, row.id)
        )
        self._snapshots.append((row, tables))
        return place / COPIED

    def _tables_of(self, records: Mapping[str, Any], what: str) -> Tables:
        try:
            return tables_of(records, self._shared.registry)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InvalidRequest(f"The records of {what} are unfit: {error!r}.") from error

    async def commit(self, records: Mapping[str, Any]) -> Arrived:
        """Make a project of what is there. It is closed, and nobody has been told of it.

        Nodes, links and the project get new ids, and ports and consoles that nobody has.

        :param records: as :attr:`Archive.records <gns3server.plugin.Archive.records>` are.
        :raises gns3server.errors.InvalidRequest: the records are unfit.
        :raises gns3server.errors.Conflict: no port is left, or there are too many nodes.
        :raises gns3server.errors.StorageFailed: it could not be written; there is no such project.
        """
        tables = self._tables_of(records, "the new project")
        await self._copying.run("The project was not imported", partial(_synced, self._place.path))
        return await asyncio.shield(self._shared.own(self.take(tables)))

    async def take(self, tables: Tables, name: str | None = None) -> Arrived:
        """Commit rows that are copied, with new ids.

        :param name: of the project; by default as in the rows.
        """
        if self.arrived is not None:
            raise Conflict(f"Project {self._place.id} is committed already: stage another one.")
        labs = [tables, *(each for _, each in self._snapshots)]
        ids = new_ids(labs, self._place.id)
        new, *earlier = await renewed(
            labs, ids, self._place.id, self._shared.machine, self._shared.registry
        )
        if name is not None:
            new = changed(new, "project", name=lambda _: name)
        snapshots = [
            (row, old, then) for (row, old), then in zip(self._snapshots, earlier, strict=True)
        ]
        await self._copying.run(
            "The project was not made",
            partial(_complete, self._place.path, tables, new, ids, snapshots),
        )
        await self._save(replace(self._place, open=False))
        self.arrived = Arrived(self._place.id, ids)
        return self.arrived


class Arrivals:
    """The projects that are coming.

    :param records: where they are noted.
    """

    def __init__(
        self,
        index: ProjectIndex,
        records: ServerStore,
        entrance: Entrance,
        services: ProjectServices,
    ) -> None:
        self._index = index
        self._records = records
        self._entrance = entrance
        self._shared = services

    @property
    def copying(self) -> Copying:
        """What copies files until the server stops."""
        return Copying(self._shared.copiers, lambda: self._entrance.closed)

    async def clear_up(self) -> None:
        """Remove what was being filled when the last server ended."""
        for row in self._records.found.arrivals:
            try:
                if row.path not in self._index.paths:
                    await asyncio.to_thread(_remove, row.path)
                await self._records.forget_arrival(row.id)
            except (OSError, StorageFailed) as error:
                log.warning("%s was not filled, and stays: %s", row.path, error)
            else:
                log.info("%s was removed: the project in it was not complete", row.path)

    @asynccontextmanager
    async def stage(
        self, project_id: str, path: str, *, chosen: bool
    ) -> AsyncIterator[StagedProject]:
        """A directory for a new project, which is removed unless the project is committed.

        :param chosen: a client has named the path.
        :raises Forbidden: it has, and the server is not local.
        :raises Conflict: the id is taken, or the path cannot be a new project's.
        """
        async with self._entrance.reserve(project_id, path, chosen=chosen) as place:
            await self._records.note_arrival(place.id, place.path)
            staged = StagedProject(place, self._shared, self.copying, self._save)
            try:
                yield staged
            finally:
                if staged.arrived is None:
                    await asyncio.shield(self._shared.own(self._drop(place)))

    async def _save(self, place: ProjectPlace) -> None:
        await self._records.save_arrived(place)
        self._index.take_in(place)

    async def _drop(self, place: ProjectPlace) -> None:
        try:
            await asyncio.to_thread(_remove, place.path)
            await self._records.forget_arrival(place.id)
        except (OSError, StorageFailed) as error:
            log.warning("%s was not removed, the next start does that: %s", place.path, error)


def read_closed(path: Path) -> Tables:
    """The rows of a project that nobody has open.

    :raises gns3server.storage.file_check.DatabaseError: they cannot be used.
    """
    return read_lab(path / PROJECT_FILE, PROJECT_MIGRATIONS).tables


def snapshots_of_closed(path: Path) -> list[SnapshotRow]:
    """The snapshots on record of a project that nobody has open.

    :raises gns3server.storage.file_check.DatabaseError: the records cannot be used.
    """
    return check_file(path / PROJECT_FILE, PROJECT_MIGRATIONS, read_snapshots)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)


def _synced(path: Path, *, stopped: Callable[[], bool]) -> None:
    sync_tree(path, stopped)


def _complete(
    path: Path,
    old: Tables,
    new: Tables,
    ids: Mapping[str, str],
    snapshots: Sequence[tuple[SnapshotRow, Tables, Tables]],
    *,
    stopped: Callable[[], bool],
) -> None:
    """Give directories of nodes their new names, and write the records; those of snapshots first.

    :param snapshots: each with its rows as they came, and as they are to be.
    :raises InvalidRequest: the records are unfit.
    """
    del stopped
    rows = []
    for row, came, then in snapshots:
        place = place_of(path, row.id)
        rows.append(replace(row, size=size_of(place / COPIED)))
        _write(place / PROJECT_FILE, then, f"the snapshot {row.name!r}")
        _rename(place / COPIED, came, ids)
    _write(path / PROJECT_FILE, {**new, **snapshot_table(rows)}, "the new project")
    _rename(path, old, ids)


def _write(file: Path, tables: Tables, what: str) -> None:
    try:
        write_lab(file, PROJECT_MIGRATIONS, tables)
        read_lab(file, PROJECT_MIGRATIONS)
    except DatabaseError as error:
        raise InvalidRequest(f"The records of {what} are unfit: {error.reason}.") from error


def _rename(path: Path, old: Tables, ids: Mapping[str, str]) -> None:
    """Give directories of nodes their new names."""
    table = old.get("node")
    if table is None:
        return
    id_at, type_at = table.columns.index("id"), table.columns.index("type")
    types = {str(row[type_at]) for row in table.rows}
    for row in table.rows:
        place = path / FILES_DIRECTORY / str(row[type_at])
        if is_plain_name(row[id_at]) and (place / row[id_at]).is_dir():
            (place / row[id_at]).rename(place / ids[row[id_at]])
    for kind in types:
        if (path / FILES_DIRECTORY / kind).is_dir():
            sync_directory(path / FILES_DIRECTORY / kind)
