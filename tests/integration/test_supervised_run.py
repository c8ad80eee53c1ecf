"""A run that something else than a node owns: the same guarantees."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from typing import Any

import pytest

from gns3server.errors import Conflict
from gns3server.ports import Holder, Use
from gns3server.running.spec import LaunchSpec, Port
from gns3server.storage.rows import Owner
from gns3server.supervision.supervised_run import SupervisedRun

PANEL = Owner("panel", "1")
PROGRAM = """
import socket, sys
listener = socket.create_server(("0.0.0.0", int(sys.argv[1])))
while True:
    listener.accept()
"""


@pytest.fixture
def of_project(lab, project) -> Any:
    """The project of the test, as the core has it."""
    return lab.projects.get(project.rpartition("/")[2])


@pytest.fixture
def port(server) -> int:
    first: int = server.settings.server.console_start_port_range
    return first


@pytest.fixture
def panel(of_project, port):
    """Makes runs of a panel."""

    def panel(program: str = PROGRAM, number: int = port) -> SupervisedRun:
        spec = LaunchSpec(
            argv=(sys.executable, "-c", program, str(number)),
            cwd=str(of_project.path / "panel"),
            ports=(Port("tcp", number),),
            stop_limit=0.5,
        )
        return SupervisedRun(of_project, PANEL, spec, title="The panel")

    return panel


async def bring_up(run: SupervisedRun, project: Any) -> None:
    async with run.start(), project.change() as change:
        run.record(change)


async def on_record(project: Any) -> dict[Owner, int]:
    """The owners of runs on record, each with how many processes."""
    return {run.owner: len(run.processes) for run in (await project.records.stored()).runs}


async def test_a_run_from_start_to_end(server, of_project, panel, port):
    run = panel()
    assert (run.pid, run.processes, run.exit) == (None, (), None)
    async with run.start():
        # Ready, and on record as meant to be; what it is becomes the owner's in this block.
        socket.create_connection(("127.0.0.1", port)).close()
        assert await on_record(of_project) == {PANEL: 0}
        async with of_project.change() as change:
            run.record(change)
    assert await on_record(of_project) == {PANEL: 1}
    assert run.pid in server.processes()
    assert {holder.use for holder in server.ports.tcp.holders(port)} == {Use.RUNNING}
    await run.stop()
    async with of_project.change() as change:
        run.forget(change)
    assert run.exit is not None
    assert await on_record(of_project) == {}
    assert not server.ports.tcp.holders(port)
    assert server.processes() == {}


@pytest.mark.parametrize("fault", ["exits", "port taken", "owner fails", "closing"])
async def test_a_start_that_fails_is_undone(server, of_project, panel, port, fault):
    first = panel()
    if fault == "port taken":
        await bring_up(first, of_project)
    run = panel("raise SystemExit(3)" if fault == "exits" else PROGRAM)
    if fault == "closing":
        of_project.closing.set()
    error: type[Exception] = ZeroDivisionError if fault == "owner fails" else Conflict
    with pytest.raises(error):
        async with run.start():
            raise ZeroDivisionError
    of_project.closing.clear()
    if fault == "port taken":
        assert await on_record(of_project) == {PANEL: 1}
        assert set(server.processes()) == {first.pid}
        await first.stop()
        first.release()
    assert server.processes() == {}
    assert not server.ports.tcp.holders(port)
    if fault != "port taken":
        assert await on_record(of_project) == {}


async def test_it_binds_other_ports_while_it_runs(server, of_project, panel, port):
    run, ports = panel(), server.ports.tcp
    await bring_up(run, of_project)
    async with run.rebinding((Port("tcp", port + 1),)):
        # Nobody may take either of them while it changes over.
        assert ports.holders(port)
        assert ports.holders(port + 1)
    assert not ports.holders(port)
    assert run.spec.ports == (Port("tcp", port + 1),)
    (stored,) = (await of_project.records.stored()).runs
    assert stored.spec == run.spec
    await run.stop()
    run.release()
    assert len(ports) == 0


@pytest.mark.parametrize("fault", ["port taken", "it does not do so"])
async def test_ports_stay_as_they_are_if_it_cannot_bind_others(
    server, of_project, panel, port, fault
):
    run, other, ports = panel(), Holder(of_project.id, Use.RUNNING, "other"), server.ports.tcp
    await bring_up(run, of_project)
    wanted = Port("tcp", port + 1), Port("tcp", port + 2)
    if fault == "port taken":
        ports.hold(port + 2, other)
    with pytest.raises(Conflict if fault == "port taken" else ZeroDivisionError):
        async with run.rebinding(wanted):
            raise ZeroDivisionError
    assert run.spec.ports == (Port("tcp", port),)
    assert ports.holders(port)
    assert not ports.holders(port + 1)
    ports.release(port + 2, other)
    await run.stop()
    run.release()
    assert len(ports) == 0


async def test_its_end_is_told_once_and_only_if_nobody_asked_for_it(of_project, panel):
    told: asyncio.Queue[int | None] = asyncio.Queue()
    ends = [panel(), panel()]

    for run in ends:
        await bring_up(run, of_project)

        async def ended(run: SupervisedRun = run) -> None:
            told.put_nowait(run.pid)

        run.watch(ended)
        if run is ends[0]:
            await run.stop()
        else:
            await run.signal(signal.SIGKILL)
            assert await told.get() == run.pid
            assert run.exit is not None
            assert run.exit.code == -signal.SIGKILL
            await run.stop()
        run.release()
    assert told.empty()


async def test_a_run_is_left_and_taken_over(server, of_project, panel, port):
    run = panel()
    await bring_up(run, of_project)

    async def never() -> None:
        raise AssertionError("it has not ended")

    run.watch(never)
    await run.leave()
    run.release()
    (row,) = (await of_project.records.stored()).runs
    adopted = await SupervisedRun.adopt(of_project, row, title="The panel")
    assert adopted is not None
    assert (adopted.id, adopted.owner, adopted.pid) == (run.id, PANEL, run.pid)
    assert {holder.use for holder in server.ports.tcp.holders(port)} == {Use.RUNNING}
    await adopted.stop()
    adopted.release()
    assert server.processes() == {}
    assert await SupervisedRun.adopt(of_project, row, title="The panel") is None


async def test_a_signal_goes_to_its_processes(of_project, panel):
    run = panel()
    await bring_up(run, of_project)
    await run.signal(signal.SIGSTOP)
    pid, status = await asyncio.to_thread(os.waitpid, run.pid, os.WUNTRACED)
    assert (pid, os.WIFSTOPPED(status)) == (run.pid, True)
    # A stopped process is ended all the same.
    await run.stop()
    run.release()
    # Nobody is left to get one, which is fine.
    await run.signal(signal.SIGTERM)
