"""Runs outlive their server; the next one takes them over, or clears them away."""

import asyncio
import errno
import json
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import replace

import pytest
from waiting import until

from gns3server.running.identity import Handle, ProcessIdentity
from gns3server.running.local import LocalRunner
from gns3server.running.procfs import run_id_carriers
from gns3server.running.reader import KernelReader
from gns3server.running.runs import Exit
from gns3server.running.spec import LaunchSpec, Port

MakeSpec = Callable[..., LaunchSpec]
RunIds = Callable[[], str]

PAIR = """
def work():
    sock = udp({udp})
    rest()
fork(work)
a = tcp({tcp})
rest()
"""


async def carriers(run_id: str) -> set[int]:
    found = await asyncio.to_thread(run_id_carriers)
    return {stat.pid for stat in found.get(run_id, ())}


async def abandon(spec: LaunchSpec, run_id: str) -> tuple[ProcessIdentity, ...]:
    """Start a run by a server that goes away."""
    former = LocalRunner({})
    run = await former.spawn(spec, run_id=run_id)
    await run.ready()
    await former.close()
    assert not run.ending
    assert len(await carriers(run_id)) == 2
    return run.processes


@pytest.fixture
def spec(make_spec: MakeSpec, tcp_port: Port, udp_port: Port) -> LaunchSpec:
    body = PAIR.format(tcp=tcp_port.number, udp=udp_port.number)
    return make_spec(body, ports=(tcp_port, udp_port), children=1)


async def end_main(processes: tuple[ProcessIdentity, ...]) -> None:
    """Kill the main process, as an unreaped child of nobody who cares."""
    os.kill(processes[0].pid, signal.SIGKILL)
    await asyncio.to_thread(os.waitid, os.P_PID, processes[0].pid, os.WEXITED)


async def test_an_adopted_run_is_like_any_other(
    runner: LocalRunner, spec: LaunchSpec, run_ids: RunIds
) -> None:
    run_id = run_ids()
    processes = await abandon(spec, run_id)
    run = await runner.adopt(spec, run_id=run_id, processes=processes)
    assert run is not None
    await run.ready()
    assert (run.run_id, run.processes, run.exit) == (run_id, processes, None)
    await run.stop()
    assert run.exit is not None
    assert (run.exit.code, run.exit.outlived) == (-signal.SIGTERM, False)
    with pytest.raises(ProcessLookupError):
        # There is no zombie either.
        os.kill(processes[0].pid, 0)
    assert not await carriers(run_id)


async def test_the_end_of_an_adopted_run_is_noticed(
    runner: LocalRunner, spec: LaunchSpec, run_ids: RunIds
) -> None:
    run_id = run_ids()
    processes = await abandon(spec, run_id)
    run = await runner.adopt(spec, run_id=run_id, processes=processes)
    assert run is not None
    os.kill(processes[0].pid, signal.SIGKILL)
    # This process has started it: otherwise there would be no code to be had.
    assert await run.ended() == Exit(-signal.SIGKILL, processes[0], outlived=True)
    assert not await carriers(run_id)


SERVER = """
import asyncio, dataclasses, json, os, signal, sys
from gns3server.running.local import LocalRunner
from gns3server.running.spec import LaunchSpec

async def main():
    spec, run_id = json.loads(sys.stdin.read())
    run = await LocalRunner({}).spawn(LaunchSpec.from_json(spec), run_id=run_id)
    await run.ready()
    print(json.dumps([dataclasses.astuple(process) for process in run.processes]), flush=True)
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""


async def test_the_exit_code_of_another_servers_child_is_not_known(
    runner: LocalRunner, spec: LaunchSpec, run_ids: RunIds
) -> None:
    run_id = run_ids()
    server = await asyncio.create_subprocess_exec(
        sys.executable, "-c", SERVER, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    output, _ = await server.communicate(json.dumps([spec.to_json(), run_id]).encode())
    assert server.returncode == -signal.SIGKILL
    processes = [ProcessIdentity(*values) for values in json.loads(output)]
    run = await runner.adopt(spec, run_id=run_id, processes=processes)
    assert run is not None
    await run.ready()
    os.kill(run.pid, signal.SIGTERM)
    assert await run.ended() == Exit(None, processes[0], outlived=True)
    assert not await carriers(run_id)


async def test_a_run_whose_processes_cannot_be_looked_for_is_not_given_up(
    runner: LocalRunner,
    reader: KernelReader,
    spec: LaunchSpec,
    run_ids: RunIds,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run_id = run_ids()
    processes = await abandon(spec, run_id)
    await end_main(processes)

    async def none_left(*_: object) -> list[Handle]:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    with monkeypatch.context() as patch:
        patch.setattr(reader, "carriers", none_left)
        with pytest.raises(OSError, match="Too many open files"):
            # As the record of a start that was never answered: it names no process.
            await runner.adopt(spec, run_id=run_id, processes=())
    assert await carriers(run_id) == {processes[1].pid}
    assert await runner.adopt(spec, run_id=run_id, processes=()) is None
    assert not await carriers(run_id)


async def test_what_is_left_of_a_run_is_stopped(
    runner: LocalRunner, spec: LaunchSpec, run_ids: RunIds
) -> None:
    run_id = run_ids()
    processes = await abandon(spec, run_id)
    await end_main(processes)
    assert await carriers(run_id) == {processes[1].pid}
    assert await runner.adopt(spec, run_id=run_id, processes=processes) is None
    assert not await carriers(run_id)


@pytest.mark.parametrize("change", [{"start_time": 1}, {"boot_id": "another"}])
async def test_another_process_with_the_same_pid_is_not_touched(
    runner: LocalRunner, spec: LaunchSpec, run_ids: RunIds, change: dict[str, object]
) -> None:
    run_id = run_ids()
    processes = await abandon(spec, run_id)
    others = tuple(replace(identity, **change) for identity in processes)  # type: ignore[arg-type]
    assert await runner.adopt(spec, run_id="another", processes=others) is None
    assert await carriers(run_id) == {identity.pid for identity in processes}
    assert await runner.sweep([run_id]) == 2
    assert not await carriers(run_id)


async def test_a_run_with_an_unknown_child_is_not_adopted(
    runner: LocalRunner, spec: LaunchSpec, run_ids: RunIds
) -> None:
    run_id = run_ids()
    processes = await abandon(spec, run_id)
    assert await runner.adopt(spec, run_id=run_id, processes=processes[:1]) is None
    assert not await carriers(run_id)


async def test_a_sweep_takes_only_what_it_is_told(
    runner: LocalRunner, make_spec: MakeSpec, spec: LaunchSpec, run_ids: RunIds, tmp_path: object
) -> None:
    swept, spared = run_ids(), run_ids()
    await abandon(spec, swept)
    other = await runner.spawn(make_spec("rest()", cwd=f"{tmp_path}/other"), run_id=spared)

    async def has_an_environment() -> bool:
        return bool(await carriers(spared))

    # The kernel shows none for a moment after it has closed the descriptors that tell of an exec.
    await until(has_an_environment)
    assert await runner.sweep([swept, "unknown"]) == 2
    assert not await carriers(swept)
    assert await carriers(spared) == {other.processes[0].pid}
    assert await runner.sweep([]) == 0
    await other.stop()


async def test_close_carries_a_stop_through(make_spec: MakeSpec, run_ids: RunIds) -> None:
    runner, run_id = LocalRunner({}), run_ids()
    run = await runner.spawn(make_spec("rest()"), run_id=run_id)
    stopping = asyncio.create_task(run.stop())
    await asyncio.sleep(0)
    await runner.close()
    await stopping
    assert not await carriers(run_id)
