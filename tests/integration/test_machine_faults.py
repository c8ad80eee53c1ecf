"""The machine fails: each time a client is told what to do, and what the server says stays true.

Real limits bind a server that is a process of its own. Disks and read-only file
systems are mounted in a namespace of that server's own, which needs no rights; where the
machine allows none, the faults injected in ``test_faults.py`` hold the same.
"""

from __future__ import annotations

import asyncio
import os
import re
import resource
import shlex
import shutil
import signal
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pytest
from api_calls import new_project, new_toy, status
from file_trees import fill

pytestmark = pytest.mark.heavy

OTHER_USER = 65534
"""Whom root lets the server run as where limits do not bind root."""


@pytest.fixture
def server():
    """None in this process: it is only what the gate for toys is set up after."""


async def fails(client, method: str, path: str, status: int, *words: str, body: Any = None) -> None:
    """Ask for what must be refused, in words that help."""
    answer = await client.request(method, path, body)
    assert answer.status == status, (method, path, answer.body)
    for word in words:
        assert word in answer.json["message"], answer.json["message"]


async def do(client, path: str, status: int = 204) -> None:
    answer = await client.post(path)
    assert answer.status == status, (path, answer.body)


async def next_event(told) -> Any:
    while (event := await anext(told)) == {"action": "ping"}:
        pass
    return event


async def stored(client, project: str) -> Any:
    """The nodes of a project as the disk has them: it is closed and opened again."""
    shown = (await client.get(project)).json
    await do(client, f"{project}/close")
    await new_project(client, project_id=shown["project_id"], path=shown["path"])
    return (await client.get(f"{project}/toy/vms")).json


# File systems -----------------------------------------------------------------------------


@pytest.fixture
def mounted():
    """Makes what runs a server in a mount namespace of its own, a shell script before it."""
    ways = (["unshare", "--mount"], ["unshare", "--map-root-user", "--mount"])
    for way in ways:
        try_out = [*way, "mount", "-t", "tmpfs", "tmpfs", tempfile.gettempdir()]
        if subprocess.run(try_out, check=False, capture_output=True).returncode == 0:
            return lambda script: [*way, "sh", "-ec", f'{script}\nexec "$@"', "sh"]
    pytest.skip("neither this user nor its user namespaces may mount anything here")


def small_disk(path: Path, kib: int, *, full: bool = False) -> str:
    """A script that mounts a disk of its own at a path."""
    where = shlex.quote(str(path))
    fill = f"head -c 1G /dev/zero > {where}/ballast 2>&- || :" if full else ""
    return f"mkdir -p {where}; mount -t tmpfs -o size={kib}k tmpfs {where}\n{fill}"


def read_only(path: Path) -> str:
    """A script that makes a directory a file system that cannot be written to."""
    where = shlex.quote(str(path))
    return f"mkdir -p {where}; mount --bind {where} {where}; mount -o remount,bind,ro {where}"


def seen_by(server, path: Path) -> Path:
    """Where this process finds what a server in a mount namespace has at a path."""
    return Path(f"/proc/{server.pid}/root{path}")


def contents(directory: Path) -> dict[str, bytes]:
    """The files in a directory and below."""
    return {str(path): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def remove(path: Path) -> None:
    path.unlink()


async def test_a_disk_runs_full_under_a_lab(serve, nodes, mounted, tmp_path):
    lab = tmp_path / "disk" / "lab"
    async with serve(under=mounted(small_disk(lab.parent, 1024))) as server:
        client = server.client
        project = await new_project(client, path=str(lab))
        runs, rests = await new_toy(client, project), await new_toy(client, project)
        await do(client, f"{runs}/start")
        elsewhere = await new_project(client)
        ballast = seen_by(server, lab.parent / "ballast")
        fill(ballast)
        while (answer := await client.put(rests, {"note": "x" * 9000})).status == 200:
            fill(ballast)
        assert answer.status == 507
        assert str(lab / "project.db") in answer.json["message"]
        assert "nothing was changed" in answer.json["message"]
        assert "Free some disk space" in answer.json["message"]
        assert (await client.get(rests)).json["name"] == "toy"
        before = (await client.get(f"{project}/toy/vms")).json
        for method, path, body in (
            ("PUT", runs, {"note": "x" * 9000}),
            ("POST", f"{project}/toy/vms", {"name": "third"}),
            ("POST", f"{rests}/start", None),
            ("DELETE", rests, None),
        ):
            await fails(client, method, path, 507, "nothing was changed", body=body)
        assert (await client.get(f"{project}/toy/vms")).json == before
        await do(client, f"{runs}/stop")
        assert nodes() == set()
        # Others have other disks.
        await do(client, f"{await new_toy(client, elsewhere)}/start")
        remove(ballast)
        await do(client, f"{rests}/start")
        await do(client, f"{rests}/stop")
        assert await stored(client, project) == ([{**node, "status": "stopped"} for node in before])
    assert nodes() == set()


async def test_a_project_on_a_full_disk_can_be_deleted(serve, mounted, tmp_path):
    lab = tmp_path / "disk" / "lab"
    async with serve(under=mounted(small_disk(lab.parent, 512))) as server:
        client = server.client
        project = await new_project(client, path=str(lab))
        disk = seen_by(server, lab.parent)
        fill(disk / "ballast")
        await fails(
            client,
            "POST",
            "/v1/projects",
            409,
            "disk is full. Free some disk space",
            body={"path": str(lab.parent / "other")},
        )
        assert (await client.delete(project)).status == 204
        assert list(contents(disk)) == [str(disk / "ballast")]
        assert os.listdir(disk) == ["ballast"]


async def test_a_start_on_a_full_disk_says_so(serve, mounted, gns3_settings):
    state = gns3_settings.state_path
    with pytest.raises(
        RuntimeError, match=r"CRITICAL .*[Tt]he disk is full: make room on it"
    ) as ended:
        async with serve(under=mounted(small_disk(state, 64, full=True))):
            pass
    assert str(state) in str(ended.value)
    assert "Traceback" not in str(ended.value)


async def test_a_log_on_a_full_disk_stops_nobody(serve, nodes, mounted, tmp_path):
    disk = tmp_path / "disk"
    log = disk / "server.log"
    under = mounted(small_disk(disk, 64, full=True))
    async with serve("--log", str(log), plugin=ALSO_SAY, under=under) as server:
        toy = await new_toy(server.client, await new_project(server.client))
        await do(server.client, f"{toy}/start")
        remove(seen_by(server, disk / "ballast"))
        await do(server.client, f"{toy}/stop")
        text = contents(seen_by(server, disk))[str(seen_by(server, log))].decode()
        assert re.search(r"WARNING \d+ records are missing here", text)
        assert "/stop -> 204" in text
    assert server.log.count("the log cannot be written (No space left on device)") == 1
    assert "Traceback" not in server.log


ALSO_SAY = """
import logging, sys
logging.getLogger().addHandler(logging.StreamHandler(sys.stdout))
"""


@pytest.mark.parametrize("trouble", ["disk", "size"])
async def test_a_record_that_is_full_stops_nobody(serving, tmp_path, caplog, trouble):
    record = Path("/dev/full") if trouble == "disk" else tmp_path / "record"
    async with serving(record=str(record), record_size=1) as server:
        toy = await new_toy(server.client, await new_project(server.client))
        for _ in range(6):
            assert (await server.client.put(toy, {"note": "x" * 300_000})).status == 200
    (warning,) = (r.getMessage() for r in caplog.records if "the record" in r.getMessage())
    assert warning.startswith(f"the record {record} ends here: ")
    assert {"disk": "No space left", "size": "it has reached 1 MiB (record_size)"}[
        trouble
    ] in warning
    if trouble == "size":
        (size, last) = 1024 * 1024, record.read_bytes()
        assert size - 400_000 < len(last) <= size
        assert last.endswith(b"}'\n")


async def test_a_file_system_becomes_read_only(serve, nodes, mounted, gns3_settings):
    async with serve() as server:
        lost = await new_project(server.client)
        toy = await new_toy(server.client, lost)
        path = Path((await server.client.get(lost)).json["path"])
        kept = await new_project(server.client, path=str(path.parent.parent / "kept"))
        other = await new_toy(server.client, kept)
    before = contents(path)
    async with serve(under=mounted(read_only(path.parent))) as server:
        client = server.client
        await do(client, f"{other}/start")
        await fails(client, "POST", "/v1/projects", 500, "the file system is read-only", body={})
        await fails(client, "GET", lost, 409, str(path / "project.db"), "mount -o remount,rw")
    assert contents(path) == before
    async with serve() as server:
        await do(server.client, f"{toy}/start")
    with pytest.raises(
        RuntimeError, match=r"CRITICAL .*[Tt]he file system is read-only: make it"
    ) as ended:
        async with serve(under=mounted(read_only(gns3_settings.state_path))):
            pass
    assert str(gns3_settings.state_path) in str(ended.value)
    assert "Traceback" not in str(ended.value)


# Limits -----------------------------------------------------------------------------------


async def test_no_file_descriptor_is_left(serve, nodes):
    async with serve() as server:
        client = server.client
        project = await new_project(client)
        runs, rests = await new_toy(client, project), await new_toy(client, project)
        await do(client, f"{runs}/start")
        # One connection for the stream, one for all that follows.
        await asyncio.gather(client.get(project), client.get(project))
        async with client.listen(f"{project}/notifications") as told:
            assert await anext(told) == {"action": "ping"}
            limits = resource.prlimit(server.pid, resource.RLIMIT_NOFILE)
            resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (3, limits[1]))
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(b"GET /v1/version HTTP/1.1\r\nHost: localhost\r\n\r\n")
            what = "the server has no file descriptor left: raise its limit (ulimit -n)"
            await fails(client, "POST", f"{rests}/start", 409, "VM 'toy' did not start: ", what)
            await fails(client, "POST", f"{project}/toy/vms", 500, what, body={"name": "third"})
            await fails(client, "POST", "/v1/projects", 500, what, body={})
            assert len((await client.get(f"{project}/toy/vms")).json) == 2
            assert len((await client.get("/v1/projects")).json) == 1
            assert len(nodes()) == 1
            # What is open works on.
            assert (await client.put(rests, {"name": "new"})).status == 200
            await do(client, f"{runs}/stop")
            assert nodes() == set()
            await server.says("new connections have to wait, .*: the server has no file descr")
            resource.prlimit(server.pid, resource.RLIMIT_NOFILE, limits)
            assert await reader.readline() == b"HTTP/1.1 200 OK\r\n"
            writer.close()
            await do(client, f"{rests}/start")
            for action in ("vm.stopped", "vm.started"):
                assert (await next_event(told))["action"] == action
        assert await status(client, runs) == "stopped"
    assert server.log.count("new connections have to wait") == 1
    assert "Traceback" not in server.log


@pytest.fixture
def ordinary():
    """What runs a server as somebody whom limits bind, and the environment it needs there."""
    if os.geteuid() != 0:
        yield [], {}
        return
    # Open to others, which the directories of tests are not.
    with tempfile.TemporaryDirectory() as place:
        shutil.chown(place, OTHER_USER)
        # The Python of the tests may lie where nobody else may go.
        rights = ["--inh-caps", "+dac_override", "--ambient-caps", "+dac_override"]
        paths = ("projects_path", "images_path", "state_path")
        yield (
            ["setpriv", "--reuid", str(OTHER_USER), "--clear-groups", *rights],
            {"HOME": place, **{f"GNS3_SERVER_{name.upper()}": f"{place}/{name}" for name in paths}},
        )


def process_limit(pid: int) -> str:
    limits = Path(f"/proc/{pid}/limits").read_text()
    (soft,) = re.findall(r"Max processes +(\w+)", limits)
    return str(soft)


async def test_no_process_is_left(serve, nodes, ordinary):
    under, environ = ordinary
    async with serve(under=under, environ=environ) as server:
        client = server.client

        def limit(count: str) -> None:
            command = [*under, "prlimit", "--pid", str(server.pid), f"--nproc={count}:"]
            subprocess.run(command, check=True)

        project = await new_project(client)
        runs, rests = await new_toy(client, project), await new_toy(client, project)
        await do(client, f"{runs}/start")
        before = process_limit(server.pid)
        limit("1")
        what = ("VM 'toy' did not start", "no more processes are allowed", "(ulimit -u)")
        await fails(client, "POST", f"{rests}/start", 409, *what)
        await fails(client, "POST", f"{runs}/reload", 409, *what)
        assert [node["status"] for node in (await client.get(f"{project}/toy/vms")).json] == (
            ["stopped", "stopped"]
        )
        assert nodes() == set()
        # All the rest needs no process, and no thread that is not there.
        many = ("/v1/interfaces", "/v1/openapi.json", f"{project}/files", "/v1/plugins")
        answers = await asyncio.gather(*(client.get(path) for path in many * 20))
        assert {answer.status for answer in answers} == {200}
        await do(client, "/v1/config/reload", 201)
        third = await new_toy(client, project)
        assert (await client.delete(third)).status == 204
        limit(before)
        await do(client, f"{rests}/start")
        await do(client, f"{runs}/start")
        assert len(nodes()) == 2
    assert nodes() == set()
    assert "Traceback" not in server.log


async def test_a_start_without_processes_says_so(serve, ordinary):
    under, environ = ordinary
    with pytest.raises(
        RuntimeError, match=r"CRITICAL .*no more processes are .*ulimit -u"
    ) as ended:
        async with serve(under=[*under, "prlimit", "--nproc=3"], environ=environ):
            pass
    assert "Traceback" not in str(ended.value)


# Ports ------------------------------------------------------------------------------------


async def test_no_console_is_left(serving, gns3_settings):
    first = gns3_settings.server.console_start_port_range
    ports = {"console_start_port_range": first, "console_end_port_range": first + 1}
    async with serving(**ports) as server:
        client = server.client
        project = await new_project(client)
        toys = [await new_toy(client, project) for _ in range(2)]
        words = (f"No free TCP port is left between {first} and {first + 1}", "widen the range")
        await fails(client, "POST", f"{project}/toy/vms", 409, *words, body={"name": "third"})
        assert len((await client.get(f"{project}/toy/vms")).json) == 2
        for toy in toys:
            await do(client, f"{toy}/start")
        assert (await client.delete(toys[0])).status == 204
        await do(client, f"{await new_toy(client, project)}/start")
        assert len(server.ports.tcp) == 2


@pytest.mark.parametrize("kind", ["TCP", "UDP"])
async def test_a_port_is_stolen_between_reservation_and_start(serving, kind):
    async with serving() as server:
        client = server.client
        project = await new_project(client)
        toy = await new_toy(client, project)
        wire = (await client.post(f"{project}/ports/toy")).json["udp_port"]
        nio = {"type": "nio_udp", "lport": wire, "rhost": "127.0.0.1", "rport": 9}
        assert (await client.post(f"{toy}/adapters/0/ports/0/nio", nio)).status == 201
        shown = (await client.get(toy)).json
        port = shown["console"] if kind == "TCP" else wire
        kinds = {"TCP": socket.SOCK_STREAM, "UDP": socket.SOCK_DGRAM}
        with socket.socket(type=kinds[kind]) as thief:
            # As emulators do it: connections of earlier tests that are fading out do not count.
            thief.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, kind == "TCP")
            thief.bind(("127.0.0.1", port))
            if kind == "TCP":
                thief.listen()
            words = ("VM 'toy' did not start", f"{kind} port {port}", "another process")
            await fails(client, "POST", f"{toy}/start", 409, *words)
            assert (await client.get(toy)).json == shown
            assert server.processes() == {}
            await do(client, f"{await new_toy(client, project)}/start")
        await do(client, f"{toy}/start")


# Nodes ------------------------------------------------------------------------------------

IMPATIENT = """
from dataclasses import replace
launch_spec = ToyNode.launch_spec
async def impatient(self):
    limit = 2 if self.properties["mode"] == "never" else 30
    return replace(await launch_spec(self), ready_limit=limit, log_limit=10_000)
ToyNode.launch_spec = impatient
PROGRAM = PROGRAM.replace("listener = ", FLOOD + "listener = ", 1)
"""

FLOOD = '''
FLOOD = """
if mode == "floods":
    import threading
    def flood():
        while True:
            os.write(1, b"the same again and again\\\\n" * 100)
    threading.Thread(target=flood, daemon=True).start()
"""
'''


@pytest.fixture
async def impatient(gns3_serving, faulty_plugin):
    """A server whose toys have short logs and a mode that floods them; ``never`` fails soon."""
    plugin = faulty_plugin(FLOOD + IMPATIENT, name="toy", source="toy_emulator.py")
    async with gns3_serving(plugins=[plugin]) as server:
        yield server


def only_process(server) -> int:
    (pid,) = server.processes()
    return int(pid)


async def test_a_node_that_is_frozen_can_be_stopped(impatient):
    client = impatient.client
    project = await new_project(client)
    toy = await new_toy(client, project, mode="ignores-term")
    for method, path in (("POST", f"{toy}/stop"), ("DELETE", toy)):
        await do(client, f"{toy}/start")
        os.kill(only_process(impatient), signal.SIGSTOP)
        assert await status(client, toy) == "started"
        assert (await client.request(method, path)).status == 204
        assert impatient.processes() == {}


async def test_a_node_that_freezes_while_it_starts_is_given_up(impatient, until):
    client = impatient.client
    toy = await new_toy(client, await new_project(client), mode="never")
    starting = asyncio.create_task(client.post(f"{toy}/start"))

    async def has_come_up() -> bool:
        return bool(impatient.processes())

    await until(has_come_up)
    os.kill(only_process(impatient), signal.SIGSTOP)
    answer = await starting
    assert answer.status == 409
    assert "VM 'toy' did not start" in answer.json["message"]
    assert "was not ready within 2 s: TCP port" in answer.json["message"]
    assert await status(client, toy) == "stopped"
    assert impatient.processes() == {}
    assert (await client.put(toy, {"mode": "good"})).status == 200
    await do(client, f"{toy}/start")


async def test_a_node_that_floods_its_output_is_bounded(impatient, until):
    client = impatient.client
    project = await new_project(client)
    toy, other = await new_toy(client, project, mode="floods"), await new_toy(client, project)
    await do(client, f"{toy}/start")
    log = Path((await client.get(toy)).json["vm_directory"]) / "node.log"

    async def was_cut() -> bool:
        return log.with_name(f"{log.name}.1").exists()

    await until(was_cut)
    await do(client, f"{other}/start")
    assert log.with_name(f"{log.name}.1").stat().st_size == 10_000
    await do(client, f"{toy}/stop")


async def test_a_node_that_ignores_term_is_killed(impatient):
    client = impatient.client
    toy = await new_toy(client, await new_project(client), mode="ignores-term")
    for action in ("stop", "reload"):
        await do(client, f"{toy}/start")
        await do(client, f"{toy}/{action}")
    assert await status(client, toy) == "started"
    assert (await client.delete(toy)).status == 204
    assert impatient.processes() == {}


# The clock --------------------------------------------------------------------------------

JUMPING_CLOCK = """
import pathlib, time
jump, now = pathlib.Path({jump!r}), time.time
time.time = lambda: now() + float(jump.read_text())
"""


async def test_the_clock_jumps(serve, nodes, tmp_path, gate):
    jump = tmp_path / "jump"
    jump.write_text("0")
    plugin = JUMPING_CLOCK.format(jump=str(jump))
    async with serve(plugin=plugin) as server:
        client = server.client
        project = await new_project(client)
        runs = await new_toy(client, project)
        comes_up = await new_toy(client, project, mode=gate.mode)
        await do(client, f"{runs}/start")
        async with client.listen(f"{project}/notifications") as told:
            assert await anext(told) == {"action": "ping"}
            starting = asyncio.create_task(client.post(f"{comes_up}/start"))
            await gate.reached()
            jump.write_text("1e9")
            # Neither is the start given up, nor does the stream fall silent or end.
            assert await anext(told) == {"action": "ping"}
            gate.open()
            assert (await starting).status == 204
            assert (await next_event(told))["action"] == "vm.started"
        jump.write_text("-1e9")
        await do(client, f"{runs}/reload")
        pids = nodes()
        shown = (await client.get(f"{project}/toy/vms")).json
        await server.kill()
    jump.write_text("1e9")
    async with serve(plugin=plugin) as server:
        # The same processes, whatever the time of day.
        assert "nodes that have gone on running: 2" in server.log
        assert (await server.client.get(f"{project}/toy/vms")).json == shown
        assert nodes() == pids
        for toy in (runs, comes_up):
            await do(server.client, f"{toy}/stop")
        assert nodes() == set()
