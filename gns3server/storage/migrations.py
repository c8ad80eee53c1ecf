"""Database files of earlier versions, brought up to the present one.

The format of a kind of file is a list of SQL scripts, one per version: the first
makes the tables of version 1 in an empty file, and each further one turns the
version before it into its own. A new file runs all of them, so that it cannot
differ from one that was brought up to date. A script that was ever released
is never changed; a new version is one more script at the end.

All functions block, and are only for the owner of the connection.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Sequence
from itertools import count
from pathlib import Path

from gns3server.files.durable import sync_directory, sync_file
from gns3server.files.private import make_file

log = logging.getLogger(__name__)

Migrations = Sequence[str]
"""SQL scripts, the one of version 1 first. None contains a transaction of its own."""

PART_SUFFIX = ".part"
"""The end of the name of a copy that is being written."""


class NewerVersion(sqlite3.DatabaseError):
    """A newer server has written the file."""


def version_of(connection: sqlite3.Connection) -> int:
    """The version of a file's format; 0 for an empty file."""
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    return version


def is_outdated(connection: sqlite3.Connection, migrations: Migrations) -> bool:
    """Whether some scripts have not been run yet.

    :raises NewerVersion: the file is of a version that has no script here.
    """
    found, newest = version_of(connection), len(migrations)
    if found > newest:
        raise NewerVersion(
            f"its format is version {found}, this server reads versions up to {newest}"
        )
    return found < newest


def bring_up_to_date(connection: sqlite3.Connection, migrations: Migrations) -> None:
    """Run the scripts that are missing, all of them or none.

    :raises NewerVersion: see :func:`is_outdated`.
    :raises sqlite3.Error: a script fails, and nothing has changed.
    """
    if is_outdated(connection, migrations):
        scripts = ";".join(migrations[version_of(connection) :])
        try:
            connection.executescript(
                f"BEGIN IMMEDIATE; {scripts}; PRAGMA user_version = {len(migrations)}; COMMIT"
            )
        except BaseException:
            if connection.in_transaction:
                connection.rollback()
            raise


def upgrade(connection: sqlite3.Connection, path: Path, migrations: Migrations) -> None:
    """Bring a file up to date; an earlier version is first copied, as ``project.db.v1``.

    The copy stays, for those who want to go back to the server that wrote it.
    After a failure there is no copy: the file itself is as it was.

    :raises OSError: the copy cannot be written.
    :raises sqlite3.Error: see :func:`bring_up_to_date`.
    """
    version = version_of(connection)
    kept = None
    if version and is_outdated(connection, migrations):
        kept = _free_name(path, version)
        copy_database(connection, kept)
    try:
        bring_up_to_date(connection, migrations)
    except BaseException:
        if kept is not None:
            kept.unlink()
        raise
    if kept is not None:
        log.info("%s is of version %d now; %s is as it was", path, len(migrations), kept)


def copy_database(connection: sqlite3.Connection, path: Path) -> None:
    """Write the content of a database to a separate file, durably, whole or not at all.

    :param path: an existing file is replaced; it must not be a database in use.
    :raises OSError, sqlite3.Error: it cannot be written.
    """
    part = path.with_name(path.name + PART_SUFFIX)
    try:
        part.unlink(missing_ok=True)
        make_file(part)
        connection.execute("VACUUM INTO ?", (str(part),))
        sync_file(part)
        os.replace(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def _free_name(path: Path, version: int) -> Path:
    """A name for the copy that no earlier copy has: an earlier copy may be all that is left."""
    name = f"{path.name}.v{version}"
    names = (name if number == 1 else f"{name}-{number}" for number in count(1))
    return next(free for free in map(path.with_name, names) if not os.path.lexists(free))
