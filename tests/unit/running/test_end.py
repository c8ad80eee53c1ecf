"""However a run ends, all of it ends, and what is said about it is true."""

import asyncio
import os
import select
import signal
from collections.abc import Callable
from typing import Any

import pytest

from gns3server.running.local import LocalRunner
from gns3server.running.local_run import LocalRun
from gns3server.running.procfs import run_id_carriers
from gns3server.running.reader import KernelReader
from gns3server.running.runs import Exit, Run
from gns3server.running.spec import LaunchSpec, Port
from gns3server.running.watched import WatchedProcesses

MakeSpec = Callable[..., LaunchSpec]
Start = Callable[[LaunchSpec], Any]


async def alive(run: LocalRun) -> set[int]:
    """The pids of all living processes that carry the run's id."""
    carriers = await asyncio.to_thread(run_id_carriers)
    return {stat.pid for stat in carriers.get(run.run_id, ())}


async def noticed(run: Run) -> None:
    """Wait until the run knows that a process of it has ended, of which nobody is told."""
    while not run.ending:  # noqa: ASYNC110
        await asyncio.sleep(0)


# Stopped on request ---------------------------------------------------------


async def test_asks_first(start: Start, make_spec: MakeSpec, tcp_port: Port) -> None:
    body = f"""
signal.signal(signal.SIGINT, lambda *_: os._exit(7))
a = tcp({tcp_port.number})
rest()
"""
    run = await start(make_spec(body, ports=(tcp_port,), stop_signal=signal.SIGINT))
    await run.stop()
    assert run.exit == Exit(7, run.processes[0], outlived=False)
    assert not await alive(run)


async def test_kills_what_does_not_listen(
    start: Start, make_spec: MakeSpec, tcp_port: Port
) -> None:
    body = f"ignore(signal.SIGTERM); a = tcp({tcp_port.number}); rest()"
    run = await start(make_spec(body, ports=(tcp_port,), stop_limit=0.1))
    await run.stop()
    assert run.exit.code == -signal.SIGKILL
    assert not await alive(run)


async def test_what_is_frozen_still_gets_its_signal(
    start: Start, make_spec: MakeSpec, tcp_port: Port
) -> None:
    body = f"""
signal.signal(signal.SIGTERM, lambda *_: os._exit(7))
a = tcp({tcp_port.number})
rest()
"""
    run = await start(make_spec(body, ports=(tcp_port,), stop_limit=30))
    pid = run.processes[0].pid
    os.kill(pid, signal.SIGSTOP)
    await asyncio.to_thread(os.waitid, os.P_PID, pid, os.WSTOPPED | os.WNOWAIT)
    await run.stop()
    assert run.exit.code == 7


async def test_a_frozen_deaf_one_is_killed(
    start: Start, make_spec: MakeSpec, tcp_port: Port
) -> None:
    body = f"ignore(signal.SIGTERM, signal.SIGCONT); a = tcp({tcp_port.number}); rest()"
    run = await start(make_spec(body, ports=(tcp_port,), stop_limit=0.1))
    os.kill(run.processes[0].pid, signal.SIGSTOP)
    await run.stop()
    assert run.exit.code == -signal.SIGKILL


@pytest.mark.parametrize(
    "fork",
    ["fork(work)", "os.waitpid(fork(lambda: fork(work)), 0)"],
    ids=["child", "forked away"],
)
async def test_stops_what_it_forked(
    start: Start, make_spec: MakeSpec, tcp_port: Port, udp_port: Port, fork: str
) -> None:
    body = f"""
def work():
    ignore(signal.SIGTERM)
    os.setsid()
    sock = udp({udp_port.number})
    rest()
{fork}
a = tcp({tcp_port.number})
rest()
"""
    run = await start(make_spec(body, ports=(tcp_port, udp_port), stop_limit=0.1))
    assert len(run.processes) == 1
    assert len(await alive(run)) == 2
    await run.stop()
    assert run.exit.code == -signal.SIGTERM
    assert not await alive(run)


async def test_stops_a_child_that_hides_its_run_id(
    start: Start, make_spec: MakeSpec, tcp_port: Port, udp_port: Port
) -> None:
    hidden = f"""
import signal, socket
sock = socket.socket(type=socket.SOCK_DGRAM)
sock.bind(("0.0.0.0", {udp_port.number}))
signal.pause()
"""
    body = f"""
command = [sys.executable, "-I", "-S", "-c", {hidden!r}]
print(fork(lambda: os.execve(sys.executable, command, {{}})), flush=True)
a = tcp({tcp_port.number})
rest()
"""
    run = await start(make_spec(body, ports=(tcp_port, udp_port)))
    child = os.pidfd_open(int(await run.log_tail()))
    try:
        assert len(await alive(run)) == 1
        await run.stop()
        ended, _, _ = select.select([child], [], [], 0)
        assert ended
    finally:
        os.close(child)


async def test_stops_share_one_ladder_and_survive_cancellation(
    start: Start, make_spec: MakeSpec, tcp_port: Port, reader: KernelReader
) -> None:
    body = f"ignore(signal.SIGTERM); a = tcp({tcp_port.number}); rest()"
    run = await start(make_spec(body, ports=(tcp_port,), stop_limit=0.2))
    first, second = asyncio.create_task(run.stop()), asyncio.create_task(run.stop())
    await reader.carriers([], [])
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    ladder = run.begin_stop()
    assert not ladder.done()
    await second
    assert run.begin_stop() is ladder
    assert run.exit.code == -signal.SIGKILL


async def test_a_stop_that_cannot_search_stops_what_it_knows(
    start: Start,
    make_spec: MakeSpec,
    tcp_port: Port,
    reader: KernelReader,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def fail(*_: object) -> None:
        raise OSError("no file descriptor left")

    run = await start(make_spec(f"a = tcp({tcp_port.number}); rest()", ports=(tcp_port,)))
    with monkeypatch.context() as patch:
        patch.setattr(reader, "family", fail)
        patch.setattr(reader, "carriers", fail)
        await run.stop()
    assert not await alive(run)


async def test_a_stop_that_went_wrong_is_told_and_can_be_tried_again(
    start: Start,
    make_spec: MakeSpec,
    tcp_port: Port,
    reader: KernelReader,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def fail(*_: object) -> None:
        raise RuntimeError("a fault")

    run = await start(make_spec(f"a = tcp({tcp_port.number}); rest()", ports=(tcp_port,)))
    ended = asyncio.create_task(run.ended())
    with monkeypatch.context() as patch:
        patch.setattr(reader, "family", fail)
        with pytest.raises(RuntimeError, match="a fault"):
            await run.stop()
    await ended
    assert await alive(run) == {run.pid}
    await run.stop()
    assert not await alive(run)


async def test_only_what_carries_the_run_id_is_found(
    start: Start, make_spec: MakeSpec, tcp_port: Port, reader: KernelReader
) -> None:
    run = await start(make_spec(f"a = tcp({tcp_port.number}); rest()", ports=(tcp_port,)))
    await WatchedProcesses(reader, ["another"]).take_down(asyncio.Event())
    assert len(await alive(run)) == 1
    await run.stop()


# Ended unasked --------------------------------------------------------------

PAIR = """
pid = fork(rest)
print(pid, flush=True)
a = tcp({port})
{body}
"""


async def pair(start: Start, make_spec: MakeSpec, port: Port, body: str) -> LocalRun:
    """Start a main process with a child, both essential; main goes on with `body`."""
    code = PAIR.format(port=port.number, body=body)
    run: LocalRun = await start(make_spec(code, ports=(port,), children=1))
    return run


@pytest.mark.parametrize("code", [0, 5])
async def test_tells_once_that_it_ended_and_how(
    start: Start, make_spec: MakeSpec, tcp_port: Port, code: int
) -> None:
    body = f"""
signal.signal(signal.SIGUSR1, lambda *_: os._exit({code}))
a = tcp({tcp_port.number})
rest()
"""
    run = await start(make_spec(body, ports=(tcp_port,)))
    os.kill(run.processes[0].pid, signal.SIGUSR1)
    assert await run.ended() == run.exit
    assert run.ending
    assert not await alive(run)
    assert run.exit == Exit(code, run.processes[0], outlived=False)
    await run.stop()


async def test_a_child_does_not_outlive_its_killed_main(
    start: Start, make_spec: MakeSpec, tcp_port: Port
) -> None:
    run = await pair(start, make_spec, tcp_port, "rest()")
    main, child = run.processes
    os.kill(main.pid, signal.SIGKILL)
    assert await run.ended() == Exit(-signal.SIGKILL, main, outlived=True)
    assert not await alive(run)
    assert child in run.processes


async def test_a_main_does_not_outlive_its_child(
    start: Start, make_spec: MakeSpec, tcp_port: Port
) -> None:
    run = await pair(start, make_spec, tcp_port, "rest()")
    os.kill(run.processes[1].pid, signal.SIGKILL)
    assert await run.ended() == Exit(-signal.SIGTERM, run.processes[1], outlived=True)
    assert not await alive(run)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("os.waitpid(pid, 0); os._exit(4)", 4),
        ("os.waitpid(pid, 0); os.kill(os.getpid(), signal.SIGSEGV)", -signal.SIGSEGV),
    ],
)
async def test_those_that_end_together_have_the_code_of_main(
    start: Start, make_spec: MakeSpec, tcp_port: Port, body: str, code: int
) -> None:
    run = await pair(start, make_spec, tcp_port, body)
    os.kill(run.processes[1].pid, signal.SIGTERM)
    assert await run.ended() == Exit(code, run.processes[1], outlived=False)


async def test_a_stop_within_the_grace_needs_no_more_grace(
    start: Start, make_spec: MakeSpec, tcp_port: Port
) -> None:
    run = await pair(start, make_spec, tcp_port, "rest()")
    os.kill(run.processes[1].pid, signal.SIGKILL)
    await noticed(run)
    assert await alive(run) == {run.pid}
    decided = asyncio.create_task(run.ended())
    await run.stop()
    assert await decided == run.exit
    assert run.exit == Exit(-signal.SIGTERM, run.processes[1], outlived=False)


@pytest.mark.parametrize("to_all", [False, True])
async def test_sends_signals_to_the_main_process_or_all_essential_ones(
    start: Start, make_spec: MakeSpec, tcp_port: Port, runner: LocalRunner, to_all: bool
) -> None:
    body = f"""
def work():
    signal.signal(signal.SIGUSR1, lambda *_: os._exit(1))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGUSR1])
    rest()
def told(*_):
    if {to_all}:
        os.waitpid(pid, 0)
    os._exit(7)
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
pid = fork(work)
signal.signal(signal.SIGUSR1, told)
signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGUSR1])
a = tcp({tcp_port.number})
rest()
"""
    run: LocalRun = await start(make_spec(body, ports=(tcp_port,), children=1))
    await runner.signal(run.processes if to_all else run.processes[:1], signal.SIGUSR1)
    end = await run.ended()
    assert (end.code, end.outlived) == (7, not to_all)
    await runner.signal(run.processes, signal.SIGUSR1)


async def test_what_is_let_go_lives_on_and_has_no_end(
    start: Start, make_spec: MakeSpec, tcp_port: Port, runner: LocalRunner
) -> None:
    run = await start(make_spec(f"a = tcp({tcp_port.number}); rest()", ports=(tcp_port,)))
    watching = asyncio.create_task(run.ended())
    await asyncio.sleep(0)
    await run.let_go()
    await run.let_go()
    with pytest.raises(asyncio.CancelledError):
        await watching
    assert await alive(run) == {run.pid}
    assert (run.ending, run.exit, runner.runs) == (False, None, [])
    with pytest.raises(RuntimeError, match="from LET_GO to ENDING"):
        await run.stop()
    assert await runner.sweep([run.run_id]) == 1


async def test_what_has_begun_to_end_is_ended_before_it_is_let_go(
    start: Start, make_spec: MakeSpec, tcp_port: Port
) -> None:
    run = await pair(start, make_spec, tcp_port, "rest()")
    os.kill(run.pid, signal.SIGKILL)
    await noticed(run)
    await run.let_go()
    assert run.exit == Exit(-signal.SIGKILL, run.processes[0], outlived=True)
    assert not await alive(run)


async def test_in_a_hurry_nothing_is_given_time(
    start: Start, runner: LocalRunner, make_spec: MakeSpec, tcp_port: Port, udp_port: Port
) -> None:
    def stubborn(kind: str, port: Port) -> LaunchSpec:
        body = f"ignore(signal.SIGTERM); a = {kind}({port.number}); rest()"
        return make_spec(body, ports=(port,), stop_limit=3600.0)

    runs = [await start(stubborn("tcp", tcp_port)), await start(stubborn("udp", udp_port))]
    under_way = asyncio.create_task(runs[0].stop())
    await asyncio.sleep(0)
    runner.hurry()
    await asyncio.gather(under_way, runs[1].stop())
    assert [await alive(run) for run in runs] == [set(), set()]
