"""What is required of every node type: its code, and the program that it runs."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
from typing import TYPE_CHECKING, Any

from gns3server.errors import LabError
from gns3server.running.spec import LaunchSpec, Port
from gns3server.testing.bound_ports import bound_ports
from gns3server.testing.does_not_apply import does_not_apply
from gns3server.testing.loop_watch import LoopWatch
from gns3server.testing.node_steps import NodeSteps, nio_path, places

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from gns3server.nodes.node import Node
    from gns3server.nodes.process_node import ProcessNode
    from gns3server.testing.fixtures import ProcessFactory
    from gns3server.testing.lab_server import LabServer, ServerFactory

MOST_WIRES = 8
"""How many ports of a node are wired at the same time."""


class ProgramConformance(NodeSteps):
    """The code of a node, and the program that it runs."""

    async def test_checks_change_nothing(self, gns3_server: LabServer) -> None:
        """``prepare`` checks a request, and changes neither the node nor its files."""
        vm = await self.ready(gns3_server, await self.project(gns3_server))
        node = self.node(gns3_server, vm)
        values = node.type.update_schema().load({"name": "other", **self.update_body})
        async with node.project.enter(node.id):
            before = await asyncio.to_thread(inside, node)
            # It may refuse these values at this moment.
            with contextlib.suppress(LabError):
                await node.calls.run("prepare", values)
            assert await asyncio.to_thread(inside, node) == before

    async def test_no_call_blocks_the_server(self, gns3_server: LabServer) -> None:
        """No call of a node holds the event loop for a second: everybody else would wait."""
        client, project = gns3_server.client, await self.project(gns3_server)
        with LoopWatch(gns3_server.running.plugins.modules).watching() as watch:
            vm = await self.ready(gns3_server, project)
            for action in ("start", "reload"):
                await client.post(f"{vm}/{action}")
            await client.put(vm, {"name": "renamed", **self.update_body})
            for adapter, port in places(self.node(gns3_server, vm))[:1]:
                await client.delete(nio_path(vm, adapter, port))
            await client.post(f"{vm}/stop")
            await client.delete(vm)
        assert not watch.held, f"the event loop was held for a second, in {watch.held}"

    async def test_a_start_leaves_a_running_node_alone(self, gns3_server: LabServer) -> None:
        """A start of a node that is up changes nothing: the same processes go on."""
        vm = await self.started(gns3_server, await self.project(gns3_server))
        running, node = gns3_server.processes(), self.node(gns3_server, vm)
        await self.act(gns3_server, vm, "start", "started")
        assert gns3_server.processes() == running
        if self.is_process(gns3_server):
            # A plugin may call it as well.
            async with node.project.enter(node.id):
                await node.calls.run("start")
            assert gns3_server.processes() == running

    async def test_a_start_keeps_the_nodes_files(self, gns3_server: LabServer) -> None:
        """What is in the node's directory is still there after a start and after a stop."""
        vm = await self.ready(gns3_server, await self.project(gns3_server))
        path = self.node(gns3_server, vm).directory / "conformance.txt"
        await asyncio.to_thread(write, path, "kept")
        for action, status in (("start", "started"), ("stop", self.idle(gns3_server))):
            await self.act(gns3_server, vm, action, status)
            assert await asyncio.to_thread(read, path) == "kept", f"{action} has removed a file"

    async def test_a_launch_spec_is_made_of_proper_values(self, gns3_server: LabServer) -> None:
        """``launch_spec`` returns a ``LaunchSpec``, in which every value is of its kind."""
        vm = await self.ready(gns3_server, await self.process_project(gns3_server))
        node: Any = self.node(gns3_server, vm)
        try:
            spec = await self.wanted_spec(gns3_server, node)
        except (TypeError, ValueError) as error:
            raise AssertionError(f"launch_spec of {self.node_type} failed: {error}") from error
        assert isinstance(spec, LaunchSpec), f"launch_spec of {self.node_type} returned {spec!r}"

    async def test_a_launch_spec_says_when_the_program_is_ready(
        self, gns3_server: LabServer
    ) -> None:
        """It names what there is once the program is ready: ports, sockets, or a console.

        Otherwise the start is answered before anybody can use the node.
        """
        spec = await self.running_spec(gns3_server)
        assert says_when_ready(spec), f"{self.node_type} names no port, socket or console: {spec}"

    async def test_a_launch_spec_names_every_port_that_is_bound(
        self, gns3_server: LabServer
    ) -> None:
        """Whatever the program binds is in ``ports`` or ``may_bind``, for others to keep clear."""
        spec = await self.running_spec(gns3_server)
        if not says_when_ready(spec):
            does_not_apply("nothing tells when the program is ready, and so what it binds")
        settings = gns3_server.settings.server
        ranges = {
            "tcp": range(settings.console_start_port_range, settings.console_end_port_range + 1),
            "udp": range(settings.udp_start_port_range, settings.udp_end_port_range + 1),
        }
        # What is outside of the ranges may have been chosen by the kernel.
        bound = {p for p in bound_ports(gns3_server.processes()) if p.number in ranges[p.kind]}
        unnamed = bound - {*spec.ports, *spec.may_bind, *console_ports(spec)}
        assert not unnamed, f"{self.node_type} does not name {', '.join(map(str, unnamed))}"

    async def test_a_started_program_has_its_wires(self, gns3_server: LabServer) -> None:
        """The program has bound the UDP port of every NIO, and once restarted those of new ones."""
        project = await self.process_project(gns3_server)
        vm = await self.create(gns3_server, project)
        wires = await self.plug_all(gns3_server, vm)
        # What is always on has been started without them.
        await self.restarted(gns3_server, vm)
        if not says_when_ready(self.spec(gns3_server, vm)):
            does_not_apply("nothing tells when the program is ready, and so has its wires")
        assert set(wires.values()) <= bound_ports(gns3_server.processes()), wires
        place, former = next(iter(wires.items()))
        wires[place] = await self.plug(gns3_server, vm, place)
        await self.restarted(gns3_server, vm)
        bound = bound_ports(gns3_server.processes())
        assert set(wires.values()) <= bound, wires
        assert former not in bound, f"{former} is of a NIO that was replaced"

    async def test_a_running_program_gets_a_new_wire(self, gns3_server: LabServer) -> None:
        """What ``wire_changed`` is written for has happened when the request is answered."""
        project = await self.process_project(gns3_server)
        vm = await self.started(gns3_server, project)
        node = self.node(gns3_server, vm)
        if not node.calls.is_overridden("wire_changed"):
            does_not_apply("a changed wire takes effect at the next start")
        for place in places(node)[:MOST_WIRES]:
            first = await self.plug(gns3_server, vm, place)
            second = await self.plug(gns3_server, vm, place)
            bound = bound_ports(gns3_server.processes())
            assert second in bound, f"{second} was plugged in, and is not bound"
            assert first not in bound, f"{first} is of a NIO that was replaced"
            assert (await gns3_server.client.delete(nio_path(vm, *place))).status == 204
            assert second not in bound_ports(gns3_server.processes()), f"{second} was unplugged"

    async def test_a_program_uses_the_console_that_it_is_given(
        self, gns3_server: LabServer
    ) -> None:
        """A changed console port is used from the next start on, and the former one is free."""
        client, project = gns3_server.client, await self.process_project(gns3_server)
        if not self.declared(gns3_server).console:
            does_not_apply("its nodes have no console")
        vm = await self.started(gns3_server, project)
        node: Any = self.node(gns3_server, vm)
        former = Port("tcp", node.console)
        had = former in console_ports(node.run.spec)
        await client.post(f"{vm}/stop")
        spare = (await client.get(await self.create(gns3_server, project))).json
        path = f"{project}/{self.node_type}/vms/{spare['vm_id']}"
        assert (await client.delete(path)).status == 204
        answer = await client.put(vm, {"console": spare["console"]})
        assert (answer.status, answer.json.get("console")) == (200, spare["console"]), answer
        await self.restarted(gns3_server, vm)
        named = console_ports(node.run.spec)
        assert (Port("tcp", spare["console"]) in named) == had, f"{named}: no {spare['console']}"
        assert former not in {*named, *bound_ports(gns3_server.processes())}

    async def test_a_program_ends_when_it_is_asked_to(self, gns3_server: LabServer) -> None:
        """It ends by the signal of its launch spec, or by ``shut_down``, and need not be killed."""
        vm = await self.started(gns3_server, await self.process_project(gns3_server))
        run = self.process_node(gns3_server, vm).run
        assert run is not None
        await self.restarted(gns3_server, vm)
        assert run.exit is not None
        asked = signal.Signals(run.spec.stop_signal).name
        assert run.exit.code != -signal.SIGKILL, (
            f"it did not end within {run.spec.stop_limit:g} seconds of {asked}, and was killed"
        )

    async def test_a_program_outlives_the_kill_of_its_server(
        self, gns3_serving: ServerFactory, gns3_process: ProcessFactory
    ) -> None:
        """After ``kill -9`` of the server the node is started for the next one, and not again."""
        async with gns3_serving() as here:
            vm = await self.ready(here, await self.process_project(here))
            always_on = self.declared(here).always_on
        async with gns3_process() as server:
            assert (await server.client.post(f"{vm}/start")).status == 204
            before, running = (await server.client.get(vm)).json, here.processes()
            del running[server.pid]
            await server.kill()
        assert here.processes() == running
        async with gns3_process() as server:
            assert (await server.client.get(vm)).json == before
            assert here.processes().keys() == {*running, server.pid}
            if not always_on:
                assert (await server.client.post(f"{vm}/stop")).status == 204
                assert here.processes().keys() == {server.pid}

    # Steps ---------------------------------------------------------------------------

    async def process_project(self, server: LabServer) -> str:
        """The path of a new project, for what only process nodes can be asked."""
        if not self.is_process(server):
            does_not_apply("its nodes are not processes of this machine")
        return await self.project(server)

    def process_node(self, server: LabServer, vm: str) -> ProcessNode:
        """The process node behind a path."""
        from gns3server.nodes.process_node import ProcessNode

        node = self.node(server, vm)
        assert isinstance(node, ProcessNode)
        return node

    async def running_spec(self, server: LabServer) -> LaunchSpec:
        """What a new node runs that is wired and started."""
        vm = await self.ready(server, await self.process_project(server))
        # What is always on has been started before it was wired.
        await self.restarted(server, vm)
        return self.spec(server, vm)

    def spec(self, server: LabServer, vm: str) -> LaunchSpec:
        """What a started node runs."""
        run = self.process_node(server, vm).run
        assert run is not None
        return run.spec

    async def plug(self, server: LabServer, vm: str, place: tuple[int, int]) -> Port:
        """Plug a new NIO in; tells its UDP port."""
        nio = self.nio(server)
        if nio is None:
            does_not_apply("its nodes take no wires")
        named = server.running.server.registry.nio_types[nio["type"]].local_udp_port
        if named is None:
            does_not_apply(f"a {nio['type']} names no UDP port")
        answer = await server.client.post(nio_path(vm, *place), nio)
        if answer.status == 409:
            does_not_apply(f"it refuses a change of its wires now: {answer.json['message']}")
        assert answer.status == 201, answer
        return Port("udp", nio[named])

    async def plug_all(self, server: LabServer, vm: str) -> dict[tuple[int, int], Port]:
        """Plug a NIO into each port of a node; tells their UDP ports."""
        found = places(self.node(server, vm))
        if not found:
            does_not_apply("its nodes take no wires")
        return {place: await self.plug(server, vm, place) for place in found[:MOST_WIRES]}


def says_when_ready(spec: LaunchSpec) -> bool:
    """Whether a launch spec names anything by which the program is known to be ready."""
    return bool(spec.ports or spec.sockets or spec.console)


def console_ports(spec: LaunchSpec) -> set[Port]:
    """The ports that its consoles are reached at: the program's own, or one of the server's."""
    served = () if spec.console is None else (Port("tcp", spec.console.port),)
    return {*served, *(port for port in spec.ports if port.kind == "tcp")}


def inside(node: Node) -> Mapping[str, Any]:
    """What a check of values must not change: the node, and the files in its directory. Blocks."""
    files = (path for path in node.directory.rglob("*") if path.is_file())
    return {
        "name": node.name,
        "console": node.console,
        "number": node.number,
        "state": node.state,
        "properties": json.dumps(node.properties, sort_keys=True),
        "nios": dict(node.nios),
        "files": {str(path): path.read_bytes() for path in files},
    }


def write(path: Path, text: str) -> None:
    """Write a file in a directory that need not exist. Blocks."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def read(path: Path) -> str | None:
    """The text of a file, if there is one. Blocks."""
    return path.read_text() if path.exists() else None
