"""Looking into a database file before it is opened, without leaving a trace.

Opening rewrites a write-ahead log, and what is damaged must stay as it is for
whoever repairs it. So the file is read into memory first and tried out there.

All functions block. None may be given a file that this process has open:
closing any descriptor of it would end SQLite's locks on it.
"""

from __future__ import annotations

import errno
import fcntl
import os
import sqlite3
import stat
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, BinaryIO, TypeVar

from gns3server.errors import Conflict
from gns3server.files.reasons import obstacle, remedy
from gns3server.storage.migrations import (
    Migrations,
    NewerVersion,
    bring_up_to_date,
    is_outdated,
    version_of,
)

T = TypeVar("T")

Reader = Callable[[sqlite3.Connection], Any]
"""Reads everything in a database; raises ValueError for what no server could have stored."""

Columns = dict[str, list[Any]]
"""Name, type, whether null is allowed and place in the key of each column, by table."""

FileState = tuple[tuple[int, int, int], ...]
"""Inode, size and time of modification of a file and its log."""

BUSY_SECONDS = 0.5
"""How long to wait for another process that has the file open."""

LARGEST = 1024**3
"""Bytes of a database or its log: it is read into memory, and may come from anywhere."""

COPY_STEP = 1024 * 1024

COPY_TRIES = 5
"""How often copying is tried for a file that is being written to."""

LOG_HEADER = 32
"""Bytes at the start of a write-ahead log; changed when it is begun anew (fileformat2.html)."""

NO_ROOM_REMEDY = "Free some disk space."

DISK_REMEDY = (
    "Free some disk space, or see whether the system's log (dmesg) tells of a failing disk."
)

DATABASE_SUFFIXES = ("", "-wal", "-shm", "-journal")
"""What the names of a database's files end with (SQLite, "Temporary Files")."""

DISK_CODES = (
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_CANTOPEN,
)
"""How SQLite says that the fault is not in the file, but in the disk or directory it is on."""

LOCK_START, LOCK_LENGTH = 0x40000000, 512
"""First and number of the bytes by which processes lock each other out of a database."""

FLOCK = "hhqqi"
"""The beginning of struct flock (fcntl(2)): type, whence, start, length, pid."""


class DatabaseError(Conflict):
    """409: a file with records cannot be used.

    :param reason: what is wrong with the file, to follow its path.
    :param remedy: sentences that say what to do about it.
    """

    def __init__(self, path: Path, reason: str, remedy: str) -> None:
        self.reason = f"{path} {reason}"
        self.remedy = remedy
        super().__init__(f"{self.reason}. {remedy}")


class DatabaseMissing(DatabaseError):
    """409: there is no such file."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            missing_part(path), "is missing", "Put it back, or mount the disk that it is on."
        )


class DatabaseLocked(DatabaseError):
    """409: another process has locked the file.

    :param pid: its id, ``None`` when the kernel does not tell.
    """

    def __init__(self, path: Path, pid: int | None) -> None:
        who = f"process {pid}" if pid else "another process"
        super().__init__(path, f"is locked by {who}", "End that process.")
        self.pid = pid


def missing_part(path: Path) -> Path:
    """What is missing of a path that does not exist: the directory highest up, or the file."""
    return next((p for p in reversed(path.parents) if not os.path.exists(p)), path)


class NoRoomToExamine(Exception):
    """A file with a write-ahead log could not be copied: nothing is known about it."""


def refusal(path: Path, error: Exception) -> DatabaseError:
    """The error to raise for a file that cannot be used, given what the attempt raised."""
    if isinstance(error, sqlite3.Error) and primary_code(error) == sqlite3.SQLITE_BUSY:
        return DatabaseLocked(path, None)
    reason, help_text = str(error), "Put a sound copy in its place, from a backup for instance."
    if isinstance(error, NewerVersion):
        help_text = "Use the gns3server that wrote it, or a newer one."
    elif isinstance(error, OSError | sqlite3.Error):
        reason, help_text = true_reason(path, error) or (reason, help_text)
    return DatabaseError(path, f"cannot be used: {reason}", help_text)


def true_reason(path: Path, error: OSError | sqlite3.Error) -> tuple[str, str] | None:
    """Why a file cannot be used, and what helps; ``None`` if the fault is in the file. Blocks.

    SQLite calls most of what goes wrong a disk error.
    """
    if isinstance(error, sqlite3.Error):
        code = primary_code(error)
        if code not in DISK_CODES:
            return None
        known = obstacle(path.parent, *database_files(path))
        if code == sqlite3.SQLITE_FULL or known is None:
            return str(error), NO_ROOM_REMEDY if code == sqlite3.SQLITE_FULL else DISK_REMEDY
        error = known
    other = f" ({error.filename})" if error.filename not in (None, str(path)) else ""
    return f"{error.strerror or error}{other}", remedy(error, path)


def database_files(path: Path) -> list[Path]:
    """All files that a database may have."""
    return [path.with_name(path.name + suffix) for suffix in DATABASE_SUFFIXES]


def primary_code(error: sqlite3.Error) -> int:
    """The kind of an error of SQLite, without its details (sqlite.org/rescode.html)."""
    code: int = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
    return code & 0xFF


def columns_after(migrations: Migrations) -> Columns:
    """The columns of a file made by some migrations."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as model:
        bring_up_to_date(model, migrations)
        return _columns(model)


def check_file(
    path: Path,
    migrations: Migrations,
    read: Callable[[sqlite3.Connection], T],
    *,
    user: int | None = None,
    model: Callable[[Migrations], Columns] = columns_after,
) -> T:
    """Check that a file can be opened, brought up to date and read; returns what was read.

    :param user: a process that may have it locked: the file is read anyway, as it is then.
    :param model: tells what its tables have to be; a caller that checks many files can cache it.
    :raises DatabaseMissing: there is no file.
    :raises DatabaseLocked: another process has locked it.
    :raises DatabaseError: it cannot be used.
    :raises NoRoomToExamine: nothing could be found out.
    """
    try:
        _check_kind(path)
        in_the_way = obstacle(path.parent, *database_files(path))
        if in_the_way is not None:
            raise in_the_way
        _wait_for_lock(path, user)
        with closing(_in_memory(path)) as connection:
            return _check(connection, migrations, read, model)
    except (FileNotFoundError, NotADirectoryError):
        raise DatabaseMissing(path) from None
    except (OSError, sqlite3.Error, ValueError) as error:
        raise refusal(path, error) from error


def state_of(path: Path) -> FileState:
    """A value that changes when a file or its log is written to."""
    state = []
    for file in (path, path.with_name(f"{path.name}-wal")):
        with suppress(OSError):
            status = file.stat()
            # An empty log is as good as none.
            if status.st_size:
                state.append((status.st_ino, status.st_size, status.st_mtime_ns))
    return tuple(state)


def salvage(path: Path, sql: str) -> list[Any]:
    """The rows of a query on a damaged file, or none if they cannot be read."""
    try:
        _check_kind(path)
        with closing(_in_memory(path)) as connection:
            return connection.execute(sql).fetchall()
    except (OSError, sqlite3.Error, NoRoomToExamine):
        return []


def _check_kind(path: Path) -> None:
    """Refuse what must not be opened, or does not fit into memory.

    :raises OSError: it is missing, or no database that a server can have written.
    """
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError("it is not a regular file")
    for file in database_files(path):
        with suppress(FileNotFoundError):
            # SQLite follows no link to a log.
            status = file.stat() if file == path else file.lstat()
            if not stat.S_ISREG(status.st_mode):
                raise OSError(f"{file.name} is not a regular file")
            if status.st_size > LARGEST:
                raise OSError(errno.EFBIG, f"{file.name} has more than {LARGEST // 1024**2} MiB")


def lock_holder(path: Path) -> int | None:
    """The process that keeps others from opening a database; 0 if it cannot be seen from here.

    :raises OSError: the file cannot be opened.
    """
    wanted = struct.pack(FLOCK, fcntl.F_WRLCK, os.SEEK_SET, LOCK_START, LOCK_LENGTH, 0)
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        kind, *_, pid = struct.unpack(FLOCK, fcntl.fcntl(descriptor, fcntl.F_GETLK, wanted))
    finally:
        os.close(descriptor)
    return None if kind == fcntl.F_UNLCK else max(pid, 0)


def _wait_for_lock(path: Path, user: int | None) -> None:
    end = time.monotonic() + BUSY_SECONDS
    while (pid := lock_holder(path)) not in (None, user):
        if time.monotonic() > end:
            raise DatabaseLocked(path, pid)
        time.sleep(BUSY_SECONDS / 10)


def _in_memory(path: Path) -> sqlite3.Connection:
    """A copy, in memory, of what is in a file and its logs.

    As long as a log is not begun anew, everything that goes from it into the file is still
    in it: then the copy is whole, even if something writes to the file meanwhile.

    :raises OSError: it is written to so often that no copy is whole.
    """
    for _ in range(COPY_TRIES):
        begun = _log_header(path)
        try:
            memory = _copy_to_memory(path)
        except (sqlite3.Error, FileNotFoundError):
            if _log_header(path) == begun:
                raise
            continue
        if _log_header(path) == begun:
            return memory
        memory.close()
    raise OSError("it is written to all the time")


def _log_header(path: Path) -> bytes:
    try:
        with path.with_name(f"{path.name}-wal").open("rb") as stream:
            return stream.read(LOG_HEADER)
    except FileNotFoundError:
        return b""


def _copy_to_memory(path: Path) -> sqlite3.Connection:
    memory = sqlite3.connect(":memory:", isolation_level=None)
    try:
        with _source(path) as source:
            source.backup(memory)
    except BaseException:
        memory.close()
        raise
    return memory


@contextmanager
def _source(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection that reads a file and writes nothing beside it."""
    logs = [path.with_name(path.name + suffix) for suffix in ("-wal", "-journal")]
    logs = [log for log in logs if log.exists() and log.stat().st_size]
    if not logs:
        # Immutable: SQLite takes no locks and makes no files of its own.
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro&immutable=1", uri=True)) as source:
            yield source
        return
    # Only a connection that may write to a log can tell what it means.
    with _room() as directory:
        for file in (path, *logs):
            with file.open("rb") as stream:
                _write(stream, directory / file.name)
        with closing(sqlite3.connect(directory / path.name)) as source:
            # Otherwise it would keep an index of the log in another file.
            source.execute("PRAGMA locking_mode = EXCLUSIVE")
            # When it is closed, it writes the log into the copy, which nobody needs on the disk.
            source.execute("PRAGMA synchronous = OFF")
            yield source


@contextmanager
def _room() -> Iterator[Path]:
    """A directory for a copy, for as long as the context lasts."""
    try:
        directory = TemporaryDirectory(prefix="gns3server-")
    except OSError as error:
        raise NoRoomToExamine(str(error)) from error
    with directory as name:
        try:
            yield Path(name)
        except sqlite3.Error as error:
            if primary_code(error) in DISK_CODES:
                raise NoRoomToExamine(str(error)) from error
            raise


def _write(stream: BinaryIO, target: Path) -> None:
    while content := stream.read(COPY_STEP):
        try:
            with target.open("ab") as copy:
                copy.write(content)
        except OSError as error:
            raise NoRoomToExamine(str(error)) from error


def _check(
    connection: sqlite3.Connection,
    migrations: Migrations,
    read: Callable[[sqlite3.Connection], T],
    model: Callable[[Migrations], Columns],
) -> T:
    """Check pages, version, tables and rows; returns what was read.

    :raises sqlite3.Error, ValueError: something is not as it should be.
    """
    (problem,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
    if problem != "ok":
        raise ValueError(f"it is malformed: {problem.splitlines()[-1]}")
    outdated, found = is_outdated(connection, migrations), version_of(connection)
    there = _columns(connection)
    for table, columns in model(migrations[:found]).items():
        if table not in there:
            raise ValueError(f"it has no table {table!r}")
        if there[table] != columns:
            raise ValueError(f"its table {table!r} has other columns")
    if not found and there:
        raise ValueError("its tables are another program's")
    if outdated:
        bring_up_to_date(connection, migrations)
    return read(connection)


def _columns(connection: sqlite3.Connection) -> Columns:
    found: Columns = {}
    for table, *column in connection.execute(
        'SELECT t.name, c.name, c.type, c."notnull", c.pk '
        "FROM sqlite_schema t, pragma_table_info(t.name) c "
        "WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite%' ORDER BY t.rowid, c.cid"
    ):
        found.setdefault(table, []).append(column)
    return found
