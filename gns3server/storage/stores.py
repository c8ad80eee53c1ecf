"""What is stored, and where: the tables of ``server.db`` and ``project.db``."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from gns3server.storage.change import ProjectChange
from gns3server.storage.database import Database, DatabaseThread, Statement
from gns3server.storage.event_log import EVENT_TABLE, EventLog
from gns3server.storage.lab_tables import Tables, read_tables
from gns3server.storage.migrations import Migrations
from gns3server.storage.rows import (
    ProjectPlace,
    StoredProject,
    StoredServer,
    read_project,
    read_project_of,
    read_server,
)

PROJECT_FILE = "project.db"
PROJECT_MIGRATIONS: Migrations = (
    """
CREATE TABLE project (id TEXT PRIMARY KEY, name TEXT, temporary INTEGER NOT NULL);
CREATE TABLE node (
    id TEXT PRIMARY KEY, type TEXT NOT NULL, name TEXT NOT NULL,
    console INTEGER, number INTEGER, properties TEXT NOT NULL);
CREATE TABLE nio (
    node_id TEXT NOT NULL REFERENCES node (id) ON DELETE CASCADE,
    adapter INTEGER NOT NULL, port INTEGER NOT NULL,
    type TEXT NOT NULL, fields TEXT NOT NULL, PRIMARY KEY (node_id, adapter, port));
CREATE TABLE staged_file (
    node_id TEXT NOT NULL REFERENCES node (id) ON DELETE CASCADE,
    name TEXT NOT NULL, content BLOB NOT NULL, PRIMARY KEY (node_id, name));
CREATE TABLE run (
    id TEXT PRIMARY KEY, node_id TEXT NOT NULL, spec TEXT NOT NULL, processes TEXT NOT NULL);
CREATE TABLE allocated_port (number INTEGER PRIMARY KEY);
CREATE TABLE removed_node (id TEXT PRIMARY KEY, type TEXT NOT NULL);
""",
    EVENT_TABLE,
    """
CREATE TABLE new_run (
    id TEXT PRIMARY KEY, owner_kind TEXT NOT NULL, owner_id TEXT NOT NULL,
    spec TEXT NOT NULL, processes TEXT NOT NULL);
INSERT INTO new_run SELECT id, 'node', node_id, spec, processes FROM run;
DROP TABLE run;
ALTER TABLE new_run RENAME TO run;
ALTER TABLE node ADD COLUMN state TEXT NOT NULL DEFAULT 'stopped';
ALTER TABLE node ADD COLUMN fresh INTEGER NOT NULL DEFAULT 0;
CREATE TABLE stored_value (
    owner_kind TEXT NOT NULL, owner_id TEXT NOT NULL, plugin TEXT NOT NULL,
    key TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (owner_kind, owner_id, plugin, key));
""",
    """
CREATE TABLE layout (
    node_id TEXT PRIMARY KEY REFERENCES node (id) ON DELETE CASCADE,
    x REAL NOT NULL, y REAL NOT NULL, z REAL NOT NULL, symbol TEXT NOT NULL, label TEXT NOT NULL);
""",
    """
CREATE TABLE link (
    id TEXT PRIMARY KEY, wanted TEXT NOT NULL, path TEXT NOT NULL, suspended INTEGER NOT NULL,
    filters TEXT NOT NULL, seed INTEGER NOT NULL);
CREATE TABLE link_end (
    link_id TEXT NOT NULL REFERENCES link (id) ON DELETE CASCADE, number INTEGER NOT NULL,
    node_id TEXT NOT NULL REFERENCES node (id),
    adapter INTEGER NOT NULL, port INTEGER NOT NULL, local INTEGER NOT NULL, relay INTEGER,
    PRIMARY KEY (link_id, number), UNIQUE (node_id, adapter, port));
CREATE TABLE capture (
    link_id TEXT PRIMARY KEY, file TEXT NOT NULL, snapshot_length INTEGER NOT NULL,
    max_bytes INTEGER NOT NULL);
""",
    """
CREATE TABLE snapshot (
    id TEXT PRIMARY KEY, name TEXT NOT NULL, created REAL NOT NULL, state TEXT NOT NULL,
    size INTEGER NOT NULL, running TEXT NOT NULL);
CREATE TABLE restoration (
    room TEXT PRIMARY KEY, snapshot_id TEXT NOT NULL, committed INTEGER NOT NULL);
""",
)

SERVER_FILE = "server.db"
SERVER_MIGRATIONS: Migrations = (
    """
CREATE TABLE project (
    id TEXT PRIMARY KEY, path TEXT NOT NULL UNIQUE, open INTEGER NOT NULL,
    made_directory INTEGER NOT NULL);
""",
    """
CREATE TABLE stored_value (
    owner_kind TEXT NOT NULL, owner_id TEXT NOT NULL, plugin TEXT NOT NULL,
    key TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (owner_kind, owner_id, plugin, key));
""",
    """
ALTER TABLE project ADD COLUMN given TEXT NOT NULL DEFAULT '';
UPDATE project SET given = path;
""",
    """
CREATE TABLE run (
    id TEXT PRIMARY KEY, owner_kind TEXT NOT NULL, owner_id TEXT NOT NULL,
    spec TEXT NOT NULL, processes TEXT NOT NULL);
""",
    "CREATE TABLE arrival (id TEXT PRIMARY KEY, path TEXT NOT NULL);",
)


class Records:
    """A file with records, its changes and its events."""

    def __init__(self, thread: DatabaseThread, database: Database) -> None:
        self._thread = thread
        self._database = database
        self.events = EventLog(self.read)

    def change(self, *, fact: bool = False) -> ProjectChange:
        """A change of what is stored; see :class:`~gns3server.storage.change.ProjectChange`.

        :param fact: it has already happened, and is told even if it cannot be stored.
        """
        root = self._database.path.parent
        return ProjectChange(self._commit, self.events, root=root, fact=fact)

    async def _commit(
        self,
        *statements: Statement,
        placing: Callable[[], None] | None = None,
        told: Callable[[int], None] | None = None,
    ) -> None:
        await self._thread.commit(self._database, *statements, placing=placing, told=told)

    async def read(self, sql: str, parameters: Sequence[Any] = ()) -> list[Any]:
        """All rows of a query.

        :raises gns3server.storage.file_check.DatabaseError: the file is damaged.
        """
        return await self._thread.read(self._database, sql, parameters)


class ServerStore(Records):
    """``server.db``: which projects exist, where, open or not; plugins' values; its own runs.

    :param found: what was in it when it was opened.
    """

    def __init__(self, thread: DatabaseThread, database: Database, found: StoredServer) -> None:
        super().__init__(thread, database)
        self.found = found

    @classmethod
    async def load(cls, thread: DatabaseThread, directory: Path) -> ServerStore:
        """Open the server's records.

        :raises gns3server.storage.file_check.DatabaseError: damaged, or in use by another.
        """
        database = await thread.open(directory / SERVER_FILE, SERVER_MIGRATIONS, read=read_server)
        return cls(thread, database, database.take_found())

    async def save(self, place: ProjectPlace) -> None:
        """Store a project's place, replacing what was known under its id."""
        row = (place.id, str(place.path), place.open, place.made_directory, place.given)
        await self._thread.commit(
            self._database, ("INSERT OR REPLACE INTO project VALUES (?, ?, ?, ?, ?)", row)
        )

    async def note_arrival(self, project_id: str, path: Path) -> None:
        """Store that a directory of ours is being filled for a new project."""
        await self._thread.commit(
            self._database, ("INSERT INTO arrival VALUES (?, ?)", (project_id, str(path)))
        )

    async def forget_arrival(self, project_id: str) -> None:
        """Forget a directory that was filled, or was removed."""
        await self._thread.commit(
            self._database, ("DELETE FROM arrival WHERE id = ?", (project_id,))
        )

    async def save_arrived(self, place: ProjectPlace) -> None:
        """Store the place of a project whose directory is filled."""
        row = (place.id, str(place.path), place.open, place.made_directory, place.given)
        await self._thread.commit(
            self._database,
            ("INSERT INTO project VALUES (?, ?, ?, ?, ?)", row),
            ("DELETE FROM arrival WHERE id = ?", (place.id,)),
        )

    async def remove(self, project_id: str) -> None:
        """Forget a project."""
        await self._thread.commit(
            self._database, ("DELETE FROM project WHERE id = ?", (project_id,))
        )


class ProjectStore(Records):
    """``project.db``: the project, its nodes, NIOs, ports, what runs and what has happened."""

    @classmethod
    async def load(
        cls, thread: DatabaseThread, directory: Path, *, owner: str | None = None
    ) -> ProjectStore:
        """Open a project's records.

        :param owner: the project that they must belong to; without it, any will do, and
            they are created if the directory has none.
        :raises gns3server.storage.file_check.DatabaseError: they cannot be used.
        """
        read = read_project if owner is None else partial(read_project_of, owner=owner)
        database = await thread.open(
            directory / PROJECT_FILE, PROJECT_MIGRATIONS, read=read, new=owner is None
        )
        return cls(thread, database)

    async def close(self) -> None:
        """Close the file."""
        await self._thread.close_database(self._database)

    async def copy_to(self, directory: Path) -> None:
        """Write a durable copy into a directory that has no records."""
        await self._thread.copy(self._database, directory / PROJECT_FILE)

    async def switch_to(self, other: ProjectStore) -> None:
        """Use another file from now on, and close this one."""
        old, self._database = self._database, other._database
        await self._thread.close_database(old)

    def take_found(self) -> StoredProject | None:
        """What was in it when it was opened, except the events; ``None`` if it is new.

        Can be asked for only once: it is not kept after that.
        """
        stored: StoredProject | None = self._database.take_found()
        return stored

    async def tables(self) -> Tables:
        """The rows that are copied along with the project."""
        return await self._thread.read_with(self._database, read_tables)

    async def stored(self) -> StoredProject:
        """Read everything except the events."""

        def read(connection: sqlite3.Connection) -> StoredProject:
            stored = read_project(connection)
            if stored is None:
                raise ValueError("it holds no project")
            return stored

        return await self._thread.read_with(self._database, read)
