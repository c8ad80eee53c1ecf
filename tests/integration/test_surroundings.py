"""What the program is started by and among: streams, signals, process ids, service managers."""

import asyncio
import os
import pty
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from gns3server.http.client import Client
from gns3server.log.output import MOST_WAITING
from gns3server.testing import processes_of

pytestmark = pytest.mark.heavy

PIPE_BYTES = 64 * 1024
"""What a pipe can hold (pipe(7))."""


def listens(log) -> bool:
    return log.exists() and "listens on" in log.read_text()


async def ends(process) -> int:
    process.send_signal(signal.SIGTERM)
    code: int = await process.wait()
    return code


# Output ---------------------------------------------------------------------------------


@pytest.fixture
def unread():
    """Descriptors to write to, which nobody reads: of a full pipe, and of a stopped terminal."""
    reader, pipe = os.pipe()
    keyboard, terminal = pty.openpty()
    # Ctrl+S.
    os.write(keyboard, b"\x13")
    yield {"pipe": pipe, "terminal": terminal}
    for descriptor in (reader, pipe, keyboard, terminal):
        os.close(descriptor)


@pytest.mark.parametrize("kind", ["pipe", "terminal"])
async def test_output_that_nobody_reads_keeps_nobody_waiting(run, environ, unread, until, kind):
    """Requests go on being answered and signals heard while the output is not read."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = await run("--port", str(port), out=unread[kind])
    async with Client(f"http://127.0.0.1:{port}") as client:

        async def is_up() -> bool:
            assert process.returncode is None
            try:
                return (await client.get("/v1/version")).status == 200
            except OSError:
                return False

        await until(is_up)
        # More than is kept for a reader who may come: the rest is dropped.
        address = "/" + "x" * 8_000
        for _ in range((PIPE_BYTES + MOST_WAITING) // len(address) + 5):
            assert (await client.get(address)).status == 404
        assert await ends(process) == 0
    assert processes_of(environ["GNS3_TEST_ID"]) == {}
    said = (await process.stderr.read()).decode()
    assert said.count("the log cannot be written (nobody reads it)") == 1


CLOSED = {0: "<&-", 1: ">&-", 2: "2>&-"}


@pytest.mark.parametrize("closed", [(0,), (1,), (2,), (0, 1), (0, 2), (1, 2), (0, 1, 2)])
async def test_closed_streams_are_the_null_device(run, closed, tmp_path, until):
    """A server whose output is closed serves; what is closed is opened on /dev/null."""
    log = tmp_path / "log"
    closing = " ".join(CLOSED[number] for number in closed)
    process = await run("--log", str(log), shell=f"exec {closing}")

    async def is_up() -> bool:
        assert process.returncode is None
        return listens(log)

    await until(is_up)
    for number in closed:
        assert os.readlink(f"/proc/{process.pid}/fd/{number}") == os.devnull
    assert await ends(process) == 0
    assert "Traceback" not in log.read_text() + (await process.stderr.read()).decode()


@pytest.mark.parametrize("closed", [">&-", "<&- >&- 2>&-"])
async def test_a_daemon_needs_no_streams(run, environ, closed, tmp_path, until):
    """A daemon whose output is closed serves as well, and has said so with its exit code."""
    log, pid_file = tmp_path / "log", tmp_path / "pid"
    process = await run(
        "--daemon", "--log", str(log), "--pid", str(pid_file), shell=f"exec {closed}"
    )
    assert await process.wait() == 0
    # The command has waited for that.
    assert listens(log)
    os.kill(int(pid_file.read_text()), signal.SIGTERM)

    async def has_ended() -> bool:
        return processes_of(environ["GNS3_TEST_ID"]) == {}

    await until(has_ended)


async def test_a_daemon_that_cannot_serve_says_so_with_its_exit_code(run, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        process = await run("--daemon", "--port", port, "--log", str(tmp_path / "log"))
        out, err = await process.communicate()
    assert (process.returncode, out) == (1, b"")
    assert f"cannot listen on 127.0.0.1, port {port}: Address already in use" in err.decode()
    assert "--port NUMBER" in err.decode()
    assert "CRITICAL" in (tmp_path / "log").read_text()


@pytest.mark.parametrize("command", [("doctor",), ("plugins",), ("settings",), ("--help",)])
async def test_whoever_has_read_enough_may_stop_reading(run, command):
    reader, writer = os.pipe()
    os.close(reader)
    process = await run(*command, out=writer)
    os.close(writer)
    _, err = await process.communicate()
    # As a shell says it of a program that SIGPIPE has ended.
    assert (process.returncode, err) == (141, b"")


@pytest.mark.parametrize("command", [("doctor",), ("plugins",), ("settings",), ("--help",)])
async def test_a_disk_that_is_full_is_said(run, command):
    full = os.open("/dev/full", os.O_WRONLY)
    process = await run(*command, out=full)
    os.close(full)
    _, err = await process.communicate()
    said = "gns3server: the output cannot be written: No space left on device\n"
    assert (process.returncode, err.decode()) == (1, said)


# Signals --------------------------------------------------------------------------------


@pytest.mark.parametrize("names", ["HUP", "INT QUIT", "TERM INT"])
async def test_a_signal_that_was_ignored_stays_ignored(running, names):
    """HUP under nohup, INT and QUIT of background jobs: ignored at the start stays so."""
    async with running(shell=f"trap '' {names}") as (process, url, _), Client(url) as client:
        for name in names.split():
            process.send_signal(getattr(signal, f"SIG{name}"))
        assert (await client.get("/v1/version")).status == 200
        process.send_signal(signal.SIGTERM if names == "HUP" else signal.SIGHUP)
        out, _ = await process.communicate()
    assert process.returncode == 0
    assert out.decode().count(" received: the server is stopping") == 1


def test_a_signal_that_was_blocked_is_heard(environ, tmp_path):
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        process = subprocess.Popen(
            [sys.executable, "-m", "gns3server"],
            env=environ,
            cwd=tmp_path,
            stdout=subprocess.PIPE,
        )
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    with process:
        assert process.stdout is not None
        while b"listens on" not in (line := process.stdout.readline()):
            assert line
        process.send_signal(signal.SIGTERM)
        process.stdout.read()
    assert process.returncode == 0


# Process ids ----------------------------------------------------------------------------


async def test_a_pid_that_is_another_programs_by_now_is_in_nobodys_way(running, tmp_path):
    """It starts: a living process without a lock on the pid file is somebody else."""
    pid_file = tmp_path / "pid"
    pid_file.write_text(f"{os.getpid()}\n")
    async with running("--pid", str(pid_file)) as (process, _, _):
        assert pid_file.read_text() == f"{process.pid}\n"


async def test_a_file_that_is_no_pid_file_is_left_alone(run, tmp_path):
    notes = tmp_path / "notes"
    notes.write_text("not a number, and longer than any\n" * 4)
    process = await run("--pid", str(notes))
    out, _ = await process.communicate()
    assert process.returncode == 1
    wanted = f"{notes} cannot be used: it holds more than a process id. Choose another file for"
    assert wanted in out.decode()
    assert notes.read_text().startswith("not a number")


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (os.mkdir, "Is a directory"),
        (os.mkfifo, "it is not a regular file"),
        (lambda path: os.symlink("notes", path), "Too many levels of symbolic links"),
    ],
)
async def test_what_is_no_file_is_no_pid_file(run, tmp_path, make, reason):
    (tmp_path / "notes").write_text("short")
    make(tmp_path / "pid")
    process = await run("--pid", str(tmp_path / "pid"))
    out, _ = await process.communicate()
    assert process.returncode == 1
    assert f"{tmp_path}/pid cannot be used: {reason}. Choose another" in out.decode()
    assert (tmp_path / "notes").read_text() == "short"


def children_of(pid) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


FIRST = """
import ctypes, os, signal, subprocess, sys, time
from gns3server.cli.first_process import fork_if_first
ctypes.CDLL(None).prctl({subreaper}, 1, 0, 0, 0)
getpid, os.getpid = os.getpid, lambda: 1
fork_if_first()
# From here on, as a server that has an emulator with a child of its own, which it forgets.
done = []
signal.signal(signal.SIGUSR1, lambda *_: done.append(True))
subprocess.run(["sh", "-c", "sleep 0 & sleep 0 &"])
print(os.getppid(), flush=True)
while not done:
    time.sleep(0.01)
{end}
"""


@pytest.mark.parametrize(
    ("end", "code"),
    [("os._exit(7)", 7), ("signal.raise_signal(signal.SIGKILL)", 128 + signal.SIGKILL)],
)
async def test_the_first_process_reaps_orphans_and_passes_signals_on(tmp_path, until, end, code):
    """As process 1 the server reaps children that it does not know: no zombies pile up."""
    # PR_SET_CHILD_SUBREAPER of linux/prctl.h: orphans get this parent, as in a container.
    source = FIRST.format(subreaper=36, end=end)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", source, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    assert await process.stdout.readline() == f"{process.pid}\n".encode()

    async def no_zombie() -> bool:
        return len(children_of(process.pid)) == 1

    await until(no_zombie)
    process.send_signal(signal.SIGUSR1)
    assert await process.wait() == code


# Service managers -----------------------------------------------------------------------


@pytest.mark.parametrize("abstract", [False, True])
async def test_a_service_manager_is_told_of_readiness_and_the_end(running, tmp_path, abstract):
    name = f"@gns3-{os.getpid()}-{tmp_path.name}" if abstract else f"{tmp_path}/notify"
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(name.replace("@", "\0"))
        manager.setblocking(False)
        async with running(NOTIFY_SOCKET=name) as (process, url, _), Client(url) as client:
            assert await loop.sock_recv(manager, 100) == b"READY=1"
            assert (await client.get("/v1/version")).status == 200
            process.terminate()
            assert await loop.sock_recv(manager, 100) == b"STOPPING=1"
            assert await process.wait() == 0


async def test_a_service_manager_that_has_gone_does_no_harm(running, tmp_path):
    async with running(NOTIFY_SOCKET=f"{tmp_path}/nobody") as (process, _, _):
        process.terminate()
        out, _ = await process.communicate()
    assert process.returncode == 0
    assert "was not told READY=1: " in out.decode()


# Other servers --------------------------------------------------------------------------


async def test_a_second_server_is_told_of_the_first_and_how_to_run_beside_it(
    running, run, tmp_path
):
    async with running() as (process, url, _):
        second = await run()
        out, _ = await second.communicate()
        assert second.returncode == 1
        said = out.decode()
        assert f"process {process.pid} since " in said
        assert f", serving {url}. Use that server" in said
        assert "--state-path DIRECTORY --port NUMBER" in said
        beside = ("--state-path", str(tmp_path / "other"), "--port", "0")
        async with running(*beside) as (_, other, _), Client(other) as client:
            assert other != url
            assert (await client.get("/v1/version")).status == 200
