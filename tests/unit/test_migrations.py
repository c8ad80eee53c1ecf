"""Files of every version that was ever released: read, brought up to date, or left alone."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from api_calls import ID

from gns3server.calls import on_behalf_of
from gns3server.events import EventBus
from gns3server.http.notifications import replayed
from gns3server.nodes.store import Store
from gns3server.running.identity import ProcessIdentity
from gns3server.running.spec import LaunchSpec, Port
from gns3server.storage.file_check import DatabaseError
from gns3server.storage.link_rows import CaptureRow, LinkEndRow, LinkRow
from gns3server.storage.migrations import Migrations
from gns3server.storage.rows import NioRow, NodeLayout, NodeRow, Owner, ProjectPlace, RunRow
from gns3server.storage.stores import (
    PROJECT_MIGRATIONS,
    SERVER_MIGRATIONS,
    ProjectStore,
    ServerStore,
)

FORMATS = Path(__file__).parent / "formats"
"""A dump of each kind of file for each version: what a server of that version has written."""

FIRST, SECOND, THIRD = (
    "b481a455-5e82-4f46-92ba-b0c1d4f9ae01",
    "7a3a4c12-0d2f-4d7e-8f6b-52c7d0a1be02",
    "3c1e7a55-9d0b-4a6e-8c77-1f2e3d4c5b03",
)
LINK = "5b1f2c7e-6c1d-4d0e-9b6a-0d9a4b1c7e21"

ONE = "CREATE TABLE item (id INTEGER PRIMARY KEY, text TEXT NOT NULL)"
TWO = "ALTER TABLE item ADD COLUMN size INTEGER NOT NULL DEFAULT 7"
THREE = "CREATE TABLE other (x); INSERT INTO other SELECT text || size FROM item"


def released(kind: str, migrations: Migrations) -> list[Any]:
    """One case a version."""
    return [pytest.param(kind, n, id=f"{kind}-{n}") for n in range(1, len(migrations) + 1)]


def build(path: Path, kind: str, version: int) -> Path:
    """Make the file that a dump describes, in WAL mode as the server's are."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.executescript((FORMATS / f"{kind}-{version}.sql").read_text())
    return path


def schema(path: Path) -> list[tuple[str, str]]:
    """Each table and index with its columns."""
    with closing(sqlite3.connect(path)) as connection:
        names = connection.execute("SELECT name FROM sqlite_schema ORDER BY name").fetchall()
        return [
            (n, str(connection.execute(f"PRAGMA table_xinfo('{n}')").fetchall())) for (n,) in names
        ]


@pytest.fixture
async def make(thread, tmp_path):
    """Makes a file by scripts and puts a row into its first table; tells the path."""

    async def make(*migrations: str) -> Path:
        path: Path = tmp_path / "test.db"
        database = await thread.open(path, migrations)
        await thread.commit(database, ("INSERT INTO item (id, text) VALUES (1, 'x')", ()))
        await thread.close_database(database)
        return path

    return make


# Released versions ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "version"),
    [*released("project", PROJECT_MIGRATIONS), *released("server", SERVER_MIGRATIONS)],
)
async def test_a_file_of_every_version_becomes_what_a_new_one_is(thread, tmp_path, kind, version):
    migrations = {"project": PROJECT_MIGRATIONS, "server": SERVER_MIGRATIONS}[kind]
    old, new = build(tmp_path / "old.db", kind, version), tmp_path / "new.db"
    for path in (old, new):
        await thread.close_database(await thread.open(path, migrations))
    assert schema(old) == schema(new)
    assert (tmp_path / f"old.db.v{version}").exists() is (version < len(migrations))


@pytest.mark.parametrize("version", range(1, len(PROJECT_MIGRATIONS) + 1))
async def test_all_of_a_project_of_every_version_is_read(thread, tmp_path, version):
    build(tmp_path / "project.db", "project", version)
    records = await ProjectStore.load(thread, tmp_path)
    assert (await records.stored()).id == ID
    stored = await records.stored()
    assert (stored.name, stored.temporary) == ("lab", False)
    assert stored.nodes == [
        NodeRow(
            id=FIRST,
            type="toy",
            name="PC1",
            console=4512,
            number=0,
            properties={"note": "a \u2192 b"},
        ),
        NodeRow(id=SECOND, type="toy", name="PC2", console=4513, number=None, properties={}),
    ]
    nio = NioRow("nio_udp", {"lport": 10000, "rhost": "127.0.0.1", "rport": 10001})
    assert stored.nios == {FIRST: {(1, 1): nio}}
    assert stored.staged_files == {("toy", SECOND): {"startup": b"echo hi\n"}}
    home = "/srv/labs/lab"
    spec = LaunchSpec(
        argv=("/usr/bin/toy", "4512"),
        cwd=f"{home}/project-files/toy/{FIRST}",
        ports=(Port("tcp", 4512),),
    )
    running = ProcessIdentity(4321, 987654, "0c0ffee0-1111-4222-8333-444455556666")
    meant = LaunchSpec(argv=("/usr/bin/toy",), cwd=home)
    assert stored.runs == [
        RunRow(
            id="9f1d3c2b4a59687786a5b4c3d2e1f003",
            owner=Owner("node", FIRST),
            spec=spec,
            processes=(running,),
        ),
        RunRow(id="9f1d3c2b4a59687786a5b4c3d2e1f004", owner=Owner("node", SECOND), spec=meant),
    ]
    assert stored.allocated_ports == [10002]
    assert stored.removed_nodes == [("toy", THIRD)]
    kept = {(Owner("node", FIRST), "toy"): {"place": {"x": 1}}}
    assert stored.values == (kept if version >= 3 else {})
    place = NodeLayout(x=-260.5, y=10.0, z=1.0, symbol="router", label={"text": "R1"})
    assert stored.layout == ({FIRST: place} if version >= 4 else {})
    link = LinkRow(
        id=LINK,
        ends=(
            LinkEndRow(node_id=FIRST, adapter=0, port=0, local=10003, relay=20000),
            LinkEndRow(node_id=SECOND, adapter=0, port=1, local=10004, relay=19999),
        ),
        wanted="auto",
        path="relayed",
        suspended=True,
        filters={"delay": {"latency": 10}},
        seed=7,
    )
    capture = CaptureRow(file="uplink.pcap", snapshot_length=96, max_bytes=1048576)
    assert stored.links == ([link] if version >= 5 else [])
    assert stored.captures == ({LINK: capture} if version >= 5 else {})


@pytest.mark.parametrize("version", range(1, len(PROJECT_MIGRATIONS) + 1))
async def test_the_events_of_a_project_of_every_version_are_read(thread, tmp_path, version):
    build(tmp_path / "project.db", "project", version)
    records = await ProjectStore.load(thread, tmp_path)
    await records.events.open(lambda _: None, EventBus().publish, 10)
    lines = [
        json.loads(line) async for line in replayed(records.events.since(40 if version >= 2 else 0))
    ]
    assert lines == [
        {"action": "vm.created", "event": {"name": "Zürich"}, "seq": 41},
        {"action": "log.error", "event": {"message": "a\nb"}, "seq": 42},
    ] * (version >= 2)


@pytest.mark.parametrize("version", range(1, len(SERVER_MIGRATIONS) + 1))
async def test_all_places_of_every_version_are_read(thread, tmp_path, version):
    build(tmp_path / "server.db", "server", version)
    records = await ServerStore.load(thread, tmp_path)
    assert records.found.places == [
        ProjectPlace(
            id=ID,
            path=Path("/srv/labs/lab"),
            given="/srv/labs/lab" if version < 3 else "/home/user/labs/../lab/",
            open=True,
            made_directory=True,
        ),
        ProjectPlace(
            id="ffffffff-0405-0607-0809-0a0b0c0d0e0f",
            path=Path("/home/user/old lab"),
            given="/home/user/old lab",
            open=False,
            made_directory=False,
        ),
    ]
    with on_behalf_of("toy"):
        seen = await Store(records, Owner("server", "")).get("seen")
    assert seen == ([1, 2] if version >= 2 else None)


# Bringing up to date ----------------------------------------------------------------------


@pytest.mark.parametrize("old", [[ONE], [ONE, TWO]])
async def test_every_missing_script_is_run_and_the_old_file_is_kept(thread, make, old):
    path = await make(ONE)
    await thread.close_database(await thread.open(path, old))
    database = await thread.open(path, [ONE, TWO, THREE])
    assert await thread.read(database, "SELECT * FROM item, other") == [(1, "x", 7, "x7")]
    with closing(sqlite3.connect(f"{path}.v{len(old)}")) as connection:
        row = (1, "x") if len(old) == 1 else (1, "x", 7)
        assert connection.execute("SELECT * FROM item").fetchall() == [row]
        assert connection.execute("PRAGMA user_version").fetchone() == (len(old),)


async def test_a_new_file_has_nothing_to_keep(thread, tmp_path):
    await thread.open(tmp_path / "test.db", [ONE, TWO, THREE])
    assert {path.name for path in tmp_path.iterdir()} == {"test.db", "test.db-wal"}


async def test_an_earlier_copy_is_never_overwritten(thread, make):
    path = await make(ONE)
    for name in ("test.db.v1", "test.db.v1-2"):
        path.with_name(name).write_text("precious")
    await thread.open(path, [ONE, TWO])
    assert path.with_name("test.db.v1").read_text() == "precious"
    assert path.with_name("test.db.v1-2").read_text() == "precious"
    with closing(sqlite3.connect(path.with_name("test.db.v1-3"))) as connection:
        assert connection.execute("SELECT * FROM item").fetchall() == [(1, "x")]


async def test_a_script_that_fails_changes_nothing(thread, make):
    path = await make(ONE)
    before = path.read_bytes()
    with pytest.raises(DatabaseError, match=r"test\.db cannot be used: no such table: absent"):
        await thread.open(path, [ONE, TWO, "INSERT INTO absent VALUES (1)"])
    assert path.read_bytes() == before
    assert [*path.parent.iterdir()] == [path]
    database = await thread.open(path, [ONE])
    assert await thread.read(database, "SELECT * FROM item") == [(1, "x")]


async def test_a_script_that_fails_in_a_new_file_leaves_nothing_half_made(thread, tmp_path):
    path = tmp_path / "test.db"
    with pytest.raises(DatabaseError):
        await thread.open(path, ["CREATE TABLE a (x); CREATE TABLE nonsense"])
    database = await thread.open(path, ["CREATE TABLE a (x)"])
    assert await thread.read(database, "SELECT * FROM a") == []


async def test_without_a_copy_nothing_is_changed(thread, make):
    path = await make(ONE)
    before = path.read_bytes()
    path.with_name("test.db.v1.part").mkdir()
    with pytest.raises(DatabaseError, match=r"test\.db cannot be used: .*test\.db\.v1\.part"):
        await thread.open(path, [ONE, TWO])
    assert path.read_bytes() == before


async def test_a_newer_file_is_refused_and_not_touched(thread, make):
    path = await make(ONE, TWO, THREE)
    before = path.read_bytes()
    with pytest.raises(DatabaseError, match="is version 3, this server reads versions up to 2"):
        await thread.open(path, [ONE, TWO])
    assert path.read_bytes() == before


async def test_tables_can_be_rebuilt_without_losing_what_refers_to_them(thread, tmp_path):
    path = tmp_path / "test.db"
    two_tables = f"{ONE}; CREATE TABLE part (id REFERENCES item (id) ON DELETE CASCADE)"
    database = await thread.open(path, [two_tables])
    await thread.commit(
        database, ("INSERT INTO item VALUES (1, 'x')", ()), ("INSERT INTO part VALUES (1)", ())
    )
    await thread.close_database(database)
    rebuild = (
        "CREATE TABLE new (id INTEGER PRIMARY KEY); INSERT INTO new SELECT id FROM item;"
        "DROP TABLE item; ALTER TABLE new RENAME TO item"
    )
    database = await thread.open(path, [two_tables, rebuild])
    assert await thread.read(database, "SELECT * FROM part") == [(1,)]
    assert await thread.read(database, "PRAGMA foreign_keys") == [(1,)]
