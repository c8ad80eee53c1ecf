"""What every node type must do, as tests that a plugin runs on itself.

The whole test module of a plugin may be::

    from gns3server.testing import NodeTypeConformance

    class TestMine(NodeTypeConformance):
        node_type = "mine"

Each test says in its first line what is required. What that means for a type is read
from its declaration: whether it has a console, is a process, is always on, can be suspended.
"""

from __future__ import annotations

import asyncio
import os
import signal
import uuid
from typing import TYPE_CHECKING, Any

from gns3server.running.procfs import read_stat
from gns3server.testing.node_steps import NodeSteps, corners, nio_path

if TYPE_CHECKING:
    from gns3server.testing.lab_server import LabServer, ServerFactory


class RecordConformance(NodeSteps):
    """What is stored about a node, and shown."""

    async def test_a_new_node_is_shown_and_listed(self, gns3_server: LabServer) -> None:
        """A creation, a read and the list show the same object, the oldest node first."""
        project = await self.project(gns3_server)
        answer = await self.post(gns3_server, project, name="first")
        assert answer.status == 201, answer
        made, settings = answer.json, gns3_server.settings.server
        assert (made["name"], made["status"]) == ("first", self.idle(gns3_server))
        assert made["project_id"] == project.rpartition("/")[2]
        assert str(uuid.UUID(made["vm_id"])) == made["vm_id"]
        if self.declared(gns3_server).console:
            first, last = settings.console_start_port_range, settings.console_end_port_range
            assert first <= made["console"] <= last
        else:
            assert made["console"] is None
        nodes = f"{project}/{self.node_type}/vms"
        assert (await gns3_server.client.get(f"{nodes}/{made['vm_id']}")).json == made
        second = (await self.post(gns3_server, project, name="second")).json
        assert (await gns3_server.client.get(nodes)).json == [made, second]

    async def test_an_id_is_kept_and_made_only_once(self, gns3_server: LabServer) -> None:
        """A node has the id that its creation names; repeating the creation makes no other."""
        project, vm_id = await self.project(gns3_server), str(uuid.uuid4())
        first = await self.post(gns3_server, project, vm_id=vm_id)
        again = await self.post(gns3_server, project, vm_id=vm_id)
        assert (first.status, again.status) == (201, 201)
        assert first.json["vm_id"] == vm_id
        assert again.json == first.json
        assert len((await gns3_server.client.get(f"{project}/{self.node_type}/vms")).json) == 1

    async def test_unknown_ids_are_told_apart(self, gns3_server: LabServer) -> None:
        """An id that no node of the project has is not found; what is not an id is refused."""
        project, other = await self.project(gns3_server), await self.project(gns3_server)
        vm = await self.create(gns3_server, project)
        nodes, client = f"{project}/{self.node_type}/vms", gns3_server.client
        assert (await client.get(f"{nodes}/{uuid.uuid4()}")).status == 404
        assert (await client.get(f"{nodes}/nothing")).status == 400
        assert (await client.get(vm.replace(project, other))).status == 404

    async def test_an_update_changes_all_or_nothing(self, gns3_server: LabServer) -> None:
        """An update is stored as a whole; one with a mistake changes nothing."""
        client, project = gns3_server.client, await self.project(gns3_server)
        vm = await self.create(gns3_server, project)
        answer = await client.put(vm, {"name": "renamed"})
        assert answer.status == 200, answer
        before = (await client.get(vm)).json
        assert answer.json == before
        assert before["name"] == "renamed"
        for body in ({"name": "x", "unknown": 1}, {"name": ""}, {"name": "x", "console": 0}):
            assert (await client.put(vm, body)).status == 400
        assert (await client.get(vm)).json == before

    async def test_a_deleted_node_is_gone(self, gns3_server: LabServer) -> None:
        """A deleted node is neither found nor listed."""
        client, project = gns3_server.client, await self.project(gns3_server)
        vm = await self.create(gns3_server, project)
        assert (await client.delete(vm)).status == 204
        assert (await client.get(vm)).status == 404
        assert (await client.delete(vm)).status == 404
        assert (await client.get(f"{project}/{self.node_type}/vms")).json == []

    async def test_a_console_is_one_nodes_until_it_is_deleted(self, gns3_server: LabServer) -> None:
        """No two nodes have one console; a type without consoles takes none in a request."""
        client, project = gns3_server.client, await self.project(gns3_server)
        first = await self.create(gns3_server, project)
        if not self.declared(gns3_server).console:
            console = gns3_server.settings.server.console_start_port_range
            assert (await self.post(gns3_server, project, console=console)).status == 400
            assert (await client.put(first, {"console": console})).status == 400
            assert not gns3_server.ports.tcp.holders(console)
            return
        console = (await client.get(first)).json["console"]
        assert (await self.post(gns3_server, project)).json["console"] != console
        assert (await self.post(gns3_server, project, console=console)).status == 409
        assert (await client.delete(first)).status == 204
        assert (await self.post(gns3_server, project, console=console)).status == 201

    async def test_a_closed_project_opens_with_its_nodes(self, gns3_server: LabServer) -> None:
        """Closing a project ends its nodes; once open again, it has them, with their wires."""
        client, project = gns3_server.client, await self.project(gns3_server)
        vm = await self.ready(gns3_server, project)
        before, nios = (await client.get(vm)).json, self.nios(gns3_server, vm)
        await self.act(gns3_server, vm, "start", "started")
        assert (await client.post(f"{project}/close")).status == 204
        assert gns3_server.processes() == {}
        assert (await client.get(vm)).status == 404
        body = {"project_id": project.rpartition("/")[2]}
        assert (await client.post("/v1/projects", body)).status == 201
        await self.check(gns3_server, vm, self.idle(gns3_server))
        assert (await client.get(vm)).json == before
        assert self.nios(gns3_server, vm) == nios
        await self.act(gns3_server, vm, "start", "started")

    async def test_a_node_is_there_after_a_restart(self, gns3_serving: ServerFactory) -> None:
        """The next server shows the node as it was; a node that is always on is up."""
        async with gns3_serving() as server:
            vm = await self.ready(server, await self.project(server), name="stays")
            before, nios = (await server.client.get(vm)).json, self.nios(server, vm)
            await self.act(server, vm, "start", "started")
        async with gns3_serving() as server:
            await self.check(server, vm, self.idle(server))
            assert (await server.client.get(vm)).json == before
            assert self.nios(server, vm) == nios
            await self.act(server, vm, "start", "started")


class LifeConformance(NodeSteps):
    """How a node starts, stops and ends, and what is told about it."""

    async def test_start_stop_and_reload(self, gns3_server: LabServer) -> None:
        """A node is up when its start is answered, and gone when its stop is.

        A node that is always on stays up. One that is not a process node leaves no process.
        """
        vm = await self.ready(gns3_server, await self.project(gns3_server))
        for _ in "once", "again":
            await self.act(gns3_server, vm, "start", "started")
        running = gns3_server.processes()
        assert bool(running) == self.is_process(gns3_server), running
        await self.act(gns3_server, vm, "reload", "started")
        reloaded = gns3_server.processes()
        assert not running.keys() & reloaded.keys()
        for _ in "once", "again":
            await self.act(gns3_server, vm, "stop", self.idle(gns3_server))
        left = reloaded if self.declared(gns3_server).always_on else {}
        assert gns3_server.processes() == left
        await self.act(gns3_server, vm, "reload", "started")

    async def test_two_nodes_come_up_beside_each_other(self, gns3_server: LabServer) -> None:
        """Two nodes start at once, and what happens to one does not affect the other."""
        project = await self.project(gns3_server)
        vms = [await self.ready(gns3_server, project, name=name) for name in ("one", "two")]
        await asyncio.gather(*(self.act(gns3_server, vm, "start", "started") for vm in vms))
        assert (await gns3_server.client.delete(vms[0])).status == 204
        await self.check(gns3_server, vms[1], "started")

    async def test_a_start_without_a_wire(self, gns3_server: LabServer) -> None:
        """A start without a wire is refused if the type says so, and succeeds otherwise."""
        vm = await self.create(gns3_server, await self.project(gns3_server))
        answer = await gns3_server.client.post(f"{vm}/start")
        assert answer.status == (409 if self.needs_wire else 204), answer

    async def test_events_tell_the_life_of_a_node_in_order(self, gns3_server: LabServer) -> None:
        """Each change is told once, with the node as it is then; an action without effect is not.

        Of a node that is always on, only the creation is told.
        """
        client, project = gns3_server.client, await self.project(gns3_server)
        vm_id = str(uuid.uuid4())
        async with self.told(gns3_server, project, vm_id, self.last) as events:
            answer = await self.post(gns3_server, project, vm_id=vm_id)
            assert answer.status == 201, answer
            assert await events.next() == {"action": "vm.created", "event": answer.json}
            vm = f"{project}/{self.node_type}/vms/{vm_id}"
            await self.wire(gns3_server, vm)
            idle = (await client.get(vm)).json
            for action, status in (("start", "started"), ("stop", self.idle(gns3_server))):
                for _ in "once", "again":
                    await self.act(gns3_server, vm, action, status)
                if not self.declared(gns3_server).always_on:
                    told = {"action": f"vm.{status}", "event": {**idle, "status": status}}
                    assert await events.next() == told
            await self.check_silence(gns3_server, project, events)

    async def test_a_node_is_suspended_and_goes_on(self, gns3_server: LabServer) -> None:
        """A node that can be suspended freezes and goes on, both told; others lack the routes."""
        client, project = gns3_server.client, await self.project(gns3_server)
        vm = await self.ready(gns3_server, project)
        if not self.can_suspend(gns3_server):
            for action in "suspend", "resume":
                answer = await client.post(f"{vm}/{action}")
                assert (answer.status, answer.route) == (404, "")
            return
        await self.act(gns3_server, vm, "start", "started")
        started, running = (await client.get(vm)).json, gns3_server.processes()
        async with self.told(gns3_server, project, started["vm_id"], self.last) as events:
            for _ in "once", "again":
                await self.act(gns3_server, vm, "suspend", "suspended")
            suspended = {**started, "status": "suspended"}
            assert await events.next() == {"action": "vm.suspended", "event": suspended}
            assert (await client.post(f"{vm}/start")).status == 409
            for _ in "once", "again":
                await self.act(gns3_server, vm, "resume", "started")
            assert await events.next() == {"action": "vm.resumed", "event": started}
            assert gns3_server.processes() == running
            await self.check_silence(gns3_server, project, events)
        await self.act(gns3_server, vm, "suspend", "suspended")
        await self.act(gns3_server, vm, "stop", "stopped")
        for action in "suspend", "resume":
            assert (await client.post(f"{vm}/{action}")).status == 409

    async def test_a_crash_is_told_and_leaves_nothing(self, gns3_server: LabServer) -> None:
        """A process that is killed stops its node with an error; the node can be started again.

        A node that is not a process node has no process to kill.
        """
        client, project = gns3_server.client, await self.project(gns3_server)
        vm = await self.started(gns3_server, project)
        main = main_processes(gns3_server)
        assert len(main) == int(self.is_process(gns3_server))
        stopped = {**(await client.get(vm)).json, "status": self.idle(gns3_server)}
        async with self.told(gns3_server, project, stopped["vm_id"]) as events:
            for pid in main:
                os.kill(pid, signal.SIGKILL)
                if not self.declared(gns3_server).always_on:
                    assert await events.next() == {"action": "vm.stopped", "event": stopped}
                error = await events.next()
                assert error["action"] == "log.error"
                assert error["event"].keys() == {"message", "project_id", "vm_id"}
                assert (await client.get(vm)).json == stopped
                assert gns3_server.processes() == {}
        await self.act(gns3_server, vm, "start", "started")

    async def test_a_running_node_is_deleted_with_all_it_has(self, gns3_server: LabServer) -> None:
        """A deletion ends the node first, then its ports are free again, and nothing has failed."""
        project, ports = await self.project(gns3_server), gns3_server.ports
        vm = await self.started(gns3_server, project)
        node = self.node(gns3_server, vm)
        udp = [port for port, _ in node.wiring.udp_ports()]
        assert all(map(ports.udp.holders, udp))
        async with self.told(gns3_server, project, node.id, self.last) as events:
            assert (await gns3_server.client.delete(vm)).status == 204
            assert gns3_server.processes() == {}
            assert node.console is None or not ports.tcp.holders(node.console)
            assert not any(map(ports.udp.holders, udp))
            if not self.declared(gns3_server).always_on:
                assert (await events.next())["action"] == "vm.stopped"
            await self.check_silence(gns3_server, project, events)

    async def test_a_running_node_outlives_its_server(self, gns3_serving: ServerFactory) -> None:
        """A server set to keep its nodes leaves them to the next one: started, or suspended."""
        async with gns3_serving(keep_nodes=True) as server:
            vm = await self.started(server, await self.project(server))
            if self.can_suspend(server):
                await self.act(server, vm, "suspend", "suspended")
            before, nios = (await server.client.get(vm)).json, self.nios(server, vm)
            processes = server.processes().keys()
        async with gns3_serving() as server:
            await self.check(server, vm, before["status"])
            assert (await server.client.get(vm)).json == before
            assert server.processes().keys() == processes
            assert self.nios(server, vm) == nios
            if self.can_suspend(server):
                await self.act(server, vm, "resume", "started")
            if not self.declared(server).always_on:
                await self.act(server, vm, "stop", "stopped")
                assert not server.processes()
            assert (await server.client.delete(vm)).status == 204
            assert not server.processes()

    def can_suspend(self, server: LabServer) -> bool:
        """Whether nodes can be suspended."""
        return "suspend" in self.declared(server).capabilities


class WireConformance(NodeSteps):
    """Where wires are plugged in, and when."""

    async def test_nios_go_where_there_is_a_port(self, gns3_server: LabServer) -> None:
        """A NIO goes to each port that the node has and to no other, and its UDP port is held."""
        client, project = gns3_server.client, await self.project(gns3_server)
        vm = await self.create(gns3_server, project)
        node, declared = self.node(gns3_server, vm), self.declared(gns3_server)
        first = nio_path(vm, 0, 0)
        assert (await client.post(first, {"type": "nio_of_nobody"})).status == 400
        assert (await client.delete(nio_path(vm, 0, node.ports))).status == 409
        if node.adapters is not None:
            assert (await client.delete(nio_path(vm, node.adapters, 0))).status == 409
        assert (self.nio(gns3_server) is not None) == bool(declared.nio_types), (
            f"{self.node_type} takes {declared.nio_types}: override nio(), which offers one of them"
        )
        for place in corners(node):
            nio = self.nio(gns3_server)
            assert nio is not None
            path = nio_path(vm, *place)
            for _ in "plugged in", "replaced":
                answer = await client.post(path, nio)
                assert (answer.status, answer.json) == (201, nio), answer
            assert self.nios(gns3_server, vm) == {place: nio}
            await self.check_udp_port(gns3_server, path, nio)
            for _ in "unplugged", "nothing there":
                assert (await client.delete(path)).status == 204
            assert self.nios(gns3_server, vm) == {}
            assert not node.wiring.udp_ports()
        assert not len(gns3_server.ports.udp)

    async def check_udp_port(self, server: LabServer, path: str, nio: Any) -> None:
        """Check that the UDP port of a plugged-in NIO belongs to its project alone."""
        named = server.running.server.registry.nio_types[nio["type"]].local_udp_port
        if named is None:
            return
        assert server.ports.udp.holders(nio[named])
        foreign = await self.create(server, await self.project(server))
        assert (await server.client.post(nio_path(foreign, 0, 0), nio)).status == 409
        assert (await server.client.post(path, {**nio, named: 0})).status == 400

    async def test_a_wire_is_changed_while_the_node_runs(self, gns3_server: LabServer) -> None:
        """A running node takes a change of its wires or refuses it as a whole, and goes on."""
        client, project = gns3_server.client, await self.project(gns3_server)
        vm = await self.started(gns3_server, project)
        main, vm_id = main_processes(gns3_server), vm.rpartition("/")[2]
        async with self.told(gns3_server, project, vm_id, self.last) as events:
            for place in corners(self.node(gns3_server, vm)):
                for nio in (self.nio(gns3_server), None):
                    path, before = nio_path(vm, *place), self.nios(gns3_server, vm)
                    answer = await (client.post(path, nio) if nio else client.delete(path))
                    assert answer.status in (204, 201, 409), answer
                    after = {key: value for key, value in before.items() if key != place}
                    after |= {place: dict(nio)} if nio else {}
                    assert self.nios(gns3_server, vm) == (before if answer.status == 409 else after)
                    await self.check(gns3_server, vm, "started")
            assert main_processes(gns3_server) == main
            await self.check_silence(gns3_server, project, events)
        assert (await client.delete(vm)).status == 204


class NodeTypeConformance(RecordConformance, LifeConformance, WireConformance):
    """Subclass this as ``TestSomething`` and name your node type.

    The tests take the fixtures ``gns3_server`` and ``gns3_serving``; redefine
    the latter in your module to run them with other settings.
    """


def main_processes(server: LabServer) -> list[int]:
    """The living processes of nodes that no other one of them has started."""
    found = server.processes()
    stats = map(read_stat, found)
    return [stat.pid for stat in stats if stat is not None and stat.parent not in found]
