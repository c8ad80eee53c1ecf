"""Files are looked into without a trace, and nothing in them is believed unseen."""

import os
import re
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing, nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from faults import before, full_disk, temporary_files_in
from file_trees import fill

from gns3server.storage.file_check import (
    COPY_TRIES,
    LARGEST,
    DatabaseError,
    DatabaseLocked,
    DatabaseMissing,
    NoRoomToExamine,
    check_file,
    lock_holder,
    salvage,
)
from gns3server.storage.rows import read_project, read_server
from gns3server.storage.stores import PROJECT_MIGRATIONS, SERVER_MIGRATIONS

FORMATS = Path(__file__).parent / "formats"
NODE = "b481a455-5e82-4f46-92ba-b0c1d4f9ae01"
SPEC = '{"argv": ["x"], "cwd": "/"}'


def build(
    path: Path, *statements: str, kind: str = "project", wal: bool = True, version: int = 1
) -> Path:
    """A file of a version after some statements: all of it in a log, or none."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(f"PRAGMA journal_mode = {'WAL' if wal else 'DELETE'}")
        connection.executescript((FORMATS / f"{kind}-{version}.sql").read_text())
        for statement in statements:
            connection.execute(statement)
        names = [path.name, f"{path.name}-wal"] if wal else []
        for name in names:
            shutil.copy2(path.with_name(name), path.with_name(f"kept-{name}"))
    for name in names:
        path.with_name(f"kept-{name}").rename(path.with_name(name))
    return path


def traces(directory: Path) -> dict[str, tuple[bytes, int]]:
    return {
        path.name: (path.read_bytes(), path.stat().st_mtime_ns)
        for path in [*directory.iterdir()]
        if path.is_file()
    } | {".": (b"", directory.stat().st_mtime_ns)}


@pytest.mark.parametrize("wal", [True, False])
def test_what_is_fine_is_left_as_it_is(tmp_path, wal):
    path = build(tmp_path / "project.db", wal=wal)
    before = traces(tmp_path)
    assert len(before) == (3 if wal else 2)
    check_file(path, PROJECT_MIGRATIONS, read_project)
    assert traces(tmp_path) == before


def test_an_old_file_is_brought_up_to_date_in_memory_only(tmp_path):
    path = build(tmp_path / "project.db")
    before, read = traces(tmp_path), []
    check_file(
        path,
        [*PROJECT_MIGRATIONS, "CREATE TABLE extra AS SELECT name FROM node"],
        lambda db: read.extend(db.execute("SELECT name FROM extra").fetchall()),
    )
    assert read == [("PC1",), ("PC2",)]
    assert traces(tmp_path) == before


def test_a_file_that_could_not_be_brought_up_to_date_is_refused(tmp_path):
    path = build(tmp_path / "project.db")
    with pytest.raises(DatabaseError, match="no such table: absent"):
        check_file(path, [*PROJECT_MIGRATIONS, "DROP TABLE absent"], read_project)


def test_a_journal_that_was_left_is_heeded(tmp_path):
    # Killed in the middle of a change: what the file says without its journal is not true.
    path = build(tmp_path / "project.db", wal=False)
    program = (
        "import os, sqlite3, sys; c = sqlite3.connect(sys.argv[1], isolation_level=None);"
        "c.execute('PRAGMA cache_size = 1'); c.execute('BEGIN');"
        "c.execute('UPDATE project SET name = 17');"
        "c.executemany('INSERT INTO removed_node VALUES (?, ?)',"
        " [(str(n) * 500, 'x') for n in range(200)]); os._exit(0)"
    )
    subprocess.run([sys.executable, "-I", "-c", program, str(path)], check=True)
    before = traces(tmp_path)
    assert "project.db-journal" in before
    check_file(path, PROJECT_MIGRATIONS, read_project)
    assert salvage(path, "SELECT name FROM project") == [("lab",)]
    assert traces(tmp_path) == before


def test_an_empty_file_is_fine_for_those_who_need_nothing_of_it(tmp_path):
    # What a creation leaves that was killed at once.
    path = tmp_path / "project.db"
    path.touch()
    read: list[object] = []
    check_file(path, PROJECT_MIGRATIONS, lambda db: read.append(read_project(db)))
    assert read == [None]
    assert path.read_bytes() == b""


@pytest.mark.parametrize("spare", [0, 4096, 8192, 65536, 131072])
def test_without_room_for_a_copy_nothing_is_said(tmp_path, small_disk, monkeypatch, spare):
    path = build(tmp_path / "project.db")
    before = traces(tmp_path)
    fill(small_disk / "ballast", spare)
    temporary_files_in(monkeypatch, small_disk)
    with pytest.raises(NoRoomToExamine) if spare != 131072 else nullcontext():
        check_file(path, PROJECT_MIGRATIONS, read_project)
    assert {path.name for path in small_disk.iterdir()} <= {"ballast"}
    assert traces(tmp_path) == before


def test_without_a_place_for_a_copy_nothing_is_said(tmp_path, monkeypatch):
    path = build(tmp_path / "project.db")
    before = traces(tmp_path)
    temporary_files_in(monkeypatch, tmp_path / "missing")
    with pytest.raises(NoRoomToExamine):
        check_file(path, PROJECT_MIGRATIONS, read_project)
    assert traces(tmp_path) == before


def test_where_a_copy_cannot_be_written_nothing_is_said(tmp_path):
    path = build(tmp_path / "project.db")
    before = traces(tmp_path)
    with full_disk(4096), pytest.raises(NoRoomToExamine):
        check_file(path, PROJECT_MIGRATIONS, read_project)
    assert traces(tmp_path) == before


# Rows -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("UPDATE project SET id = 'x'", "the project's id is no id: 'x'"),
        ("UPDATE project SET id = NULL", "the project's id is no id: None"),
        ("UPDATE project SET name = x'00'", "the project's name is not readable"),
        ("INSERT INTO project VALUES ('x', 'y', 0)", "it holds 2 projects"),
        ("UPDATE node SET id = '../x' WHERE number = 0", "a node's id is no id"),
        ("UPDATE node SET type = '../../..'", "cannot be a name in a directory"),
        ("UPDATE node SET type = ''", "cannot be a name in a directory"),
        ("UPDATE node SET name = x'00'", f"the name of node {NODE}"),
        ("UPDATE node SET state = 'ready'", f"the state of node {NODE}"),
        ("UPDATE node SET state = x'00'", f"the state of node {NODE}"),
        ("UPDATE stored_value SET value = '{'", f"a value of 'node' '{NODE}' is not readable"),
        ("UPDATE stored_value SET plugin = x'00'", f"a value of 'node' '{NODE}' is not readable"),
        ("UPDATE layout SET x = 'left'", f"the place of node '{NODE}' is not readable"),
        ("UPDATE layout SET symbol = x'00'", f"the place of node '{NODE}' is not readable"),
        ("UPDATE layout SET label = '[]'", f"the place of node '{NODE}' is not readable"),
        ("UPDATE node SET console = '80a'", f"the console of node {NODE}"),
        ("UPDATE node SET number = 'x'", f"the number of node {NODE}"),
        ("UPDATE node SET properties = '{'", f"the properties of node {NODE}"),
        ("UPDATE node SET properties = '[]'", f"the properties of node {NODE}"),
        ("UPDATE node SET properties = x'7b7d'", f"the properties of node {NODE}"),
        ("UPDATE nio SET fields = '7'", f"a wire of node {NODE}"),
        ("UPDATE nio SET port = 'x'", f"a wire of node {NODE}"),
        ("UPDATE nio SET type = x'00'", f"a wire of node {NODE}"),
        ("UPDATE staged_file SET name = '../x'", "cannot be a name in a directory"),
        ("UPDATE staged_file SET content = 'x'", "a file of node"),
        ("INSERT INTO run VALUES ('r', 'node', 'n', '{}', '[]')", "not a stored launch spec"),
        ("INSERT INTO run VALUES ('r', 'node', 'n', '[]', '[]')", "run r is not readable"),
        (f"INSERT INTO run VALUES ('r', 'node', 'n', '{SPEC}', '{{}}')", "run r is not readable"),
        (f"INSERT INTO run VALUES ('r', 'node', 'n', '{SPEC}', '[1]')", "run r is not readable"),
        (f"INSERT INTO run VALUES ('r', 'node', 'n', '{SPEC}', '[{{}}]')", "run r is not readable"),
        ("UPDATE removed_node SET type = '../..'", "cannot be a name in a directory"),
        ("UPDATE removed_node SET id = '..'", "a removed node's id is no id"),
    ],
)
def test_a_row_that_no_server_has_stored_is_named(tmp_path, statement, reason):
    path = build(tmp_path / "project.db", statement, version=len(PROJECT_MIGRATIONS))
    before = traces(tmp_path)
    with pytest.raises(DatabaseError) as refused:
        check_file(path, PROJECT_MIGRATIONS, read_project)
    assert reason in refused.value.reason
    assert refused.value.reason.startswith(str(path))
    assert traces(tmp_path) == before


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("UPDATE project SET id = 'x'", "a project's id is no id"),
        ("UPDATE project SET path = 'relative' || id", "a project's path is not absolute"),
        ("UPDATE project SET path = CAST(id AS BLOB)", "a project's path is not readable"),
        ("UPDATE stored_value SET value = '{'", "a value of 'server' '' is not readable"),
        ("UPDATE stored_value SET key = x'00'", "a value of 'server' '' is not readable"),
    ],
)
def test_a_place_that_no_server_has_stored_is_named(tmp_path, statement, reason):
    first = "DELETE FROM project WHERE open = 0"
    newest = len(SERVER_MIGRATIONS)
    path = build(tmp_path / "server.db", first, statement, kind="server", version=newest)
    with pytest.raises(DatabaseError, match=reason):
        check_file(path, SERVER_MIGRATIONS, read_server)


# Files ------------------------------------------------------------------------------------


def test_what_is_missing_is_named(tmp_path):
    with pytest.raises(DatabaseMissing, match=r"project\.db is missing"):
        check_file(tmp_path / "project.db", PROJECT_MIGRATIONS, read_project)
    with pytest.raises(DatabaseMissing, match="/a is missing"):
        check_file(tmp_path / "a" / "b" / "project.db", PROJECT_MIGRATIONS, read_project)


@pytest.fixture
def public():
    """A directory that every user may search; those of pytest are closed."""
    with TemporaryDirectory() as directory:
        os.chmod(directory, 0o755)
        yield Path(directory)


FORBIDDEN = "project.db cannot be used: Permission denied"


@pytest.mark.parametrize(
    ("closed", "mode", "reason"),
    [
        ("project.db", 0, FORBIDDEN),
        ("project.db", 0o400, FORBIDDEN),
        ("project.db-wal", 0o400, rf"{FORBIDDEN} \(.*/project\.db-wal\)"),
        ("", 0o555, rf"{FORBIDDEN} \(.*/lab\)"),
        ("", 0, FORBIDDEN),
    ],
)
def test_a_permission_that_is_missing_is_called_so(public, closed, mode, reason):
    (public / "lab").mkdir()
    path = build(public / "lab" / "project.db")
    path.with_name("project.db-wal").touch()
    place = path.parent / closed if closed else path.parent
    if os.getuid() == 0:
        # The program below runs as another user, who has all but this place.
        for other in {path.parent, *path.parent.iterdir()} - {place}:
            os.chown(other, 65534, 65534)
    place.chmod(mode)
    program = (
        "import sys; from pathlib import Path; from gns3server.storage.file_check import *;"
        "from gns3server.storage.stores import PROJECT_MIGRATIONS;"
        "from gns3server.storage.rows import read_project;"
        "import os; os.getuid() or os.setuid(65534);"
        "check_file(Path(sys.argv[1]), PROJECT_MIGRATIONS, read_project)"
    )
    result = subprocess.run(
        [sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=False
    )
    place.chmod(0o700)
    assert re.search(reason, result.stderr)
    # It is root's if root runs the tests, and another user the program.
    mends = [f"chmod u+x {place}", f"chmod u+rwX {place}", f"chmod o+x {place}"]
    mends.append(f"{place} belongs to root: give it to the server's user (chown ")
    assert any(mend in result.stderr for mend in mends)


def test_a_file_system_that_is_read_only_is_called_so(tmp_path, monkeypatch):
    path = build(tmp_path / "project.db")
    ask = os.statvfs

    def answer(place):
        disk = list(ask(place))
        disk[8] |= os.ST_RDONLY
        return os.statvfs_result(disk)

    monkeypatch.setattr(os, "statvfs", answer)
    with pytest.raises(DatabaseError, match="Read-only file system") as refused:
        check_file(path, PROJECT_MIGRATIONS, read_project)
    assert "mount -o remount,rw" in refused.value.remedy


def test_who_has_a_file_is_named(tmp_path):
    path = build(tmp_path / "project.db", wal=False)
    assert lock_holder(path) is None
    program = (
        "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute('BEGIN EXCLUSIVE');"
        "print(flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-I", "-c", program, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"\n"
        assert lock_holder(path) == process.pid
        for user in (None, process.pid + 1):
            with pytest.raises(DatabaseLocked, match=f"locked by process {process.pid}"):
                check_file(path, PROJECT_MIGRATIONS, read_project, user=user)
        stored = check_file(path, PROJECT_MIGRATIONS, read_project, user=process.pid)
        assert stored is not None
        assert [node.name for node in stored.nodes] == ["PC1", "PC2"]
        process.communicate()
    check_file(path, PROJECT_MIGRATIONS, read_project)


@pytest.mark.parametrize("wal", [True, False])
def test_a_copy_that_was_overtaken_is_made_again(tmp_path, wal):
    path, overtaken = build(tmp_path / "project.db", wal=wal), COPY_TRIES - 1
    with closing(sqlite3.connect(path, isolation_level=None)) as writer:
        writer.execute("PRAGMA journal_mode = WAL")

        def overtake():
            if len(copies) <= overtaken:
                # All of the log goes into the file, and the log is begun anew.
                writer.execute("PRAGMA wal_checkpoint(RESTART)")
                writer.execute(f"UPDATE project SET name = 'name {len(copies)}'")

        with before("connect", ":memory:", overtake, of=sqlite3) as copies:
            stored = check_file(path, PROJECT_MIGRATIONS, read_project)
        assert stored is not None
        assert stored.name == f"name {overtaken}"
        overtaken = COPY_TRIES
        with (
            before("connect", ":memory:", overtake, of=sqlite3) as copies,
            pytest.raises(DatabaseError, match="it is written to all the time"),
        ):
            check_file(path, PROJECT_MIGRATIONS, read_project)
        assert len(copies) == COPY_TRIES


@pytest.mark.parametrize("name", ["project.db", "project.db-wal"])
def test_a_file_that_does_not_fit_into_memory_is_refused(tmp_path, name):
    path = build(tmp_path / "project.db")
    with (tmp_path / name).open("ab") as stream:
        # A hole: it takes no room on the disk.
        stream.truncate(LARGEST + 1)
    with pytest.raises(DatabaseError, match=f"{name} has more than 1024 MiB"):
        check_file(path, PROJECT_MIGRATIONS, read_project)
    assert salvage(path, "SELECT name FROM node") == []


@pytest.mark.parametrize("make", [os.mkfifo, lambda log: log.symlink_to("elsewhere")])
def test_a_log_that_is_a_pipe_or_a_link_is_refused(tmp_path, make):
    path = build(tmp_path / "project.db", wal=False)
    (tmp_path / "elsewhere").write_bytes(b"content")
    make(tmp_path / "project.db-wal")
    with pytest.raises(DatabaseError, match=r"project\.db-wal is not a regular file"):
        check_file(path, PROJECT_MIGRATIONS, read_project)
    assert salvage(path, "SELECT name FROM node") == []


def test_what_can_be_salvaged(tmp_path):
    path = build(tmp_path / "project.db", "DROP TABLE nio", wal=False)
    assert salvage(path, "SELECT name FROM node") == [("PC1",), ("PC2",)]
    assert salvage(path, "SELECT * FROM nio") == []
    path.write_bytes(b"noise" * 1000)
    assert salvage(path, "SELECT name FROM node") == []
    path.unlink()
    assert salvage(path, "SELECT name FROM node") == []
    os.mkfifo(path)
    assert salvage(path, "SELECT name FROM node") == []
