"""The part of a project's records that is copied: into snapshots and out of them, into duplicates.

Rows are taken as they are, whatever tables there are, so that nothing is forgotten when there are
more. What is not copied belongs to the project as it lives on: its events, what runs, the ports
that clients allocated, its snapshots.

All functions block.
"""

from __future__ import annotations

import errno
import json
import os
import sqlite3
from collections.abc import Collection, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gns3server.files.durable import sync_directory, sync_file
from gns3server.files.private import make_file
from gns3server.storage.file_check import DISK_CODES, check_file, primary_code, refusal
from gns3server.storage.migrations import PART_SUFFIX, Migrations, bring_up_to_date
from gns3server.storage.rows import StoredProject, read_project
from gns3server.storage.snapshot_rows import SnapshotRow

KEPT = frozenset({"event", "run", "allocated_port", "snapshot", "restoration", "capture"})
"""Tables that are not copied."""


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of a table, in the order in which they were made."""

    columns: tuple[str, ...]
    rows: Sequence[tuple[Any, ...]]


Tables = Mapping[str, Table]
"""By name."""


@dataclass(frozen=True, slots=True)
class StoredLab:
    """What a file holds: the rows, and what they mean."""

    tables: Tables
    stored: StoredProject


def read_tables(connection: sqlite3.Connection) -> Tables:
    """The rows that are copied."""
    names = [
        name
        for (name,) in connection.execute(
            "SELECT name FROM sqlite_schema "
            "WHERE type = 'table' AND name NOT LIKE 'sqlite%' ORDER BY rowid"
        )
        if name not in KEPT
    ]
    return {name: _read(connection, name) for name in names}


def _read(connection: sqlite3.Connection, name: str) -> Table:
    found = connection.execute(f'SELECT * FROM "{name}" ORDER BY rowid')  # noqa: S608
    columns = tuple(column for column, *_ in found.description)
    return Table(columns, found.fetchall())


def read_lab(path: Path, migrations: Migrations, there: Collection[str] = ()) -> StoredLab:
    """What a file holds that was written by :func:`write_lab`, as rows of stopped nodes.

    :param there: ids of nodes whose plugins know that they were created.
    :raises gns3server.storage.file_check.DatabaseError: it cannot be used.
    """

    def read(connection: sqlite3.Connection) -> StoredLab:
        connection.execute("UPDATE node SET state = 'stopped', fresh = 1")
        connection.executemany("UPDATE node SET fresh = 0 WHERE id = ?", [(i,) for i in there])
        stored = read_project(connection)
        if stored is None:
            raise ValueError("it holds no project")
        return StoredLab(read_tables(connection), stored)

    return check_file(path, migrations, read)


def remapped(tables: Tables, ids: Mapping[str, str]) -> Tables:
    """The same rows with other ids, wherever a value is one of them.

    Ids inside of longer values, such as those that plugins store, stay as they are.
    """

    def row(values: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(ids.get(value, value) if isinstance(value, str) else value for value in values)

    return {
        name: replace(table, rows=[row(values) for values in table.rows])
        for name, table in tables.items()
    }


def write_lab(path: Path, migrations: Migrations, tables: Tables) -> None:
    """Write rows to a new file, durably, whole or not at all.

    :raises gns3server.storage.file_check.DatabaseError: no file can hold these rows.
    :raises OSError: it cannot be written.
    """
    part = path.with_name(path.name + PART_SUFFIX)
    part.unlink(missing_ok=True)
    try:
        make_file(part)
        with closing(sqlite3.connect(part, isolation_level=None)) as connection:
            bring_up_to_date(connection, migrations)
            connection.execute("BEGIN")
            for name, table in tables.items():
                connection.executemany(insertion(name, table), table.rows)
            connection.execute("COMMIT")
        sync_file(part)
        os.replace(part, path)
    except sqlite3.Error as error:
        part.unlink(missing_ok=True)
        if primary_code(error) in DISK_CODES:
            raise OSError(errno.ENOSPC, f"{error}", str(path)) from error
        raise refusal(path, error) from error
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def insertion(name: str, table: Table) -> str:
    """The statement that inserts a row."""
    columns = ", ".join(f'"{column}"' for column in table.columns)
    places = ", ".join("?" * len(table.columns))
    return f'INSERT INTO "{name}" ({columns}) VALUES ({places})'  # noqa: S608


def snapshot_table(rows: Sequence[SnapshotRow]) -> Mapping[str, Table]:
    """The table that holds these snapshots; nothing if there are none."""
    values = [(r.id, r.name, r.created, r.state, r.size, json.dumps(r.running)) for r in rows]
    columns = ("id", "name", "created", "state", "size", "running")
    return {"snapshot": Table(columns, values)} if rows else {}
