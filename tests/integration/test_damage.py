"""Damage is contained: one bad project is told of and kept, everything else goes on."""

import asyncio
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest
from api_calls import ID, PROJECT
from file_trees import fill

from gns3server.running.procfs import RUN_ID_VARIABLE
from gns3server.storage.database import DatabaseThread
from gns3server.storage.rows import NodeRow, ProjectPlace
from gns3server.storage.stores import ProjectStore, ServerStore

pytestmark = pytest.mark.heavy

FINE = "ffffffff-0405-0607-0809-0a0b0c0d0e0f"
NODE = "b481a455-5e82-4f46-92ba-b0c1d4f9ae01"
DAMAGED = "/v1/projects/damaged"


def log_kept(file: Path, change: Callable[[sqlite3.Connection], Any]) -> None:
    """Change a database and leave it as after a kill: with the change in its log only."""
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        change(connection)
        connection.commit()
        for suffix in ("", "-wal"):
            shutil.copy2(f"{file}{suffix}", f"{file}{suffix}.kept")
    for suffix in ("", "-wal"):
        os.replace(f"{file}{suffix}.kept", f"{file}{suffix}")


@pytest.fixture
async def lab(gns3_settings, tmp_path) -> Path:
    """The directory of a project with a node, which a server had open with another project."""
    first = gns3_settings.server.console_start_port_range
    thread = DatabaseThread()
    gns3_settings.state_path.mkdir()
    server = await ServerStore.load(thread, gns3_settings.state_path)
    for number, (project_id, name) in enumerate([(ID, "lab"), (FINE, "fine")]):
        path: Path = tmp_path / name
        (path / "project-files" / "toy").mkdir(parents=True)
        records = await ProjectStore.load(thread, path)
        node = NodeRow(
            id=NODE if name == "lab" else NODE.replace("b", "c"),
            type="toy",
            name="PC",
            console=first + number,
            number=number,
            properties={"mode": "good"},
        )
        async with records.change() as change:
            change.save_project(project_id, name, temporary=False)
            change.save_node(node)
        await records.close()
        place = ProjectPlace(
            id=project_id, path=path, given=str(path), open=True, made_directory=True
        )
        await server.save(place)
    await thread.close()
    return Path(tmp_path, "lab")


def sql(statement: str) -> Callable[[Path], None]:
    """Damage by a statement, committed to the log."""
    return lambda file: log_kept(file, lambda connection: connection.execute(statement))


def overwrite(offset: int, size: int) -> Callable[[Path], None]:
    def noise(file: Path) -> None:
        with file.open("r+b") as stream:
            stream.seek(offset)
            stream.write(bytes(range(1, 256)) * (size // 255))

    return noise


def replace_by(make: Callable[[Path], Any]) -> Callable[[Path], None]:
    """Damage by something else in the file's place."""

    def replace(file: Path) -> None:
        file.unlink()
        make(file)

    return replace


def without_tables(file: Path) -> None:
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA user_version = 1")


def another_programs(file: Path) -> None:
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("CREATE TABLE diary (entry TEXT)")


def lose_log(file: Path) -> None:
    log_kept(file, lambda connection: connection.execute("VACUUM"))
    os.truncate(file, 4096)
    file.with_name(f"{file.name}-wal").unlink()


def half_a_link(file: Path) -> None:
    link = "5b1f2c7e-6c1d-4d0e-9b6a-0d9a4b1c7e21"
    sql(f"INSERT INTO link VALUES ('{link}', 'auto', 'direct', 0, '{{}}', 1)")(file)


DAMAGES: dict[str, tuple[Callable[[Path], Any], str]] = {
    "truncated": (lambda file: os.truncate(file, file.stat().st_size // 2), "malformed"),
    "emptied": (lambda file: os.truncate(file, 0), "holds the records of no project"),
    "noise": (overwrite(0, 8192), "not a database"),
    "noise in one page": (overwrite(4096, 2048), "malformed"),
    "its log was lost": (lose_log, "malformed"),
    "newer": (sql("PRAGMA user_version = 99"), "version 99"),
    "no tables": (replace_by(without_tables), "no table 'project'"),
    "not ours": (replace_by(another_programs), "another program's"),
    "a table is gone": (sql("DROP TABLE removed_node"), "no table 'removed_node'"),
    "other columns": (sql("ALTER TABLE node ADD COLUMN colour"), "table 'node' has other columns"),
    "no JSON": (sql("UPDATE node SET properties = '{'"), f"properties of node {NODE} is not"),
    "a link of one end": (half_a_link, "link '.*' does not have two ends"),
    "a directory": (replace_by(Path.mkdir), "not a regular file"),
    "a pipe": (replace_by(os.mkfifo), "not a regular file"),
    "a link in a circle": (replace_by(lambda file: file.symlink_to(file.name)), "[Ll]evels|loop"),
    "gone": (Path.unlink, "project.db is missing"),
    "gone with its directory": (lambda file: shutil.rmtree(file.parent), "lab is missing"),
}


def traces(directory: Path) -> dict[str, tuple[Any, ...]]:
    """The records as they are: content, kind and time of each file."""
    found = {}
    for path in directory.glob("project.db*"):
        status = path.lstat()
        content = path.read_bytes() if path.is_file() else b""
        found[path.name] = (content, status.st_mode, status.st_mtime_ns, status.st_ino)
    return found


async def check_contained(client, reason: str) -> None:
    """One project is damaged for this reason, and the other works."""
    assert [project["name"] for project in (await client.get("/v1/projects")).json] == ["fine"]
    (damage,) = (await client.get(DAMAGED)).json
    assert damage["project_id"] == ID
    assert damage["path"].endswith("/lab")
    assert re.search(reason, damage["reason"]), damage
    assert "open the project again" in damage["remedy"]
    for method, path in (
        ("GET", PROJECT),
        ("PUT", PROJECT),
        ("POST", f"{PROJECT}/close"),
        ("POST", f"{PROJECT}/commit"),
        ("GET", f"{PROJECT}/files"),
        ("GET", f"{PROJECT}/notifications"),
        ("GET", f"{PROJECT}/toy/vms"),
        ("POST", f"{PROJECT}/toy/vms/{NODE}/start"),
    ):
        answer = await client.request(method, path)
        assert answer.status == 409, (method, path)
        assert damage["reason"] in answer.json["message"]
        assert damage["remedy"] in answer.json["message"]
    answer = await client.post(f"/v1/projects/{FINE}/toy/vms", {"name": "new"})
    assert answer.status == 201
    assert answer.json in (await client.get(f"/v1/projects/{FINE}/toy/vms")).json


@pytest.mark.parametrize("damage", DAMAGES)
async def test_a_damaged_project_harms_no_other_and_stays_as_it_is(serving, lab, damage):
    spoil, reason = DAMAGES[damage]
    await asyncio.to_thread(spoil, lab / "project.db")
    before = traces(lab)
    async with serving() as server:
        client = server.client
        await check_contained(client, reason)
        answer = await client.post("/v1/projects", {"project_id": ID, "name": "lab"})
        assert answer.status == 409
        assert (await client.get(DAMAGED)).json[0]["reason"] in answer.json["message"]
        assert len((await client.get(DAMAGED)).json) == 1
        assert traces(lab) == before
        assert lab.exists() is (damage != "gone with its directory")
        # A deletion takes the files along.
        assert (await client.delete(PROJECT)).status == 204
        assert (await client.get(PROJECT)).status == 404
        assert (await client.delete(PROJECT)).status == 404
        assert (await client.get(DAMAGED)).json == []
        assert not lab.exists()
        assert (await client.post("/v1/projects", {"project_id": ID})).status == 201


async def test_every_further_server_tries_again(serving, lab):
    overwrite(0, 8192)(lab / "project.db")
    before = traces(lab)
    for _ in range(2):
        async with serving() as server:
            await check_contained(server.client, "not a database")
    assert traces(lab) == before


async def test_records_of_another_project_are_not_deleted_with_a_damaged_one(serving, lab):
    other = ID.replace("0", "e")
    sql(f"UPDATE project SET id = '{other}'")(lab / "project.db")
    before = traces(lab)
    async with serving() as server:
        client = server.client
        await check_contained(client, f"of project {other}, not of {ID}")
        assert (await client.delete(PROJECT)).status == 204
        assert traces(lab) == before
        # What is there can be opened as what it is.
        answer = await client.post("/v1/projects", {"project_id": other, "path": str(lab)})
        assert answer.status == 201
        assert [vm["vm_id"] for vm in (await client.get(f"/v1/projects/{other}/toy/vms")).json] == [
            NODE
        ]


async def test_a_directory_that_was_not_ours_loses_our_files_only(serving, lab):
    with closing(sqlite3.connect(lab.parent / "state" / "server.db")) as connection:
        connection.execute("UPDATE project SET made_directory = 0")
        connection.commit()
    (lab / "letter.txt").write_text("dear")
    overwrite(0, 8192)(lab / "project.db")
    async with serving() as server:
        assert (await server.client.delete(PROJECT)).status == 204
    assert [path.name for path in lab.iterdir()] == ["letter.txt"]


async def test_projects_that_a_plugin_cannot_bring_back_are_told_of(
    serving, lab, faulty_plugin, caplog
):
    fault = "def broken(*_):\n    raise ZeroDivisionError('odd')\n\nToyNode.__init__ = broken"
    plugin = faulty_plugin(fault, name="toy", source="toy_emulator.py")
    async with serving(plugins=[plugin]) as server:
        damages = (await server.client.get(DAMAGED)).json
        assert [damage["project_id"] for damage in damages] == [ID, FINE]
        assert damages[0]["reason"] == "the server failed to open it"
        assert "Look at the server's log" in damages[0]["remedy"]
        assert "ZeroDivisionError: odd" in caplog.text
        assert (await server.client.get(PROJECT)).status == 409
    async with serving() as server:
        assert len((await server.client.get("/v1/projects")).json) == 2


# Another process --------------------------------------------------------------------------

LOCK = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN EXCLUSIVE")
print("locked", flush=True)
sys.stdin.read()
"""


@asynccontextmanager
async def locked(file: Path) -> AsyncIterator[int]:
    """Another process has the file, while the context lasts; gives its id."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", LOCK, str(file)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        assert await process.stdout.readline() == b"locked\n"
        yield process.pid
    finally:
        process.stdin.close()
        await process.wait()


async def test_a_project_that_another_process_has_is_opened_when_that_is_done(serving, lab):
    async with AsyncExitStack() as stack:
        pid = await stack.enter_async_context(locked(lab / "project.db"))
        async with serving() as server:
            client, before = server.client, traces(lab)
            await check_contained(client, f"locked by process {pid}")
            # Perhaps it is a server that runs the lab: its files are not taken from it.
            answer = await client.delete(PROJECT)
            assert (answer.status, f"process {pid}" in answer.json["message"]) == (409, True)
            assert traces(lab) == before
            await stack.aclose()
            assert (await client.post("/v1/projects", {"project_id": ID})).status == 201
            assert (await client.get(f"{PROJECT}/toy/vms/{NODE}")).status == 200
            assert (await client.get(DAMAGED)).json == []


# While it is open -------------------------------------------------------------------------


async def test_a_project_whose_directory_is_removed_says_so_at_the_first_change(serving, lab):
    """507 with the reason: before a commit it is seen whether the file is still at its path."""
    async with serving() as server:
        client, node = server.client, f"{PROJECT}/toy/vms/{NODE}"
        assert (await client.post(f"{node}/start")).status == 204
        shutil.rmtree(lab)
        for method, path, body in (
            ("PUT", node, {"name": "renamed"}),
            ("POST", f"{PROJECT}/toy/vms", {"name": "new"}),
            ("PUT", PROJECT, {"name": "renamed"}),
            ("DELETE", node, None),
        ):
            answer = await client.request(method, path, body)
            assert answer.status == 507, path
            assert f"{lab} was removed" in answer.json["message"]
            assert "nothing was changed" in answer.json["message"]
        assert (await client.get(node)).json["name"] == "PC"
        assert (await client.post(f"{node}/stop")).status == 204
        # A start would have run something that nobody would find again.
        assert (await client.post(f"{node}/start")).status == 507
        assert not lab.exists()
        assert (await client.post(f"/v1/projects/{FINE}/toy/vms", {"name": "new"})).status == 201
        assert (await client.post(f"{PROJECT}/close")).status == 204
        answer = await client.post("/v1/projects", {"project_id": ID})
        assert (answer.status, f"{lab} is missing" in answer.json["message"]) == (409, True)
        assert (await client.delete(PROJECT)).status == 204


async def test_a_state_directory_that_is_removed_is_noticed_at_the_first_change(
    serving, lab, gns3_settings
):
    async with serving() as server:
        client, state = server.client, gns3_settings.state_path
        state.rename(lab.parent / "aside")
        for method, path, body in (
            ("POST", "/v1/projects", {"name": "new"}),
            ("POST", f"{PROJECT}/close", None),
            ("DELETE", PROJECT, None),
        ):
            answer = await client.request(method, path, body)
            assert answer.status == 507, path
            assert f"{state} was removed" in answer.json["message"]
        assert not [*gns3_settings.projects_path.glob("*")]
        # The project itself is sound, and still open.
        assert (await client.put(PROJECT, {"name": "renamed"})).status == 200
        (lab.parent / "aside").rename(state)
        assert (await client.post("/v1/projects", {"name": "new"})).status == 201


# Repairing --------------------------------------------------------------------------------


@pytest.mark.parametrize("damage", ["noise", "gone with its directory", "newer", "a pipe"])
async def test_a_project_that_was_repaired_is_opened_by_its_id(serving, lab, damage, tmp_path):
    shutil.copytree(lab, tmp_path / "backup")
    spoil, reason = DAMAGES[damage]
    await asyncio.to_thread(spoil, lab / "project.db")
    async with serving() as server:
        client = server.client
        await check_contained(client, reason)
        shutil.rmtree(lab, ignore_errors=True)
        (tmp_path / "backup").rename(lab)
        answer = await client.post("/v1/projects", {"project_id": ID})
        assert (answer.status, answer.json["name"]) == (201, "lab")
        assert [vm["vm_id"] for vm in (await client.get(f"{PROJECT}/toy/vms")).json] == [NODE]
        assert (await client.get(DAMAGED)).json == []
        assert (await client.post(f"{PROJECT}/toy/vms/{NODE}/start")).status == 204


async def test_a_damaged_project_is_opened_from_another_path_if_it_is_there(serving, lab, tmp_path):
    shutil.copytree(lab, tmp_path / "backup")
    overwrite(0, 8192)(lab / "project.db")
    before = traces(lab)
    async with serving() as server:
        client = server.client
        body = {"project_id": ID, "path": str(tmp_path / "nowhere")}
        answer = await client.post("/v1/projects", body)
        assert (answer.status, "nowhere is missing" in answer.json["message"]) == (409, True)
        assert not (tmp_path / "nowhere").exists()
        await check_contained(client, "not a database")
        body["path"] = str(tmp_path / "backup")
        assert (await client.post("/v1/projects", body)).status == 201
        assert len((await client.get(f"{PROJECT}/toy/vms")).json) == 1
        assert (await client.get(DAMAGED)).json == []
    assert traces(lab) == before


async def test_a_closed_project_is_found_damaged_when_it_is_opened(serving, lab):
    async with serving() as server:
        client = server.client
        assert (await client.post(f"{PROJECT}/close")).status == 204
        shutil.rmtree(lab)
        assert (await client.get(PROJECT)).status == 404
        assert (await client.post("/v1/projects", {"project_id": ID})).status == 409
        await check_contained(client, "lab is missing")
        assert not lab.exists()


# What runs in it --------------------------------------------------------------------------


@pytest.fixture
async def leftover(gns3_settings) -> AsyncIterator[Callable[..., Any]]:
    """Starts a process as a node's: in a directory, with a run id that no other test has."""
    started = []

    async def start(directory: Path, run_id: str | None = None) -> asyncio.subprocess.Process:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", "import signal; print(flush=True); signal.pause()"),
            env={**gns3_settings.environ, RUN_ID_VARIABLE: run_id or uuid.uuid4().hex},
            cwd=directory,
            stdout=asyncio.subprocess.PIPE,
        )
        started.append(process)
        assert process.stdout is not None
        assert await process.stdout.readline() == b"\n"
        return process

    yield start
    for process in started:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def test_what_runs_in_a_damaged_project_goes_on_until_it_is_deleted(
    serving, lab, leftover, tmp_path
):
    directory = lab / "project-files" / "toy"
    inside = await leftover(directory)
    run_id = uuid.uuid4().hex
    on_record = await leftover(tmp_path, run_id)
    anothers = [
        await leftover(tmp_path),
        await leftover(lab.parent / "fine"),
    ]
    row = f"'{run_id}', 'node', '{NODE}', '{{}}', '[]'"
    sql(f"INSERT INTO run VALUES ({row})")(lab / "project.db")
    async with serving() as server:
        await check_contained(server.client, "not a stored launch spec")
        assert {inside.pid, on_record.pid} < set(server.processes())
    async with serving() as server:
        assert (await server.client.delete(PROJECT)).status == 204
        assert set(server.processes()) == {process.pid for process in anothers}


async def test_what_runs_is_found_when_nothing_can_be_read_or_is_there(serving, lab, leftover):
    await leftover(lab / "project-files" / "toy")
    overwrite(0, 8192)(lab / "project.db")
    async with serving() as server:
        await check_contained(server.client, "not a database")
        shutil.rmtree(lab)
        assert len(server.processes()) == 1
        assert (await server.client.delete(PROJECT)).status == 204
        assert server.processes() == {}


# While it is open -------------------------------------------------------------------------

NOISE = "import sys; f = open(sys.argv[1], 'r+b'); f.seek(4096); f.write(b'noise' * 20000)"


async def test_a_project_that_is_damaged_while_it_is_open_can_be_stopped_and_deleted(
    serving, lab, caplog
):
    async with serving() as server:
        client, toy = server.client, f"{PROJECT}/toy/vms/{NODE}"
        assert (await client.post(f"{toy}/start")).status == 204
        databases = server.running.server.projects.databases
        (database,) = (db for db in databases.opened if db.path == lab / "project.db")
        await databases.read(database, "PRAGMA wal_checkpoint(TRUNCATE)")
        # From outside: closing a file here would end the server's lock on it.
        arguments = (sys.executable, "-c", NOISE, str(lab / "project.db"))
        await asyncio.to_thread(subprocess.run, arguments, check=True)
        await databases.read(database, "PRAGMA shrink_memory")
        for method, path, body in [
            ("POST", f"{PROJECT}/toy/vms", {"name": "PC"}),
            ("PUT", toy, {"name": "new"}),
            ("PUT", PROJECT, {"name": "new"}),
            ("POST", f"{PROJECT}/ports/toy", None),
        ]:
            answer = await client.request(method, path, body)
            assert answer.status == 507, (method, path, answer)
            assert "malformed" in answer.json["message"]
            assert "The file is damaged" in answer.json["message"]
        assert (await client.get(toy)).json["status"] == "started"
        assert (await client.post(f"{toy}/stop")).status == 204
        answer = await client.post(f"/v1/projects/{FINE}/toy/vms", {"name": "new"})
        assert answer.status == 201
        assert "Traceback" not in caplog.text
    async with serving() as server:
        (damage,) = (await server.client.get(DAMAGED)).json
        assert damage["project_id"] == ID
        assert (await server.client.delete(PROJECT)).status == 204


# Full disks -------------------------------------------------------------------------------


async def test_a_full_disk_does_not_keep_a_project_closed(serve, lab, small_disk):
    log_kept(lab / "project.db", lambda db: db.execute("UPDATE project SET name = 'kept'"))
    fill(small_disk / "ballast")
    async with serve(environ={"TMPDIR": str(small_disk)}) as server:
        assert (await server.client.get(PROJECT)).json["name"] == "kept"
        assert [path.name for path in small_disk.iterdir()] == ["ballast"]
