"""``gns3server doctor`` on directories that were left in a mess, with and without a server."""

from __future__ import annotations

import asyncio
import errno
import os
import re
import shutil
import signal
import socket
import sqlite3
import sys
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from api_calls import new_project
from faults import failing, without_strays

from gns3server.__main__ import main
from gns3server.http.client import Client
from gns3server.places.paths import DELETED, MOVING
from gns3server.places.relocation import REPLACED
from gns3server.running import identity
from gns3server.running.procfs import RUN_ID_VARIABLE
from gns3server.storage import file_check
from gns3server.storage.state_lock import LOCK_FILE

pytestmark = pytest.mark.heavy

LAB, NOISE, MOVED, CLOSED = (str(uuid.UUID(int=number)) for number in range(1, 5))
TOYS = f"/v1/projects/{LAB}/toy/vms"


@dataclass
class Examined:
    """What the doctor has said."""

    code: int
    text: str

    def section(self, title: str) -> str:
        """The lines below a title, with those that were wrapped made one."""
        found = re.search(rf"^{title}\n(.*?)\n\n", self.text, re.MULTILINE | re.DOTALL)
        assert found is not None, self.text
        return re.sub(r"\s*\n {8,}(?=\S)", " ", found[1])

    def line(self, title: str, pattern: str) -> str:
        """The one entry of a section that a pattern is found in; ``! `` is its mark."""
        lines = [line for line in self.section(title).split("\n") if re.search(pattern, line)]
        assert len(lines) == 1, (pattern, self.text)
        return lines[0].strip()


@pytest.fixture
def doctor(run, toys_at):
    """Asks the doctor, who has the toy installed."""

    async def doctor(*args: str, **more: str) -> Examined:
        process = await run("doctor", *args, **{"PYTHONPATH": str(toys_at), **more})
        out, err = await process.communicate()
        assert err == b""
        return Examined(process.returncode, out.decode())

    return doctor


@pytest.fixture
async def plant(gns3_settings, gns3_process):
    """Starts programs with a run id in a directory; they end before it is asked what is left."""
    async with AsyncExitStack() as stack:

        @asynccontextmanager
        async def program(run_id: str, directory: Path, source: str):
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-c", f"{source}\nprint(flush=True)\nsignal.pause()"),
                env={**gns3_settings.environ, **({RUN_ID_VARIABLE: run_id} if run_id else {})},
                cwd=directory,
                stdout=asyncio.subprocess.PIPE,
            )
            try:
                assert process.stdout is not None
                assert await process.stdout.readline() == b"\n"
                yield process.pid
            finally:
                if process.returncode is None:
                    process.kill()
                await process.wait()

        async def plant(run_id: str, directory: Path, source: str = "import signal") -> int:
            return int(await stack.enter_async_context(program(run_id, directory, source)))

        yield plant


def new_id() -> str:
    """A run id that no test beside this one has: the doctor may stop what carries it."""
    return uuid.uuid4().hex


def tree(directory: Path) -> dict[str, tuple[Any, ...]]:
    """All files below a directory: content, mode, time, inode."""
    found = {}
    for path in directory.rglob("*"):
        status = path.lstat()
        content = path.read_bytes() if path.is_file() else b""
        found[str(path)] = (content, status.st_mode, status.st_mtime_ns, status.st_ino)
    return found


async def make_toy(client: Client, *, start: bool = False, **values: Any) -> dict[str, Any]:
    answer = await client.post(TOYS, {"name": "toy", **values})
    assert answer.status == 201
    toy: dict[str, Any] = answer.json
    if start:
        assert (await client.post(f"{TOYS}/{toy['vm_id']}/start")).status == 204
    return toy


async def kill_during_a_start(
    server, toy: dict[str, Any], gate: asyncio.Queue[asyncio.StreamWriter]
) -> asyncio.StreamWriter:
    """Kill a server that waits for a toy to come up; returns what the toy waits for."""
    start = asyncio.create_task(server.client.post(f"{TOYS}/{toy['vm_id']}/start"))
    writer = await gate.get()
    await server.kill()
    await asyncio.wait([start])
    assert start.exception() is not None
    return writer


@dataclass
class Mess:
    """What is where in the directories that :func:`mess` has left."""

    running: dict[str, Any]
    taken: dict[str, Any]
    pid: int
    coming: int
    lost: int
    in_damaged: int
    anothers: int
    unknown: int
    foreign: int
    stale: list[Path]


@pytest.fixture
async def mess(toy_process, nodes, plant, until, gns3_settings) -> AsyncIterator[Mess]:
    """A server was killed while a node was coming up; then all that can go wrong went wrong."""
    gate: asyncio.Queue[asyncio.StreamWriter] = asyncio.Queue()
    home, lab = gns3_settings.home, gns3_settings.projects_path / LAB

    def arrived(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        gate.put_nowait(writer)

    async with await asyncio.start_server(arrived, "127.0.0.1", 0) as door, toy_process() as server:
        client, mode = server.client, f"gated:{door.sockets[0].getsockname()[1]}"
        for project_id in (LAB, NOISE, MOVED, CLOSED):
            await new_project(client, project_id=project_id, name="lab")
        assert (await client.post(f"/v1/projects/{CLOSED}/close")).status == 204
        running = await make_toy(client, name="runs", start=True)
        taken = await make_toy(client, name="taken")
        assert (await client.post(f"/v1/projects/{LAB}/ports/toy")).status == 201
        (pid,) = nodes()
        writer = await kill_during_a_start(
            server, await make_toy(client, name="comes", mode=mode), gate
        )
        (coming,) = nodes() - {pid}
        foreign = f"import signal, socket; s = socket.create_server(('', {taken['console']}))"
        lost = await plant(new_id(), lab / "project-files")
        unknown = await plant(new_id(), home)
        in_damaged = await plant(new_id(), gns3_settings.projects_path / NOISE)
        inner = new_id()
        anothers = await plant(inner, another_project(lab / "inner", inner))
        for suffix in ("", "-wal"):
            file = gns3_settings.projects_path / NOISE / f"project.db{suffix}"
            file.write_bytes(b"noise " * 2000)
        (gns3_settings.projects_path / MOVED).rename(home / "moved away")
        yield Mess(
            running=running,
            taken=taken,
            pid=pid,
            coming=coming,
            lost=lost,
            in_damaged=in_damaged,
            anothers=anothers,
            unknown=unknown,
            foreign=await plant("", home, foreign),
            stale=leave_files(gns3_settings),
        )
        for left in nodes() & {pid, coming}:
            os.kill(left, signal.SIGKILL)
        writer.close()

        async def gone() -> bool:
            return not nodes() & {pid, coming}

        await until(gone)


def another_project(directory: Path, run_id: str) -> Path:
    """A project of another server, as far as a run is on record there."""
    directory.mkdir()
    with closing(sqlite3.connect(directory / "project.db")) as connection, connection:
        connection.execute("CREATE TABLE run (id)")
        connection.execute("INSERT INTO run VALUES (?)", (run_id,))
    return directory


def leave_files(settings) -> list[Path]:
    """What servers leave that are killed at the wrong moment."""
    projects, images = settings.projects_path, settings.images_path
    lab, name = projects / LAB, uuid.uuid4().hex
    (images / "QEMU").mkdir(parents=True)
    stale = [
        projects / f"{DELETED}{name}",
        lab / f"{MOVING}{name}",
        lab / "project.db.part",
        images / "QEMU" / f".upload-{name}",
    ]
    for room in stale[:2]:
        (room / "project-files").mkdir(parents=True)
        (room / "project-files" / "notes.txt").write_text("notes")
    for file in stale[2:]:
        file.write_bytes(b"half")
    (lab / "project.db.v1").write_bytes(b"old")
    (projects / "letters").mkdir()
    return stale


async def test_everything_that_is_not_in_order_is_found_and_left_as_it_is(
    doctor, mess, gns3_settings, tmp_path, nodes
):
    before, running = tree(tmp_path), nodes()
    found = await doctor()
    assert (found.code, "Traceback" in found.text) == (1, False)
    assert "no server is running" in found.section("Server")
    for project_id, kind, wanted in [
        (LAB, "open", f"{gns3_settings.projects_path / LAB}: 'lab', open, nodes: 3"),
        (CLOSED, "closed", "'lab', closed, nodes: 0"),
        (NOISE, "damaged", "file is not a database Put a sound copy"),
        (MOVED, "missing", f"{MOVED} is missing Put it back"),
    ]:
        line = found.line("Projects", f"{project_id}: .*{kind}")
        assert re.search(wanted, line), line
        assert line.startswith("!") is (kind in ("damaged", "missing"))
    assert f"started, process {mess.pid}" in found.line("Projects", "toy 'runs'")
    assert found.line("Projects", "toy 'taken'").endswith("stopped")
    assert "a start was under way" in found.line("Projects", "toy 'comes'")
    # Ports.
    port = found.line("Reserved ports", f"TCP port {mess.running['console']}:")
    assert port.endswith(f"bound on 0.0.0.0 by process {mess.pid}")
    port = found.line("Reserved ports", f"TCP port {mess.taken['console']}:")
    assert port.startswith("! ")
    assert f" by process {mess.foreign} ({sys.executable}" in port
    assert found.line("Reserved ports", f": allocation of project {LAB};").endswith("not bound")
    # Processes.
    for pid in (mess.pid, mess.anothers):
        assert f"process {pid} " not in found.section("Processes without an owner")
    for pid, why in [
        (mess.coming, "What is left of a start .* --clean stops it."),
        (mess.lost, f"in the directory of project {LAB}.* --clean stops it."),
        (mess.unknown, "no record that we know names it.*It is left alone."),
    ]:
        line = found.line("Processes without an owner", rf"process {pid} ")
        assert line.startswith("! ")
        assert re.search(why, line)
    line = found.line("Processes without an owner", rf"process {mess.in_damaged} ")
    assert f"of project {NOISE}, which cannot be read" in line
    inner = gns3_settings.projects_path / LAB / "inner" / "project.db"
    line = found.line("Processes without an owner", re.escape(f" {inner}: 1"))
    assert line.endswith("A project of another server or state_path. It is left alone.")
    # Files.
    for path in mess.stale:
        line = found.line("Files left over", re.escape(str(path)))
        assert line.startswith("! ")
        assert line.endswith("--clean removes it.")
    for name in ("project.db.v1", "letters"):
        assert "--clean" not in found.line("Files left over", f"/{name} ")
    assert (tree(tmp_path), nodes()) == (before, running)


async def test_cleaning_removes_what_is_surely_ours_and_says_so(
    doctor, toy_process, mess, gns3_settings, nodes
):
    cleaned = await doctor("--clean")
    lines = cleaned.section("Cleaned").split("\n")
    assert [line.split()[0] for line in lines] == ["stopped"] * 2 + ["removed"] * 4
    for path in mess.stale:
        assert f"removed {path}" in cleaned.section("Cleaned")
        assert not path.exists()
    left = {mess.pid, mess.unknown, mess.foreign, mess.in_damaged, mess.anothers}
    assert nodes() == left
    assert (gns3_settings.projects_path / "letters").is_dir()
    assert (gns3_settings.projects_path / LAB / "project.db.v1").read_bytes() == b"old"
    again = await doctor("--clean")
    assert (again.code, again.section("Cleaned").strip()) == (1, "none")
    assert "--clean" not in again.text
    # The lock is free again, and the next server finds its node.
    async with toy_process() as server:
        toys = (await server.client.get(TOYS)).json
        assert [toy["status"] for toy in toys] == ["started", "stopped", "stopped"]
        assert nodes() == left


async def test_a_running_server_is_not_disturbed(doctor, toy_process, nodes, gns3_settings, plant):
    async with toy_process("--keep-nodes") as server:
        client = server.client
        await new_project(client, project_id=LAB, name="lab")
        toy = await make_toy(client, name="runs", start=True)
        (pid,) = nodes()
        room = gns3_settings.projects_path / f"{DELETED}{uuid.uuid4().hex}"
        room.mkdir()
        lost = await plant(new_id(), gns3_settings.projects_path / LAB)
        found = await doctor()
        assert f"a server is running: process {server.pid} since" in found.section("Server")
        assert f"started, process {pid}" in found.line("Projects", "toy 'runs'")
        port = found.line("Reserved ports", f"TCP port {toy['console']}")
        assert port.endswith(f" by process {pid}")
        assert found.line("Processes without an owner", f"process {lost} ").startswith("! ")
        assert "may be at work on it" in found.line("Files left over", room.name)
        refused = await doctor("--clean")
        assert refused.code == 1
        assert refused.text.startswith(
            "gns3server doctor: nothing was cleaned: another server uses"
        )
        assert f"process {server.pid} since" in refused.text
        assert room.is_dir()
        assert nodes() == {pid, lost}
        # It still has its files.
        await make_toy(client)
        found = await doctor()
        assert len(re.findall(r"toy '\w+'", found.section("Projects"))) == 2
        assert (await client.post(f"{TOYS}/{toy['vm_id']}/stop")).status == 204


async def test_what_a_program_that_hides_its_descriptors_has_bound_is_not_called_a_strangers(
    environ, monkeypatch, capsys, toy_process, nodes
):
    async with toy_process("--keep-nodes") as server:
        await new_project(server.client, project_id=LAB, name="lab")
        toy = await make_toy(server.client, name="runs", start=True)
        (pid,) = nodes()
        without_strays(monkeypatch)
        for name, value in environ.items():
            monkeypatch.setenv(name, value)
        # As one with capabilities does to an ordinary user.
        with failing("listdir", Path(f"/proc/{pid}/fd"), errno.EACCES):
            await asyncio.to_thread(main, ["doctor"])
        found = Examined(0, capsys.readouterr().out)
        port = found.line("Reserved ports", f"TCP port {toy['console']}")
        assert port.endswith("bound by a process that does not show what it has open")
        assert not port.startswith("! ")
        assert (await server.client.post(f"{TOYS}/{toy['vm_id']}/stop")).status == 204


def test_a_new_machine_is_in_order_and_stays_as_it_is(environ, monkeypatch, tmp_path, capsys):
    without_strays(monkeypatch)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    before = tree(tmp_path)
    codes = [main(["doctor"]), main(["doctor", "--clean"])]
    found = Examined(max(codes), capsys.readouterr().out)
    assert found.code == 0
    assert found.text.count("\nAll is in order.\n") == 2
    assert "no server has used this state_path yet" in found.section("Server")
    assert tree(tmp_path) == before
    for name in (
        *("process file descriptors", "listing sockets", "ports below 1024"),
        *("raw sockets", "large receive buffers", "network namespaces", "TAP devices", "KVM"),
    ):
        line = found.line("This machine", f"^  +{name}")
        assert re.fullmatch(rf"{name}: (yes\b.*|no \(.+\) .+)", line)


def test_where_this_boot_cannot_be_told_the_rest_is_shown(environ, monkeypatch, tmp_path, capsys):
    """The message names boot_id and what hides it; all the rest is shown."""
    without_strays(monkeypatch)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    # As ProcSubset=pid of systemd does.
    monkeypatch.setattr(identity, "BOOT_ID", str(tmp_path / "hidden"))
    found = Examined(main(["doctor"]), capsys.readouterr().out)
    assert found.code == 1
    line = found.line("This machine", "knowing processes again")
    assert line.startswith(f"! knowing processes again: no ({tmp_path / 'hidden'} is hidden")
    assert "ProcSubset=pid" in line
    assert found.text.endswith("Not in order: 1, marked with an exclamation mark above.\n")


async def test_the_address_is_free_if_a_server_could_listen_there(doctor, run):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        found = await doctor("--port", port)
        process = await run("--port", port)
        out, _ = await process.communicate()
    line = found.line("Server", "address: 127.0.0.1, port")
    assert line.startswith("! ")
    reason = line.partition("cannot listen there: ")[2]
    assert f"port {port}: {reason}\n" in out.decode()
    assert "HTTPS needs a certificate" in (await doctor("--ssl")).line("Server", "^ +! HTTPS")
    assert "port 0; free" in (await doctor("--port", "0")).line("Server", "^ +address:")


async def test_what_a_server_has_made_in_its_state_directory_is_not_left_over(
    doctor, gns3_settings
):
    (gns3_settings.state_path / "run").mkdir(parents=True)
    assert str(gns3_settings.state_path) not in (await doctor()).section("Files left over")


@pytest.mark.parametrize("name", ["projects_path", "images_path", "state_path"])
async def test_a_directory_that_cannot_be_made_is_no_directory(doctor, name):
    found = await doctor(**{f"GNS3_SERVER_{name.upper()}": "/dev/null/x"})
    line = found.line("Server", f"{name}: /dev/null/x; cannot be used: Not a directory")
    assert line.startswith("! ")


async def test_a_lock_that_a_server_could_not_take_is_not_in_order(doctor, gns3_settings):
    (gns3_settings.state_path / LOCK_FILE).mkdir(parents=True)
    found = await doctor()
    line = found.line("Server", "state_path: .*; cannot be used: Is a directory")
    assert line.startswith("! ")


async def test_a_project_that_could_not_be_changed_is_not_in_order(
    toy_process, environ, monkeypatch, tmp_path, capsys
):
    async with toy_process() as server:
        await new_project(server.client, project_id=LAB, name="lab")
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)

    def refuse(directory, *files):
        if directory.name != LAB:
            return None
        return PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(directory))

    # Root may write everywhere, and the tests may be root's.
    monkeypatch.setattr(file_check, "obstacle", refuse)
    await asyncio.to_thread(main, ["doctor"])
    found = Examined(1, capsys.readouterr().out)
    line = found.line("Projects", LAB)
    assert line.startswith("! ")
    assert "cannot be used: Permission denied" in line


async def test_a_port_that_is_bound_elsewhere_is_in_nobodys_way(doctor, toy_process):
    async with toy_process() as server:
        await new_project(server.client, project_id=LAB, name="lab")
        toy = await make_toy(server.client)
    with socket.create_server(("::1", toy["console"]), family=socket.AF_INET6):
        line = (await doctor()).line("Reserved ports", f"TCP port {toy['console']}:")
    assert "which is not ours" in line
    assert not line.startswith("!")
    with socket.create_server(("127.0.0.2", toy["console"])):
        line = (await doctor()).line("Reserved ports", f"TCP port {toy['console']}:")
    assert line.startswith("! ")


async def test_nodes_of_a_missing_plugin_and_a_failed_plugin_are_told(doctor, toy_process, toys_at):
    async with toy_process() as server:
        await new_project(server.client, project_id=LAB, name="lab")
        await make_toy(server.client, name="one")
    (toys_at / "own_toy.py").write_text("raise RuntimeError('no such program')")
    found = await doctor()
    assert found.code == 1
    line = found.line("Plugins", "toy 1: failed")
    assert line.startswith("! ")
    assert "In import: RuntimeError: no such program." in line
    line = found.line("Projects", "toy 'one'")
    assert line.startswith("! ")
    assert "No plugin in service offers the type toy. The node stays stored" in line


async def test_files_that_somebody_may_miss_are_kept(doctor, toy_process, gns3_settings):
    projects = gns3_settings.projects_path
    async with toy_process() as server:
        for project_id in (LAB, MOVED):
            await new_project(server.client, project_id=project_id, name="lab")
    unfinished = projects / f"{DELETED}{uuid.uuid4().hex}"
    (projects / MOVED).rename(unfinished)
    room = projects / LAB / f"{MOVING}{uuid.uuid4().hex}"
    (room / REPLACED).mkdir(parents=True)
    (room / REPLACED / "letter.txt").write_text("dear")
    found = await doctor("--clean")
    assert found.section("Cleaned").strip() == "none"
    line = found.line("Files left over", unfinished.name)
    assert line.startswith("! ")
    assert f"Files of project {MOVED}, whose deletion was not finished" in line
    assert found.line("Files left over", room.name).startswith("! ")
    assert (unfinished / "project.db").is_file()
    assert (room / REPLACED / "letter.txt").read_text() == "dear"


async def test_what_another_process_has_is_left_alone(doctor, toy_process, gns3_settings, plant):
    projects = gns3_settings.projects_path
    async with toy_process() as server:
        await new_project(server.client, project_id=LAB, name="lab")
    room = projects / LAB / f"{MOVING}{uuid.uuid4().hex}"
    room.mkdir()
    lock = "import signal, sqlite3; c = sqlite3.connect('project.db', isolation_level=None)"
    pid = await plant("", projects / LAB, f"{lock}; c.execute('BEGIN EXCLUSIVE')")
    other = await plant(new_id(), projects / LAB)
    found = await doctor("--clean")
    assert found.section("Cleaned").strip() == "none"
    assert f"locked by process {pid}" in found.line("Projects", LAB)
    line = found.line("Processes without an owner", f"process {other} ")
    assert "which another process has. It is left alone." in line
    assert room.is_dir()


async def test_without_the_list_of_projects_nothing_is_cleaned(
    doctor, toy_process, gns3_settings, plant
):
    async with toy_process() as server:
        await new_project(server.client, project_id=LAB, name="lab")
    file = gns3_settings.state_path / "server.db"
    file.write_bytes(b"noise " * 2000)
    room = gns3_settings.projects_path / f"{DELETED}{uuid.uuid4().hex}"
    room.mkdir()
    lost = await plant(new_id(), gns3_settings.projects_path / LAB)
    found = await doctor("--clean")
    assert (found.code, found.section("Cleaned").strip()) == (1, "none")
    assert found.line("Server", "server.db cannot be used").startswith("! ")
    assert "It is left alone" in found.line("Processes without an owner", f"process {lost} ")
    assert room.is_dir()
    shutil.rmtree(room)


async def test_cleaning_goes_with_the_doctor_only(run):
    process = await run("--clean")
    _, err = await process.communicate()
    assert (process.returncode, b"--clean goes with doctor" in err) == (2, True)
