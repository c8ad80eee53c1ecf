"""The database thread: durable, grouped, all or nothing, and never two servers on one file."""

import asyncio
import os
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing

import pytest
from faults import full_disk, held
from file_trees import fill

from gns3server.errors import StorageFailed
from gns3server.storage.database import Database, DatabaseThread
from gns3server.storage.file_check import DatabaseError

TABLES = "CREATE TABLE item (id INTEGER PRIMARY KEY, text TEXT NOT NULL)"
INSERT = "INSERT INTO item VALUES (?, ?)"


@pytest.fixture
async def database(thread, tmp_path):
    return await thread.open(tmp_path / "test.db", [TABLES])


async def ids(thread: DatabaseThread, database: Database) -> list[int]:
    return [row[0] for row in await thread.read(database, "SELECT id FROM item ORDER BY id")]


# Durable --------------------------------------------------------------------------


async def test_what_was_committed_is_there_for_the_next_server(tmp_path):
    for number in range(3):
        thread = DatabaseThread()
        database = await thread.open(tmp_path / "test.db", [TABLES])
        assert await ids(thread, database) == [*range(number)]
        await thread.commit(database, (INSERT, (number, "x")))
        await thread.close_database(database)
        await thread.close()


async def test_files_are_kept_as_the_design_asks(thread, database):
    pragmas = ["journal_mode", "synchronous", "locking_mode", "foreign_keys", "user_version"]
    values = [(await thread.read(database, f"PRAGMA {name}"))[0][0] for name in pragmas]
    assert values == ["wal", 2, "exclusive", 1, 1]


async def test_closing_the_thread_finishes_what_is_queued(tmp_path):
    thread = DatabaseThread()
    database = await thread.open(tmp_path / "test.db", [TABLES])
    with held(thread):
        change = asyncio.ensure_future(thread.commit(database, (INSERT, (1, "x"))))
        await asyncio.sleep(0)
        closing = asyncio.ensure_future(thread.close())
        await asyncio.sleep(0)
    await asyncio.gather(closing, change)
    assert "database" not in {thread.name for thread in threading.enumerate()}
    with sqlite3.connect(tmp_path / "test.db") as connection:
        assert connection.execute("SELECT id FROM item").fetchall() == [(1,)]
    connection.close()


async def test_a_change_whose_client_went_away_is_made_all_the_same(thread, database):
    with held(thread):
        change = asyncio.ensure_future(thread.commit(database, (INSERT, (1, "x"))))
        await asyncio.sleep(0)
        change.cancel()
        await asyncio.sleep(0)
        # It cannot be called back, and whoever asked for it must know what has become of it.
        assert not change.done()
    with pytest.raises(asyncio.CancelledError):
        await change
    assert await ids(thread, database) == [1]


# Grouped --------------------------------------------------------------------------


async def test_changes_that_queue_up_share_one_commit(thread, database, tmp_path):
    other = await thread.open(tmp_path / "other.db", [TABLES])
    before = thread.commits
    with held(thread) as begun:
        await asyncio.to_thread(begun.wait)
        changes = [
            asyncio.ensure_future(thread.commit(where, (INSERT, (number, "x"))))
            for number in range(50)
            for where in (database, other)
        ]
        await asyncio.sleep(0)
    await asyncio.gather(*changes)
    assert thread.commits == before + 2
    assert await ids(thread, database) == await ids(thread, other) == [*range(50)]


async def test_a_read_sees_the_changes_that_were_queued_before_it(thread, database):
    with held(thread):
        first = asyncio.ensure_future(thread.commit(database, (INSERT, (1, "x"))))
        await asyncio.sleep(0)
        reading = asyncio.ensure_future(ids(thread, database))
        await asyncio.sleep(0)
        second = asyncio.ensure_future(thread.commit(database, (INSERT, (2, "x"))))
        await asyncio.sleep(0)
    assert await reading == [1]
    await asyncio.gather(first, second)


async def test_a_change_that_fails_does_not_take_others_along(thread, database):
    with held(thread):
        changes = [
            asyncio.ensure_future(thread.commit(database, *statements))
            for statements in (
                [(INSERT, (1, "x"))],
                [(INSERT, (2, "x")), (INSERT, (1, "again"))],
                [(INSERT, (3, None))],
                [(INSERT, (4, "x")), (INSERT, (5, "x"))],
            )
        ]
        await asyncio.sleep(0)
    results = await asyncio.gather(*changes, return_exceptions=True)
    assert [type(result) for result in results] == [
        type(None),
        sqlite3.IntegrityError,
        sqlite3.IntegrityError,
        type(None),
    ]
    assert await ids(thread, database) == [1, 4, 5]


# Failing --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "cure"),
    [
        # The first makes SQLite see a read-only file, the second a full disk.
        ("PRAGMA query_only = ON", "PRAGMA query_only = OFF"),
        ("PRAGMA max_page_count = 1", "PRAGMA max_page_count = 1000000"),
    ],
)
async def test_a_change_that_cannot_be_written_changes_nothing(thread, database, fault, cure):
    await thread.commit(database, (INSERT, (1, "x")))
    await thread.read(database, fault)
    with pytest.raises(StorageFailed) as failed:
        await thread.commit(database, (INSERT, (2, "x")), (INSERT, (3, "x" * 100_000)))
    assert str(database.path) in failed.value.message
    assert "nothing was changed" in failed.value.message
    assert await ids(thread, database) == [1]
    await thread.read(database, cure)
    await thread.commit(database, (INSERT, (4, "x" * 100_000)))
    assert await ids(thread, database) == [1, 4]


async def test_a_disk_that_takes_no_more_is_survived(thread, database):
    await thread.commit(database, (INSERT, (1, "x")))
    with full_disk():
        with pytest.raises(StorageFailed):
            await thread.commit(database, (INSERT, (2, "x")))
        assert await ids(thread, database) == [1]
    await thread.commit(database, (INSERT, (3, "x")))
    assert await ids(thread, database) == [1, 3]


async def test_a_disk_that_is_full_is_survived(thread, small_disk):
    database = await thread.open(small_disk / "test.db", [TABLES])
    await thread.commit(database, (INSERT, (1, "x")))
    ballast = small_disk / "ballast"
    fill(ballast)
    with pytest.raises(StorageFailed):
        await thread.commit(database, (INSERT, (2, "x" * 10_000)))
    assert await ids(thread, database) == [1]
    ballast.unlink()
    await thread.commit(database, (INSERT, (3, "x" * 10_000)))
    assert await ids(thread, database) == [1, 3]
    await thread.close_database(database)


async def test_a_failure_of_one_file_leaves_the_others_alone(thread, database, tmp_path):
    other = await thread.open(tmp_path / "other.db", [TABLES])
    await thread.read(database, "PRAGMA query_only = ON")
    with held(thread):
        changes = [
            asyncio.ensure_future(thread.commit(where, (INSERT, (1, "x"))))
            for where in (database, other)
        ]
        await asyncio.sleep(0)
    failed, fine = await asyncio.gather(*changes, return_exceptions=True)
    assert isinstance(failed, StorageFailed)
    assert fine is None


async def test_a_closed_file_takes_no_changes(thread, database):
    await thread.close_database(database)
    await thread.close_database(database)
    with pytest.raises(StorageFailed, match="is closed"):
        await thread.commit(database, (INSERT, (1, "x")))
    with pytest.raises(StorageFailed, match="is closed"):
        await ids(thread, database)


# Opening --------------------------------------------------------------------------


async def test_a_file_that_is_slow_to_close_holds_up_no_other(thread, database, tmp_path):
    """When a server stops, SQLite waits for the disk once or twice for every project."""
    slow = await thread.open(tmp_path / "slow.db", [TABLES])
    begun, may_end = threading.Event(), threading.Event()

    class SlowConnection:
        def __init__(self, connection: sqlite3.Connection) -> None:
            self._connection = connection

        def close(self) -> None:
            begun.set()
            assert may_end.wait(60)
            self._connection.close()

    slow.connection = SlowConnection(slow.connection)
    closing = asyncio.ensure_future(thread.close_database(slow))
    try:
        assert await asyncio.to_thread(begun.wait, 60)
        await thread.commit(database, (INSERT, (1, "x")))
        assert not closing.done()
    finally:
        may_end.set()
    await closing
    assert await ids(thread, await thread.open(tmp_path / "slow.db", [TABLES])) == []


async def test_a_second_opener_is_refused(thread, database):
    second = DatabaseThread()
    with pytest.raises(DatabaseError, match="locked"):
        await second.open(database.path, [TABLES])
    await second.close()
    await thread.commit(database, (INSERT, (1, "x")))


async def test_a_file_has_one_opener_whatever_its_name(thread, database, tmp_path):
    # Closing either would let go of the locks of both.
    (tmp_path / "other.db").hardlink_to(database.path)
    with pytest.raises(DatabaseError, match=r"other\.db is already open in this server"):
        await thread.open(tmp_path / "other.db", [TABLES])
    second = DatabaseThread()
    with pytest.raises(DatabaseError, match="locked"):
        await second.open(database.path, [TABLES])
    await second.close()


async def test_a_program_outside_is_refused_until_the_file_is_closed(thread, database):
    program = (
        f"import sqlite3; c = sqlite3.connect({str(database.path)!r}, timeout=0);"
        "c.execute('INSERT INTO item VALUES (1, 2)'); c.commit(); c.close()"
    )

    def insert() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-I", "-c", program], capture_output=True, text=True, check=False
        )

    assert "database is locked" in (await asyncio.to_thread(insert)).stderr
    await thread.close_database(database)
    assert (await asyncio.to_thread(insert)).returncode == 0


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"no database " * 1000, "not a database"), (None, "not a regular file")],
)
async def test_a_file_that_is_no_database_is_named(thread, tmp_path, content, reason):
    path = tmp_path / "test.db"
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content)
    with pytest.raises(DatabaseError, match=reason) as refused:
        await thread.open(path, [TABLES])
    assert str(path) in str(refused.value)
    if content is not None:
        assert path.read_bytes() == content


async def test_a_file_that_lacks_its_tables_is_named(thread, tmp_path):
    with closing(sqlite3.connect(tmp_path / "test.db")) as connection:
        connection.execute("PRAGMA user_version = 1")
    with pytest.raises(DatabaseError, match=r"test\.db cannot be used: it has no table 'item'"):
        await thread.open(tmp_path / "test.db", [TABLES])


async def test_a_file_that_is_refused_once_it_is_locked_is_let_go(thread, tmp_path):
    path = tmp_path / "test.db"
    await thread.close_database(await thread.open(path, [TABLES]))
    reads = []

    def read(connection: sqlite3.Connection) -> None:
        reads.append(connection)
        # Somebody writes to it after it was examined: it is read again, and is damaged now.
        os.utime(path)
        if len(reads) > 1:
            raise ValueError("it makes no sense")

    with pytest.raises(DatabaseError, match="it makes no sense"):
        await thread.open(path, [TABLES], read=read)
    assert len(reads) == 2
    await thread.close_database(await thread.open(path, [TABLES]))
