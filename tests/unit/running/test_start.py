"""From a spec to a process that is ready, or a reason that a user understands."""

import asyncio
import errno
import os
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import pytest
from faults import failing
from waiting import settled

from gns3server.running import launching
from gns3server.running.identity import open_child
from gns3server.running.local import LocalRunner
from gns3server.running.local_run import LocalRun
from gns3server.running.procfs import processes, run_id_carriers, socket_inodes
from gns3server.running.reader import KernelReader
from gns3server.running.readiness import look
from gns3server.running.runs import LaunchFailed
from gns3server.running.spec import LaunchSpec, Port

MakeSpec = Callable[..., LaunchSpec]
Start = Callable[[LaunchSpec], Any]


async def test_is_ready_when_its_ports_are_bound(
    start: Start, make_spec: MakeSpec, tcp_port: Port, udp_port: Port
) -> None:
    body = f"a = tcp({tcp_port.number}); b = udp({udp_port.number}); rest()"
    run: LocalRun = await start(make_spec(body, ports=(tcp_port, udp_port)))
    assert [identity.pid for identity in run.processes] == [run.pid]
    assert len(await asyncio.to_thread(socket_inodes, run.processes[0].pid)) == 2
    assert run.exit is None
    assert not run.ending
    await run.stop()


async def test_records_the_child_that_holds_a_port(
    start: Start, make_spec: MakeSpec, tcp_port: Port, udp_port: Port
) -> None:
    body = f"""
fork(rest)
def serve():
    sock = udp({udp_port.number})
    print(os.getpid(), flush=True)
    rest()
fork(serve)
a = tcp({tcp_port.number})
rest()
"""
    run: LocalRun = await start(make_spec(body, ports=(tcp_port, udp_port), children=1))
    _, child = run.processes
    assert str(child.pid) == (await run.log_tail()).strip()
    await run.stop()


SLOW = """
open({begun!r}, "w").close()
open({go_on!r}).close()
a = tcp({port})
rest()
"""


async def test_waits_for_a_slow_one(
    spawn: Start, make_spec: MakeSpec, tcp_port: Port, tmp_path: Path, reader: KernelReader
) -> None:
    begun, go_on = tmp_path / "begun", tmp_path / "go_on"
    os.mkfifo(begun)
    os.mkfifo(go_on)
    body = SLOW.format(begun=str(begun), go_on=str(go_on), port=tcp_port.number)
    run: LocalRun = await spawn(make_spec(body, ports=(tcp_port,)))
    ready = asyncio.create_task(run.ready())
    await asyncio.to_thread(begun.read_bytes)
    await reader.carriers([], [])
    assert not ready.done()
    await asyncio.to_thread(go_on.write_bytes, b"")
    await ready
    await run.stop()


async def test_a_process_that_forked_away_counts_as_its_own(
    start: Start, make_spec: MakeSpec, udp_port: Port
) -> None:
    body = f"""
def serve():
    sock = udp({udp_port.number})
    rest()
os.waitpid(fork(lambda: fork(serve)), 0)
rest()
"""
    run: LocalRun = await start(make_spec(body, ports=(udp_port,), children=1))
    main, child = run.processes
    table = await asyncio.to_thread(processes)
    assert child.pid not in {stat.pid for stat in table.descendants([main.pid])}
    await run.stop()


async def test_gives_up_at_the_limit(spawn: Start, make_spec: MakeSpec, tcp_port: Port) -> None:
    run: LocalRun = await spawn(make_spec("rest()", ports=(tcp_port,), ready_limit=0.2))
    with pytest.raises(LaunchFailed) as failure:
        await run.ready()
    assert failure.value.reason.endswith(f"was not ready within 0.2 s: {tcp_port} not bound")
    await run.stop()


async def test_gives_up_when_a_child_is_missing(
    spawn: Start, make_spec: MakeSpec, tcp_port: Port
) -> None:
    body = f"a = tcp({tcp_port.number}); rest()"
    spec = make_spec(body, ports=(tcp_port,), children=2, ready_limit=0.3)
    run: LocalRun = await spawn(spec)
    with pytest.raises(LaunchFailed, match="0 of 2 child processes there"):
        await run.ready()
    await run.stop()


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("sys.exit(3)", "ended with exit code 3 before it was ready"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "was ended by SIGKILL before it was ready"),
        ("fork(rest)", "ended with exit code 0 before it was ready"),
    ],
    ids=["exits", "is killed", "forks and dies"],
)
async def test_says_how_it_ended_at_once(
    spawn: Start, make_spec: MakeSpec, tcp_port: Port, body: str, reason: str
) -> None:
    run: LocalRun = await spawn(make_spec(body, ports=(tcp_port,)))
    with pytest.raises(LaunchFailed) as failure:
        await run.ready()
    assert failure.value.reason.endswith(reason)
    assert run.exit is not None
    assert not run.exit.outlived
    await run.stop()


@pytest.mark.parametrize("kind", ["tcp", "udp"])
async def test_refuses_a_port_that_is_taken(
    spawn: Start, make_spec: MakeSpec, kind: str, tmp_path: Path
) -> None:
    type_ = socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM
    with socket.socket(type=type_) as foreign:
        foreign.bind(("127.0.0.1", 0))
        if kind == "tcp":
            foreign.listen()
        port = Port("tcp" if kind == "tcp" else "udp", foreign.getsockname()[1])
        with pytest.raises(LaunchFailed) as failure:
            await spawn(make_spec("rest()", ports=(port,)))
    assert failure.value.reason.startswith(f"{port} is in use by another process of this machine: ")
    assert not (tmp_path / "node" / "node.log").exists()


@pytest.mark.parametrize(
    "body", ["a = tcp({}); rest()", "rest()"], ids=["other bound", "none bound"]
)
async def test_sees_a_port_taken_by_another_after_the_spawn(
    spawn: Start, make_spec: MakeSpec, tcp_port: Port, udp_port: Port, body: str
) -> None:
    body = body.format(tcp_port.number)
    run: LocalRun = await spawn(make_spec(body, ports=(tcp_port, udp_port), ready_limit=50))
    with socket.socket(type=socket.SOCK_DGRAM) as foreign:
        foreign.bind(("0.0.0.0", udp_port.number))
        with pytest.raises(LaunchFailed) as failure:
            await run.ready()
    assert failure.value.reason.startswith(f"{udp_port} is in use by another process of this ")
    assert run.exit is None
    await run.stop()


@pytest.mark.parametrize("hides", [False, True])
async def test_believes_nobody_but_the_processes_of_the_run(
    *,
    spawn: Start,
    make_spec: MakeSpec,
    tcp_port: Port,
    tmp_path: Path,
    looks: Any,
    hides: bool,
) -> None:
    rounds, loop = asyncio.Queue[None](), asyncio.get_running_loop()

    def counted(*arguments: Any) -> Any:
        answers = look(*arguments)
        loop.call_soon_threadsafe(rounds.put_nowait, None)
        return answers

    looks.look = counted
    begun, go_on = tmp_path / "begun", tmp_path / "go_on"
    os.mkfifo(begun)
    os.mkfifo(go_on)
    body = SLOW.format(begun=str(begun), go_on=str(go_on), port=tcp_port.number)
    # It is in nobody's way: the program binds IPv4 addresses.
    with socket.socket(socket.AF_INET6) as foreign:
        foreign.bind(("::1", tcp_port.number))
        foreign.listen()
        run: LocalRun = await spawn(make_spec(body, ports=(tcp_port,)))
        with hiding(run.pid) if hides else nullcontext():
            ready = asyncio.create_task(run.ready())
            await asyncio.to_thread(begun.read_bytes)
            # At the second look, a port that another process has taken would be refused.
            for _ in range(3):
                await rounds.get()
            assert not ready.done()
            await asyncio.to_thread(go_on.write_bytes, b"")
            await ready
        await run.stop()


def hiding(pid: int) -> AbstractContextManager[object]:
    """A process that does not show its descriptors, like one with capabilities does to users."""
    return failing("listdir", Path(f"/proc/{pid}/fd"), errno.EACCES)


async def test_a_program_that_hides_its_descriptors_can_be_started(
    spawn: Start, make_spec: MakeSpec, tcp_port: Port, udp_port: Port
) -> None:
    """A port that was free before the start and is bound after it counts as the program's own."""
    body = f"fork(rest); a = tcp({tcp_port.number}); b = udp({udp_port.number}); rest()"
    run: LocalRun = await spawn(make_spec(body, ports=(tcp_port, udp_port), children=1))
    with hiding(run.pid):
        await run.ready()
    assert len(run.processes) == 2
    await run.stop()


async def test_sees_a_port_taken_by_another_although_the_program_hides_its_descriptors(
    spawn: Start, make_spec: MakeSpec, tcp_port: Port, udp_port: Port
) -> None:
    body = f"a = tcp({tcp_port.number}); rest()"
    run: LocalRun = await spawn(make_spec(body, ports=(tcp_port, udp_port), ready_limit=50))
    with hiding(run.pid), socket.socket(type=socket.SOCK_DGRAM) as foreign:
        foreign.bind(("0.0.0.0", udp_port.number))
        with pytest.raises(LaunchFailed) as failure:
            await run.ready()
    assert failure.value.reason.startswith(f"{udp_port} is in use by another process of this ")
    await run.stop()


async def test_a_wait_that_is_given_up_asks_no_more(
    spawn: Start,
    make_spec: MakeSpec,
    tcp_port: Port,
    reader: KernelReader,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("gns3server.running.reader.PAUSE", 30)
    run: LocalRun = await spawn(make_spec("rest()", ports=(tcp_port,)))
    waiting = asyncio.create_task(run.ready())
    await settled()
    # The reader's one thread has looked before it does this: the pause has begun.
    await reader.carriers([], [])
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert run.exit is None
    await run.stop()
    assert reader.idle


async def test_a_stop_ends_the_wait(
    spawn: Start, make_spec: MakeSpec, tcp_port: Port, reader: KernelReader
) -> None:
    run: LocalRun = await spawn(make_spec("rest()", ports=(tcp_port,)))
    waiting = asyncio.create_task(run.ready())
    await reader.carriers([], [])
    await run.stop()
    with pytest.raises(LaunchFailed, match="SIGTERM"):
        await waiting


async def test_a_closing_runner_ends_the_wait(
    make_spec: MakeSpec, tcp_port: Port, runner: LocalRunner, run_ids: Callable[[], str]
) -> None:
    former = LocalRunner({})
    run = await former.spawn(make_spec("rest()", ports=(tcp_port,)), run_id=run_ids())
    waiting = asyncio.create_task(run.ready())
    await asyncio.sleep(0)
    await former.close()
    with pytest.raises(LaunchFailed, match="stopped watching it"):
        await waiting
    assert await runner.sweep([run.run_id]) == 1


async def test_runs_with_what_the_spec_says(
    start: Start, make_spec: MakeSpec, tcp_port: Port, run_ids: list[str]
) -> None:
    body = f"""
print(os.getcwd(), open("script").read(), os.environ["MINE"], os.environ["GNS3_RUN_ID"])
print(os.getsid(0) == os.getpid(), sys.stdin.read() == "", sorted(os.listdir("/proc/self/fd")))
print("error", file=sys.stderr, flush=True)
sys.stdout.flush()
a = tcp({tcp_port.number})
rest()
"""
    spec = make_spec(body, env={"MINE": "yes"}, files={"script": b"text"}, ports=(tcp_port,))
    run: LocalRun = await start(spec)
    lines = (await run.log_tail()).splitlines()
    assert "error" in lines
    lines.remove("error")
    assert lines == [
        f"{spec.cwd} text yes {run_ids[-1]}",
        "True True ['0', '1', '2', '3']",
    ]
    assert run.run_id == run_ids[-1]
    await run.stop()


LIBRARY_SIGNALS = 1 << 31 | 1 << 32
"""As a mask: 32 and 33, which glibc keeps for itself. Its ``posix_spawn``, which Python has used
more widely since 3.13, has programs ignore them, and its ``sigaction`` lets none change that."""


@pytest.fixture
def unclean() -> Iterator[set[int]]:
    """Ignore and block signals, and let a descriptor be inherited, as whoever starts us might.

    A later thread inherits what this one blocks.
    """
    numbers = {signal.SIGHUP, signal.SIGINT, signal.SIGCHLD, signal.SIGUSR1, signal.SIGRTMIN}
    former = {number: signal.signal(number, signal.SIG_IGN) for number in numbers}
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2, signal.SIGTERM})
    inherited = os.open(os.devnull, os.O_RDONLY)
    os.set_inheritable(inherited, True)
    yield {int(number) for number in numbers}
    os.close(inherited)
    signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
    for number, handler in former.items():
        signal.signal(number, handler)


async def test_a_run_starts_clean(unclean: set[int], spawn: Start, tmp_path: Path) -> None:
    async def output(*argv: str) -> list[str]:
        run: LocalRun = await spawn(LaunchSpec(argv=argv, cwd=str(tmp_path / "node")))
        await run.ended()
        return (await run.log_tail()).split()

    # No Python and no shell, which change signals of their own.
    lines = await output("/bin/grep", "-E", "^Sig(Blk|Ign)", "/proc/self/status")
    assert lines[::2] == ["SigBlk:", "SigIgn:"]
    assert [int(mask, 16) & ~LIBRARY_SIGNALS for mask in lines[1::2]] == [0, 0]
    # The last one is the list itself.
    assert await output("/bin/ls", "/proc/self/fd") == ["0", "1", "2", "3"]
    run = await spawn(LaunchSpec(argv=("/bin/sh", "-c", "exit 3"), cwd=str(tmp_path / "node")))
    assert (await run.ended()).code == 3
    for number in unclean:
        # It is none of the server's business either.
        signal.raise_signal(number)


def own_timer_slack() -> int:
    """The main thread's, in nanoseconds; to another thread reading it takes a privilege."""
    return int(Path("/proc/self/timerslack_ns").read_text())


async def test_timer_slack_is_the_specs_and_only_its(
    start: Start, make_spec: MakeSpec, tmp_path: Path, tcp_port: Port
) -> None:
    body = f"""
print(open("/proc/self/timerslack_ns").read(), flush=True)
a = tcp({tcp_port.number})
rest()
"""
    found = []
    for slack in (5_000_000, None):
        run: LocalRun = await start(make_spec(body, timer_slack_ns=slack, ports=(tcp_port,)))
        found.append(int(await run.log_tail()))
        await run.stop()
    assert found == [5_000_000, own_timer_slack()]


def not_executable(directory: Path) -> Path:
    (directory / "prog").write_bytes(b"#!/bin/sh\n")
    return directory / "prog"


def without_interpreter(directory: Path) -> Path:
    (directory / "prog").write_bytes(b"#!/does/not/exist\n")
    (directory / "prog").chmod(0o755)
    return directory / "prog"


def of_another_machine(directory: Path) -> Path:
    (directory / "prog").write_bytes(b"\0\1\2")
    (directory / "prog").chmod(0o755)
    return directory / "prog"


@pytest.mark.parametrize(
    ("make_program", "reason"),
    [
        (lambda directory: directory / "prog", "does not exist: install it"),
        (lambda directory: directory, "may not be executed"),
        (not_executable, "may not be executed"),
        (without_interpreter, "needs an interpreter"),
        (of_another_machine, "not a program of this machine"),
    ],
)
async def test_says_why_a_program_cannot_be_started(
    spawn: Start, tmp_path: Path, make_program: Callable[[Path], Path], reason: str
) -> None:
    program = make_program(tmp_path)
    with pytest.raises(LaunchFailed) as failure:
        await spawn(LaunchSpec(argv=(str(program),), cwd=str(tmp_path / "node")))
    assert str(program) in failure.value.reason
    assert reason in failure.value.reason


@pytest.mark.parametrize("obstacle", [os.mkfifo, lambda path: path.symlink_to("../precious")])
async def test_what_is_in_the_way_of_its_files_is_not_written_to(
    start: Start,
    make_spec: MakeSpec,
    tcp_port: Port,
    tmp_path: Path,
    obstacle: Callable[[Path], None],
) -> None:
    (tmp_path / "node").mkdir()
    (tmp_path / "precious").write_text("precious")
    obstacle(tmp_path / "node" / ".script.new")
    body = f"print(open('script').read(), flush=True); a = tcp({tcp_port.number}); rest()"
    run: LocalRun = await start(make_spec(body, files={"script": b"text"}, ports=(tcp_port,)))
    assert (await run.log_tail()).strip() == "text"
    assert (tmp_path / "precious").read_text() == "precious"
    await run.stop()


async def test_says_why_a_directory_cannot_be_used(
    spawn: Start, make_spec: MakeSpec, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(LaunchFailed, match=f"cannot write to the directory {tmp_path}/file/node"):
        await spawn(make_spec("rest()", cwd=f"{tmp_path}/file/node"))
    (tmp_path / "node" / "node.log").mkdir(parents=True)
    with pytest.raises(LaunchFailed, match=r"cannot open the log node\.log"):
        await spawn(make_spec("rest()"))


@pytest.mark.parametrize(
    ("number", "advice"), [(errno.EAGAIN, "ulimit -u"), (errno.EMFILE, "ulimit -n")]
)
async def test_says_which_limit_is_in_the_way(
    spawn: Start, make_spec: MakeSpec, monkeypatch: pytest.MonkeyPatch, number: int, advice: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(subprocess, "Popen", fail)
    with pytest.raises(LaunchFailed, match=advice):
        await spawn(make_spec("rest()"))


async def test_a_process_that_cannot_be_watched_is_not_left_behind(
    spawn: Start, make_spec: MakeSpec, monkeypatch: pytest.MonkeyPatch, run_ids: list[str]
) -> None:
    started = []

    def fail(pid: int) -> None:
        started.append(pid)
        raise OSError(errno.EMFILE, "no")

    monkeypatch.setattr(launching, "open_child", fail)
    with pytest.raises(LaunchFailed, match=r"cannot watch .*ulimit -n"):
        await spawn(make_spec("rest()"))
    with pytest.raises(ProcessLookupError):
        os.kill(started[0], 0)


async def test_a_spawn_that_is_given_up_leaves_nothing(
    make_spec: MakeSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner, run_id = LocalRunner({}), f"given-up-{os.getpid()}"
    loop = asyncio.get_running_loop()
    reached: asyncio.Future[None] = loop.create_future()
    real = open_child

    def late(pid: int) -> object:
        loop.call_soon_threadsafe(reached.set_result, None)
        return real(pid)

    monkeypatch.setattr(launching, "open_child", late)
    spawning = asyncio.create_task(runner.spawn(make_spec("rest()"), run_id=run_id))
    await reached
    spawning.cancel()
    with pytest.raises(asyncio.CancelledError):
        await spawning
    await runner.close()
    assert run_id not in await asyncio.to_thread(run_id_carriers)


async def test_waits_that_overlap_record_a_child_once(
    spawn: Start, make_spec: MakeSpec, udp_port: Port
) -> None:
    body = f"""
def serve():
    sock = udp({udp_port.number})
    rest()
fork(serve)
rest()
"""
    run: LocalRun = await spawn(make_spec(body, ports=(udp_port,), children=1))
    await asyncio.gather(run.ready(), run.ready())
    assert len(run.processes) == 2
    await run.stop()


async def test_gives_it_no_input(start: Start, make_spec: MakeSpec, tcp_port: Port) -> None:
    body = f"""
print(os.readlink("/proc/self/fd/0"), flush=True)
a = tcp({tcp_port.number})
rest()
"""
    saved = os.dup(0)
    reading, writing = os.pipe()
    try:
        os.dup2(reading, 0)
        run: LocalRun = await start(make_spec(body, ports=(tcp_port,)))
    finally:
        os.dup2(saved, 0)
        for descriptor in (saved, reading, writing):
            os.close(descriptor)
    assert (await run.log_tail()).strip() == os.devnull
    await run.stop()


async def test_many_start_at_once(
    start: Start,
    make_spec: MakeSpec,
    free_port: Callable[[str], Port],
    tmp_path: Path,
    runner: LocalRunner,
) -> None:
    async def one(number: int) -> None:
        port = free_port("udp")
        body = f"a = udp({port.number}); rest()"
        run = await start(make_spec(body, cwd=str(tmp_path / str(number)), ports=(port,)))
        await run.stop()
        assert run.exit.code == -15

    await asyncio.gather(*(one(number) for number in range(10)))
    assert not runner.runs
