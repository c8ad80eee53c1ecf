"""Machines: the local one, and another one beside it, of which nothing may leak into this one."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import uuid
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from api_calls import new_project, new_toy, status, take
from other_machine import (
    THERE,
    forbid_the_local_machine,
    network_of,
    other_host,
    rerun_as_its_own_root,
)

from gns3server.app import local_machine
from gns3server.errors import Conflict
from gns3server.nodes.registry import Registry
from gns3server.ports import can_bind
from gns3server.running.machine import FileStamp
from gns3server.running.runs import Exit, LaunchFailed
from gns3server.running.spec import LaunchSpec, Port
from gns3server.running.tools import ToolFailed, ToolResult
from gns3server.settings.live import LiveSettings
from gns3server.testing import TEST_VARIABLE, NodeTypeConformance

pytestmark = pytest.mark.heavy

PROGRAM = """
import socket, sys
bound = socket.socket()
bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
bound.bind(("0.0.0.0", int(sys.argv[1])))
bound.listen()
print("bound", flush=True)
"""
HOLD = f"{PROGRAM}sys.stdin.read()"
"""Has a port until its input ends."""
REST = f"{PROGRAM}import signal; signal.pause()"
"""Has a port until it is killed."""


@pytest.fixture
def host(gns3_settings):
    """Another machine."""
    with other_host() as there:
        yield there


# One interface, two machines --------------------------------------------------------------


@pytest.fixture(params=["local", "other"])
def make_machine(request, gns3_settings):
    """Makes each of them in turn, more than once if need be."""
    local = request.param == "local"
    make = local_machine if local else request.getfixturevalue("host").machine
    return lambda: make(LiveSettings(lambda **_: gns3_settings), Registry())


@pytest.fixture
async def machine(make_machine):
    """Each of them in turn."""
    async with make_machine() as machine:
        yield machine


@pytest.fixture
def spec(tmp_path, gns3_settings):
    """A program that binds a port and rests."""
    port = gns3_settings.server.console_start_port_range
    return LaunchSpec(
        argv=(sys.executable, "-c", REST, str(port)),
        cwd=str(tmp_path / "node"),
        files={"config": b"\0\xff"},
        ports=(Port("tcp", port),),
    )


async def test_a_machine_finds_programs_and_runs_tools(machine, gns3_settings, tmp_path):
    shell = await machine.find_program("sh")
    assert shell is not None
    assert await machine.find_program(shell) == shell
    assert await machine.find_program("no-such-program") is None
    argv = [shell, "-c", "echo $WHO; pwd; exit 3"]
    result = await machine.run_tool(argv, cwd=str(tmp_path), env={"WHO": "me"})
    assert result == ToolResult(3, f"me\n{tmp_path}\n")
    # Without one of their own they have the environment of all programs.
    result = await machine.run_tool([shell, "-c", f"echo ${TEST_VARIABLE}"])
    assert result.output == f"{gns3_settings.environ[TEST_VARIABLE]}\n"
    with pytest.raises(ToolFailed) as failed:
        await machine.run_tool([str(tmp_path)])
    assert failed.value.reason.startswith(f"cannot run {tmp_path}: ")


async def test_a_machine_knows_its_network(machine):
    assert await machine.resolve_ipv4("localhost") == "127.0.0.1"
    with pytest.raises(Conflict, match="has no IPv4 address"):
        await machine.resolve_ipv4("::1")
    interfaces = {one["name"]: one["ip_address"] for one in await machine.list_interfaces()}
    assert interfaces["lo"] == "127.0.0.1"
    assert machine.address in interfaces.values()
    assert (THERE in interfaces) is (machine.address != "127.0.0.1")
    assert await machine.is_interface_up(THERE) is (THERE in interfaces)
    assert await machine.is_interface_up("lo")


async def test_a_machine_reads_and_places_files(machine, tmp_path):
    directory, path = tmp_path / "node", f"{tmp_path}/node/config"
    assert await machine.read_file(path, tmp_path) is None
    with pytest.raises(FileNotFoundError):
        await machine.stamp_file(path)
    await machine.place_files(directory, tmp_path, {"config": b"\0\xff", "empty": b""})
    assert await machine.read_file(path, tmp_path) == b"\0\xff"
    assert await machine.read_file(f"{directory}/empty", tmp_path) == b""
    found = os.stat(path)
    assert await machine.stamp_file(path) == FileStamp(found.st_size, found.st_mtime_ns)
    with pytest.raises(IsADirectoryError):
        await machine.read_file(str(directory), tmp_path)


async def test_a_machine_has_directories_for_sockets(machine):
    directory = machine.runtime / "of-a-node"
    await machine.make_runtime_directory(directory)
    assert directory.stat().st_mode & 0o777 == 0o700
    for _ in range(2):
        await machine.remove_runtime_directory(directory)
    assert not directory.exists()


async def test_a_run_is_ready_is_signalled_and_ends(machine, spec):
    run_id, directory = uuid.uuid4().hex, Path(spec.cwd)
    run = await machine.run(spec, run_id=run_id)
    await run.ready()
    assert await machine.runs_in(directory) == {run_id}
    assert await machine.read_file(f"{directory}/config", directory) == spec.files["config"]
    assert not await machine.can_bind("TCP", spec.ports[0].number)
    assert (run.ending, run.exit, len(run.processes)) == (False, None, 1)
    await machine.signal(run.processes, signal.SIGKILL)
    assert await run.ended() == Exit(-signal.SIGKILL, run.processes[0], outlived=False)
    assert (run.ending, run.exit) == (True, await run.ended())
    assert await run.log_tail() == "bound\n"
    assert await machine.runs_in(directory) == set()


async def test_a_run_that_does_not_start_says_why(machine, spec):
    with pytest.raises(LaunchFailed) as failed:
        await machine.run(replace(spec, argv=(spec.cwd,)), run_id=uuid.uuid4().hex)
    assert spec.cwd in failed.value.reason
    run = await machine.run(replace(spec, argv=("/bin/false",)), run_id=uuid.uuid4().hex)
    with pytest.raises(LaunchFailed, match="false ended with exit code 1 before it was ready"):
        await run.ready()
    await run.stop()


async def test_a_run_outlives_who_has_started_it(make_machine, spec):
    run_id, directory = uuid.uuid4().hex, Path(spec.cwd)
    async with make_machine() as machine:
        run = await machine.run(spec, run_id=run_id)
        await run.ready()
        processes = run.processes
        await run.let_go()
    async with make_machine() as machine:
        run = await machine.adopt(spec, run_id=run_id, processes=processes)
        assert run is not None
        assert run.processes == processes
        await run.let_go()
        assert await machine.sweep([run_id]) == 1
        assert await machine.runs_in(directory) == set()
        assert await machine.adopt(spec, run_id=run_id, processes=processes) is None


async def test_what_is_given_up_is_given_up_there(machine, spec):
    starting = replace(spec, argv=("/bin/sleep", "600"), stop_limit=60.0)
    run = await machine.run(starting, run_id=uuid.uuid4().hex)
    ready = asyncio.create_task(run.ready())
    await machine.find_program("sh")
    ready.cancel()
    await asyncio.wait([ready])
    await run.stop()
    assert run.exit == Exit(-signal.SIGTERM, run.processes[0], outlived=False)


async def test_a_hurry_leaves_no_time_to_end(machine, spec):
    patient = "trap '' TERM; echo bound; while :; do sleep 600; done"
    stubborn = replace(spec, argv=("/bin/sh", "-c", patient), ports=(), stop_limit=600.0)
    run = await machine.run(stubborn, run_id=uuid.uuid4().hex)
    while await run.log_tail() != "bound\n":  # noqa: ASYNC110
        await asyncio.sleep(0)
    stop = asyncio.create_task(run.stop())
    await machine.hurry()
    await stop
    assert run.exit == Exit(-signal.SIGKILL, run.processes[0], outlived=False)


# A server with another machine --------------------------------------------------------------


@pytest.fixture
def serve(gns3_serving, make_entry_point, host, monkeypatch):
    """Runs servers whose nodes run there, one after the other, and whose own machine fails."""
    forbid_the_local_machine(monkeypatch)
    toy = make_entry_point("toy", "toy_emulator")

    @asynccontextmanager
    async def serve(**settings):
        async with gns3_serving(plugins=[toy], machine=host.machine, **settings) as server:
            yield server

    return serve


@contextmanager
def bound(port: int, *before: str):
    """Another program has a port; ``before`` is what it is run under."""
    argv = [*before, sys.executable, "-c", HOLD, str(port)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdin is not None
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"bound\n"
        yield
        holder.stdin.close()


async def greeting(address: str, port: int) -> bytes:
    """What the console of a toy says."""
    reader, writer = await asyncio.open_connection(address, port)
    try:
        return await reader.read()
    finally:
        writer.close()


async def console(client, node: str) -> int:
    """The port of a node's console."""
    port: int = (await client.get(node)).json["console"]
    return port


async def test_a_node_runs_there_and_nothing_of_it_here(serve, host):
    async with serve() as server:
        client, project = server.client, await new_project(server.client)
        node = await new_toy(client, project)
        port = await console(client, node)
        async with client.listen(f"{project}/notifications") as events:
            await take(events, 1)
            assert (await client.post(f"{node}/start")).status == 204
            (pid,) = server.processes()
            assert network_of(pid) == host.network != network_of("self")
            assert await greeting(host.address, port) == b"toy console\r\n"
            assert can_bind("TCP", port)
            assert (await client.post(f"{node}/stop")).status == 204
            started, stopped = await take(events, 2)
            assert (started["action"], stopped["action"]) == ("vm.started", "vm.stopped")
        assert server.processes() == {}
        interfaces = (await client.get("/v1/interfaces")).json
        assert {"id": THERE, "name": THERE, "ip_address": host.address} in interfaces


async def test_ports_are_asked_for_there(serve, host):
    async with serve() as server:
        client, project = server.client, await new_project(server.client)
        first = server.settings.server.console_start_port_range
        with bound(first), bound(first + 1, *host.command()):
            nodes = [await new_toy(client, project) for _ in range(2)]
            assert [await console(client, node) for node in nodes] == [first, first + 2]
            assert (await client.post(f"{nodes[0]}/start")).status == 204
        with bound(first + 2, *host.command()):
            answer = await client.post(f"{nodes[1]}/start")
            assert answer.status == 409
            assert f"TCP port {first + 2} is in use" in answer.json["message"]


async def test_what_goes_wrong_there_is_told_here(serve):
    async with serve() as server:
        client, project = server.client, await new_project(server.client)
        exits = await new_toy(client, project, mode="exit")
        answer = await client.post(f"{exits}/start")
        assert answer.status == 409
        assert "ended with exit code 1" in answer.json["message"]
        assert "the toy exits at once" in answer.json["message"]
        crashes = await new_toy(client, project, mode="crash-on-connect")
        assert (await client.post(f"{crashes}/start")).status == 204
        async with client.listen(f"{project}/notifications") as events:
            await take(events, 1)
            address = server.running.server.machine.address
            await greeting(address, await console(client, crashes))
            stopped, error = await take(events, 2)
            assert (stopped["action"], error["action"]) == ("vm.stopped", "log.error")
            assert "signal 11" in error["event"]["message"]
        assert await status(client, crashes) == "stopped"


async def test_the_next_server_takes_up_what_runs_there(serve, host):
    async with serve(keep_nodes=True) as server:
        project = await new_project(server.client)
        node = await new_toy(server.client, project)
        assert (await server.client.post(f"{node}/start")).status == 204
        running = server.processes()
    async with serve() as server:
        assert server.processes() == running
        assert await status(server.client, node) == "started"
        port = await console(server.client, node)
        assert await greeting(host.address, port) == b"toy console\r\n"
    # It has ended in order, and the node with it.
    assert server.processes() == {}


async def test_a_temporary_project_whose_nodes_run_there_is_not_removed(serve):
    async with serve(keep_nodes=True) as server:
        project = await new_project(server.client, temporary=True)
        node = await new_toy(server.client, project)
        assert (await server.client.post(f"{node}/start")).status == 204
        state = server.settings.state_path
    # As if the list of projects was lost.
    async with serve(state_path=f"{state}-new"):
        pass
    async with serve() as server:
        assert await status(server.client, node) == "started"


async def test_a_machine_that_does_not_answer_is_named_and_its_nodes_are_kept(serve):
    async with serve(keep_nodes=True) as server:
        client, project = server.client, await new_project(server.client)
        node, other = [await new_toy(client, project) for _ in range(2)]
        assert (await client.post(f"{node}/start")).status == 204
        running = server.processes()
        await server.running.server.machine.cut_off()
        refused = [
            await client.post(f"{other}/start"),
            await client.post(f"{project}/toy/vms", {"name": "third"}),
            *[await client.post(f"{node}/stop") for _ in range(2)],
        ]
        for answer in refused:
            assert answer.status == 503
            assert answer.json["message"].startswith("The other machine does not answer")
        assert [await status(client, one) for one in (node, other)] == ["started", "stopped"]
    async with serve() as server:
        assert server.processes() == running
        assert await status(server.client, node) == "started"
        assert (await server.client.post(f"{node}/stop")).status == 204
        assert server.processes() == {}


@pytest.mark.heavy
class TestToyThere(NodeTypeConformance):
    """What every node type must do it does on another machine as well."""

    node_type = "toy"

    @pytest.fixture
    def gns3_serving(self, serve):
        """Servers whose nodes run there."""
        return serve

    @pytest.fixture
    def gns3_process(self):
        """None: a program is given no second machine."""
        pytest.skip("servers in processes of their own have no second machine")


@pytest.mark.heavy
@pytest.mark.timeout(600)
def test_all_of_this_holds_for_an_ordinary_user():
    rerun_as_its_own_root(__file__, "-k", "not ordinary_user")
