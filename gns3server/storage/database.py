"""One thread that owns every SQLite file and groups concurrent changes into one commit.

An fsync costs milliseconds and is paid per commit, not per change: changes that queue up during one
commit share the next. Each file is in WAL mode with synchronous FULL, so that a change is on
the disk before anybody is told of it, and locked exclusively: no second server can write to it.
"""

from __future__ import annotations

import asyncio
import logging
import os
import queue
import sqlite3
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from gns3server.errors import LabError, StorageFailed
from gns3server.files.private import keep_private, make_file
from gns3server.storage.file_check import (
    BUSY_SECONDS,
    Columns,
    DatabaseError,
    DatabaseMissing,
    FileState,
    NoRoomToExamine,
    Reader,
    check_file,
    columns_after,
    database_files,
    missing_part,
    primary_code,
    refusal,
    state_of,
    true_reason,
)
from gns3server.storage.migrations import Migrations, copy_database, upgrade

log = logging.getLogger(__name__)

T = TypeVar("T")

Statement = tuple[str, Sequence[Any]]
"""One SQL statement and its parameters."""

NOT_WHOLE = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE)
"""How a commit fails whose last page has not been written: it will not be taken for one."""


@dataclass(eq=False)
class Database:
    """One open file; only the writer thread uses the connection.

    :param inode: which file it is, by whatever name; ``None`` while there is none.
    :param log_inode: the same of its log.
    :param found: what was read from it when it was opened.
    """

    path: Path
    connection: sqlite3.Connection | None = None
    inode: tuple[int, int] | None = None
    log_inode: tuple[int, int] | None = None
    found: Any = None

    def take_found(self) -> Any:
        """Hand over what was read; it is not kept any longer."""
        found, self.found = self.found, None
        return found


@dataclass(eq=False, slots=True)
class _Job:
    """Work for the writer thread: a change to group, or a function to call on its own."""

    database: Database
    statements: Sequence[Statement] = ()
    placing: Callable[[], None] | None = None
    told: Callable[[int], Any] | None = None
    call: Callable[[Database], Any] | None = None
    done: Future[Any] = field(default_factory=Future)


class DatabaseThread:
    """Opens, changes and reads databases. All coroutines may be awaited concurrently."""

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="database", daemon=True)
        self._thread.start()
        self.opened: set[Database] = set()  # or about to be
        self._inodes: set[tuple[int, int] | None] = set()
        self._claiming = threading.Lock()
        self._models: dict[tuple[str, ...], Columns] = {}
        self.submitted = 0  # changes and reads; many may share a commit
        self.commits = 0

    async def open(
        self, path: Path, migrations: Migrations, *, read: Reader = lambda _: None, new: bool = True
    ) -> Database:
        """Open a file, brought up to the newest format. A file that is refused is not touched.

        :param read: reads all of it; what this returns is the database's ``found``.
        :param new: the file may not exist yet.
        :raises DatabaseError: damaged, locked by another process, or of a newer version.
        """
        database = Database(path)
        try:
            examined = await asyncio.to_thread(self._examine, database, migrations, read, new)
        except BaseException:
            self._give_back(database)
            raise

        def call(db: Database) -> None:
            _open(db, migrations)
            try:
                self._claim(db)
                # Read again only if something has written to it before it was locked.
                if examined is not None and examined[0] == state_of(path):
                    db.found = examined[1]
                else:
                    db.found = _read(db, read)
            except BaseException:
                self._close_file(db, _take_connection(db))
                raise

        self.opened.add(database)
        try:
            await self._submit(_Job(database, call=call))
        except DatabaseError:
            self.opened.remove(database)
            self._give_back(database)
            raise
        return database

    def _model(self, migrations: Migrations) -> Columns:
        key = tuple(migrations)
        if key not in self._models:
            self._models[key] = columns_after(migrations)
        return self._models[key]

    def _claim(self, database: Database) -> None:
        """Refuse a file that is open under another name: in one process, SQLite's locks do not."""
        with suppress(OSError), self._claiming:
            inode = _inode(database.path)
            if database.inode == inode:
                return
            if inode in self._inodes:
                remedy = "Give each project files of its own: copy, and do not link."
                raise DatabaseError(database.path, "is already open in this server", remedy)
            self._inodes.discard(database.inode)
            self._inodes.add(inode)
            database.inode = inode

    def _give_back(self, database: Database) -> None:
        with self._claiming:
            self._inodes.discard(database.inode)
            database.inode = None

    def _examine(
        self, database: Database, migrations: Migrations, read: Reader, new: bool
    ) -> tuple[FileState, Any] | None:
        """What is in a file, and the file's state before it was read."""
        path = database.path
        try:
            self._claim(database)
            before = state_of(path)
            return before, check_file(path, migrations, read, model=self._model)
        except DatabaseMissing:
            if not new:
                raise
        except NoRoomToExamine as error:
            # A full disk must not keep a project closed that could run on it.
            log.warning("%s is opened without being checked first: %s", path, error)
        return None

    async def commit(
        self,
        database: Database,
        *statements: Statement,
        placing: Callable[[], None] | None = None,
        told: Callable[[int], None] | None = None,
    ) -> None:
        """Make one change durable: all its statements or none.

        :param placing: called off the loop when the change is durable, but before ``told``.
        :param told: called on the loop before this returns, in the order of the commits, with the
            row id that the last statement inserted.
        :raises StorageFailed: nothing has changed, or that is not certain and the error says so.
            LabError: ``placing`` failed, after the change.
        :raises asyncio.CancelledError: only once it is known whether the change was made.
        """
        job = _Job(database, statements, placing=placing)
        if told is not None:
            loop = asyncio.get_running_loop()
            job.told = lambda row: loop.call_soon_threadsafe(told, row)
        done = self._queue(job)
        try:
            await asyncio.shield(done)
        except asyncio.CancelledError:
            # A change that is on its way to the disk cannot be taken back.
            while not done.done():
                with suppress(asyncio.CancelledError):
                    await asyncio.wait({done})
            done.exception()
            raise

    async def read(self, database: Database, sql: str, parameters: Sequence[Any] = ()) -> list[Any]:
        """All rows of a query.

        :raises DatabaseError: the file is damaged.
        """
        return await self.read_with(database, lambda db: db.execute(sql, parameters).fetchall())

    async def read_with(self, database: Database, read: Callable[[sqlite3.Connection], T]) -> T:
        """What a function reads.

        :raises DatabaseError: the file is damaged.
        """
        result: T = await self._submit(_Job(database, call=lambda db: _read(db, read)))
        return result

    async def copy(self, database: Database, path: Path) -> None:
        """Copy a file as it is now, durably, to a place where there is no database.

        :raises StorageFailed: it cannot be written.
        """
        await self._submit(_Job(database, call=lambda db: _copy(db, path)))

    async def close_database(self, database: Database) -> None:
        """Close one file, whose changes are durable already."""
        self.opened.discard(database)
        # Shielded: otherwise a file could be left that is neither closed nor anybody's.
        await asyncio.shield(asyncio.ensure_future(self._put_away(database)))

    async def _put_away(self, database: Database) -> None:
        connection = await self._submit(_Job(database, call=_take_connection))
        # SQLite moves the log into the file and waits for the disk: several files at a time.
        await asyncio.to_thread(self._close_file, database, connection)

    def _close_file(self, database: Database, connection: sqlite3.Connection | None) -> None:
        if connection is not None:
            connection.close()
        self._give_back(database)

    async def close(self) -> None:
        """End the thread after everything that is queued, and release every file."""
        for database in self.opened:
            self._jobs.put(
                _Job(database, call=lambda db: self._close_file(db, _take_connection(db)))
            )
        self._jobs.put(None)
        await asyncio.to_thread(self._thread.join)

    async def _submit(self, job: _Job) -> Any:
        # Shielded: what is on its way to the thread cannot be taken back.
        return await asyncio.shield(self._queue(job))

    def _queue(self, job: _Job) -> asyncio.Future[Any]:
        self.submitted += 1
        self._jobs.put(job)
        return asyncio.wrap_future(job.done)

    def _work(self) -> None:
        while True:
            jobs = [self._jobs.get()]
            while not self._jobs.empty():
                jobs.append(self._jobs.get())
            changes: dict[Database, list[_Job]] = {}
            for job in jobs:
                if job is not None and job.call is None:
                    changes.setdefault(job.database, []).append(job)
                    continue
                self._flush(changes)
                if job is None:
                    return
                _finish(job, job.call)
            self._flush(changes)

    def _flush(self, changes: dict[Database, list[_Job]]) -> None:
        for database, jobs in changes.items():
            self.commits += 1
            _commit_together(database, jobs)
        changes.clear()


def _connection(database: Database) -> sqlite3.Connection:
    if database.connection is None:
        raise StorageFailed(
            f"The change was not written: {database.path} is closed, because its project was "
            "closed or the server is stopping. Open the project again and repeat it."
        )
    return database.connection


def _take_connection(database: Database) -> sqlite3.Connection | None:
    connection, database.connection = database.connection, None
    return connection


def _read(database: Database, read: Callable[[sqlite3.Connection], T]) -> T:
    try:
        return read(_connection(database))
    except (sqlite3.Error, ValueError) as error:
        raise refusal(database.path, error) from error


def _finish(job: _Job, call: Callable[[Database], Any] | None) -> None:
    try:
        job.done.set_result(call(job.database) if call is not None else None)
    except BaseException as error:
        job.done.set_exception(error)


def _open(database: Database, migrations: Migrations) -> None:
    path = database.path
    try:
        make_file(path)
        # SQLite gives its other files the rights of the first.
        for file in database_files(path):
            keep_private(file)
        connection = sqlite3.connect(
            database.path,
            timeout=BUSY_SECONDS,
            isolation_level=None,
            cached_statements=64,
            check_same_thread=False,
        )
        try:
            connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            # Takes the exclusive lock now, not at the first change.
            connection.executescript("BEGIN IMMEDIATE; COMMIT")
            upgrade(connection, database.path, migrations)
            database.log_inode = _inode(f"{database.path}-wal")
            # Only now: a script that rebuilds a table must not set off its ON DELETE.
            connection.execute("PRAGMA foreign_keys = ON")
        except BaseException:
            connection.close()
            raise
    except (OSError, sqlite3.Error) as error:
        raise refusal(database.path, error) from error
    database.connection = connection


def _copy(database: Database, path: Path) -> None:
    try:
        copy_database(_connection(database), path)
    except (OSError, sqlite3.Error) as error:
        raise StorageFailed(
            f"{database.path} could not be copied to {path}: {error}; nothing was changed."
        ) from error


def _commit_together(database: Database, jobs: list[_Job]) -> None:
    """Commit several changes at once. One that fails by itself does not fail the others."""
    applied: list[tuple[_Job, int]] = []
    complete = False
    try:
        connection = _connection(database)
        _check_in_place(database)
        connection.execute("BEGIN IMMEDIATE")
        for job in jobs:
            connection.execute("SAVEPOINT change")
            cursor = connection.cursor()
            try:
                for sql, parameters in job.statements:
                    cursor.execute(sql, parameters)
            except sqlite3.IntegrityError as error:
                connection.execute("ROLLBACK TO change")
                job.done.set_exception(error)
            else:
                applied.append((job, cursor.lastrowid or 0))
            connection.execute("RELEASE change")
        complete = True
        connection.execute("COMMIT")
    except Exception as error:
        _roll_back(database)
        doubt = ""
        if complete and getattr(error, "sqlite_errorcode", None) not in NOT_WHOLE:
            doubt = _take_back(_connection(database))
        failure = _explain(database, error, doubt)
        for job in jobs:
            if not job.done.done():
                job.done.set_exception(failure)
        return
    for job, row in applied:
        _follow_up(job, row)


def _check_in_place(database: Database) -> None:
    """Refuse to write to a file that nobody would find again.

    SQLite itself goes on with a file that has lost its name.

    :raises StorageFailed: the file or its log was removed or replaced.
    """
    what = ""
    place: Path | str = database.path
    try:
        for place, opened in (
            (database.path, database.inode),
            (f"{database.path}-wal", database.log_inode),
        ):
            if _inode(place) != opened:
                what = f"{place} is not the file any more that this server has opened"
    except (FileNotFoundError, NotADirectoryError):
        what = f"{missing_part(Path(place))} was removed"
    except OSError as error:
        what = f"{place} cannot be found any more: {error.strerror}"
    if what:
        raise StorageFailed(
            f"The change was not written, because {what}; nothing was changed. Move back what was "
            "there. To put a copy there instead, close the project or stop the server first."
        )


def _inode(path: Path | str) -> tuple[int, int]:
    status = os.stat(path)
    return status.st_dev, status.st_ino


def _follow_up(job: _Job, row: int) -> None:
    settle = partial(job.done.set_result, None)
    try:
        if job.placing is not None:
            job.placing()
    except LabError as error:
        settle = partial(job.done.set_exception, error)
    if job.told is not None:
        job.told(row)
    settle()


def _roll_back(database: Database) -> None:
    if database.connection is not None and database.connection.in_transaction:
        # An error on a broken file must not end the thread that all files depend on.
        with suppress(sqlite3.Error):
            database.connection.rollback()


def _take_back(connection: sqlite3.Connection) -> str:
    """See to it that nobody finds a commit that has failed.

    When a sync has failed, SQLite has already written the whole commit to its log, and would find
    it there when the file is opened the next time. Another commit is written over it, which
    changes nothing: to what it is, the version of the tables.

    :returns: empty if it is certain that nothing has changed; otherwise what people should know.
    """
    try:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        connection.execute(f"PRAGMA user_version = {version}")
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorcode", None) != sqlite3.SQLITE_IOERR_FSYNC:
            return "whether it is there will be known when the server is started again"
        # It is written over, and found so unless the machine itself goes down.
        return "it was taken back, but after a loss of power it may be there all the same"
    return ""


def _explain(database: Database, error: Exception, doubt: str) -> Exception:
    if not isinstance(error, sqlite3.Error):
        return error
    reason, remedy = str(error), ""
    known = true_reason(database.path, error)
    if known is not None:
        reason, remedy = known[0], f"{known[1]} Then try again."
    elif primary_code(error) in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        remedy = (
            "The file is damaged: copy the files of the project that you want to keep, then "
            "delete it, or put back a sound copy of the file while no server runs."
        )
    elif not isinstance(error, sqlite3.OperationalError):
        return error
    outcome = doubt or "nothing was changed"
    what = f"The change could not be written to {database.path} ({reason}); {outcome}."
    return StorageFailed(f"{what} {remedy}", certain=not doubt)
