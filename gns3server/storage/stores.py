"""What is stored, and where: the tables of ``server.db`` and ``project.db``."""

from __future__ import annotations

import json
import logging
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from gns3server.errors import StorageFailed
from gns3server.nodes.nio import Nio
from gns3server.nodes.parent import NodeRow, PendingEvent, RunRow
from gns3server.storage.database import Database, DatabaseThread, Statement
from gns3server.storage.event_log import EVENT_TABLE, EventLog
from gns3server.storage.migrations import Migrations
from gns3server.storage.rows import (
    ProjectPlace,
    StoredProject,
    read_places,
    read_project,
    read_project_of,
)

log = logging.getLogger(__name__)

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
)

SAVE_NODE = """
INSERT INTO node VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE
SET name = excluded.name, console = excluded.console, properties = excluded.properties
"""

SERVER_FILE = "server.db"
SERVER_MIGRATIONS: Migrations = (
    """
CREATE TABLE project (
    id TEXT PRIMARY KEY, path TEXT NOT NULL UNIQUE, open INTEGER NOT NULL,
    made_directory INTEGER NOT NULL);
""",
)


class ServerStore:
    """``server.db``: which projects exist, where, open or not."""

    def __init__(self, thread: DatabaseThread, database: Database) -> None:
        self._thread = thread
        self._database = database

    @classmethod
    async def load(cls, thread: DatabaseThread, directory: Path) -> ServerStore:
        """Open the server's records.

        :raises gns3server.storage.file_check.DatabaseError: damaged, or another server has them.
        """
        database = await thread.open(directory / SERVER_FILE, SERVER_MIGRATIONS, read=read_places)
        return cls(thread, database)

    async def places(self) -> list[ProjectPlace]:
        """All known projects."""
        return await self._thread.read_with(self._database, read_places)

    async def save(self, place: ProjectPlace) -> None:
        """Store a project's place, replacing what was known under its id."""
        row = (place.id, str(place.path), place.open, place.made_directory)
        await self._thread.commit(
            self._database, ("INSERT OR REPLACE INTO project VALUES (?, ?, ?, ?)", row)
        )

    async def remove(self, project_id: str) -> None:
        """Forget a project."""
        await self._thread.commit(
            self._database, ("DELETE FROM project WHERE id = ?", (project_id,))
        )


class ProjectStore:
    """``project.db``: the project, its nodes, NIOs, ports, what runs and what has happened."""

    def __init__(self, thread: DatabaseThread, database: Database) -> None:
        self._thread = thread
        self._database = database
        self.events = EventLog(self._write, self._read)

    @classmethod
    async def load(
        cls, thread: DatabaseThread, directory: Path, *, owner: str | None = None
    ) -> ProjectStore:
        """Open a project's records.

        :param owner: the project that they must belong to; without it any will do, and
            they are made if the directory has none.
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
        """Write a copy, durable, into a directory that has none."""
        await self._thread.copy(self._database, directory / PROJECT_FILE)

    async def switch_to(self, other: ProjectStore) -> None:
        """Use another file from now on, and close this one."""
        old, self._database = self._database, other._database
        await self._thread.close_database(old)

    async def _write(
        self,
        *statements: Statement,
        placing: Callable[[], None] | None = None,
        told: Callable[[int], None] | None = None,
    ) -> None:
        await self._thread.commit(self._database, *statements, placing=placing, told=told)

    async def _read(self, sql: str, parameters: Sequence[Any] = ()) -> list[Any]:
        return await self._thread.read(self._database, sql, parameters)

    async def stored_id(self) -> str | None:
        """The id of the project whose records these are; ``None`` when they are new."""
        rows = await self._read("SELECT id FROM project")
        return rows[0][0] if rows else None

    async def stored(self) -> StoredProject:
        """Read everything but the events."""

        def read(connection: sqlite3.Connection) -> StoredProject:
            stored = read_project(connection)
            if stored is None:
                raise ValueError("it holds no project")
            return stored

        return await self._thread.read_with(self._database, read)

    async def save_project(self, project_id: str, name: str | None, temporary: bool) -> None:
        """Store the project's own values."""
        await self._write(
            ("INSERT OR REPLACE INTO project VALUES (?, ?, ?)", (project_id, name, temporary))
        )

    async def save_node(
        self,
        record: NodeRow,
        files: Mapping[str, bytes],
        placing: Callable[[], None] | None = None,
        event: PendingEvent | None = None,
    ) -> None:
        """Store a node; see :class:`~gns3server.nodes.parent.Records`."""
        row = (
            record.id,
            record.type,
            record.name,
            record.console,
            record.number,
            json.dumps(dict(record.properties)),
        )
        await self.events.commit(
            (SAVE_NODE, row),
            ("DELETE FROM removed_node WHERE id = ?", (record.id,)),
            *(
                ("INSERT OR REPLACE INTO staged_file VALUES (?, ?, ?)", (record.id, name, content))
                for name, content in files.items()
            ),
            event=event,
            placing=placing,
        )

    async def files_replaced(self, node_id: str) -> None:
        """Forget the stored content of a node's files."""
        try:
            await self._write(("DELETE FROM staged_file WHERE node_id = ?", (node_id,)))
        except StorageFailed as error:
            log.warning(
                "files of VM %s will be written again at the next opening: %s", node_id, error
            )

    async def remove_node(self, node_id: str, node_type: str, freed: list[int]) -> None:
        """Forget a node, note its directory for the next commit, free allocated ports."""
        await self._write(
            ("DELETE FROM node WHERE id = ?", (node_id,)),
            ("INSERT OR REPLACE INTO removed_node VALUES (?, ?)", (node_id, node_type)),
            *(("DELETE FROM allocated_port WHERE number = ?", (port,)) for port in freed),
        )

    async def save_nio(
        self, node_id: str, place: tuple[int, int], nio: Nio | None, freed: int | None
    ) -> None:
        """Store what is plugged in; see :class:`~gns3server.nodes.parent.Records`."""
        delete = "DELETE FROM nio WHERE node_id = ? AND adapter = ? AND port = ?"
        statements: list[Statement] = [(delete, (node_id, *place))]
        if nio is not None:
            row = (node_id, *place, nio.type, json.dumps(dict(nio.values)))
            statements.append(("INSERT INTO nio VALUES (?, ?, ?, ?, ?)", row))
        if freed is not None:
            statements.append(("DELETE FROM allocated_port WHERE number = ?", (freed,)))
        await self._write(*statements)

    async def save_run(self, run: RunRow, event: PendingEvent | None = None) -> None:
        """Store a run, or what is newly known of it."""
        processes = json.dumps([asdict(identity) for identity in run.processes])
        row = (run.id, run.node_id, json.dumps(run.spec.to_json()), processes)
        await self.events.commit(
            ("INSERT OR REPLACE INTO run VALUES (?, ?, ?, ?)", row), event=event
        )

    async def end_run(self, run_id: str, event: PendingEvent | None = None) -> None:
        """Forget a run, and tell what came of it; see :class:`~gns3server.nodes.parent.Records`."""
        removal: Statement = ("DELETE FROM run WHERE id = ?", (run_id,))
        if event is not None:
            await self.events.tell(event, removal)
            return
        try:
            await self._write(removal)
        except StorageFailed as error:
            log.warning("the record of run %s stays until the next start: %s", run_id, error)

    async def save_allocated_port(self, port: int) -> None:
        """Store that a client allocated a UDP port."""
        await self._write(("INSERT OR REPLACE INTO allocated_port VALUES (?)", (port,)))

    async def forget_removed_node(self, node_id: str) -> None:
        """Forget a removed node whose directory has been dealt with."""
        await self._write(("DELETE FROM removed_node WHERE id = ?", (node_id,)))

    async def forget_ports_and_removed(self) -> None:
        """What a close lets go: allocated ports and the list of removed nodes (contract 4.3)."""
        await self._write(("DELETE FROM allocated_port", ()), ("DELETE FROM removed_node", ()))
