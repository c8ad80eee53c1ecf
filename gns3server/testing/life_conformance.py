"""What is required of every node type: how a node starts, stops and ends."""

from __future__ import annotations

import asyncio
import os
import signal
import uuid
from typing import TYPE_CHECKING

from gns3server.testing.node_steps import NodeSteps, main_processes

if TYPE_CHECKING:
    from gns3server.testing.lab_server import LabServer, ServerFactory


class LifeConformance(NodeSteps):
    """How a node starts, stops and ends, and what is told about it."""

    async def test_start_stop_and_reload(self, gns3_server: LabServer) -> None:
        """A node is up when its start is answered, and gone when its stop is.

        A node that is always on stays up. One that is not a process node leaves no process. A
        reload starts a node anew, or resets what runs and leaves a stopped node alone.
        """
        vm = await self.ready(gns3_server, await self.project(gns3_server))
        for _ in "once", "again":
            await self.act(gns3_server, vm, "start", "started")
        running = gns3_server.processes()
        assert bool(running) == self.is_process(gns3_server), running
        await self.act(gns3_server, vm, "reload", "started")
        reloaded = gns3_server.processes()
        if self.resets(gns3_server):
            assert reloaded == running
        else:
            assert not running.keys() & reloaded.keys()
        for _ in "once", "again":
            await self.act(gns3_server, vm, "stop", self.idle(gns3_server))
        left = reloaded if self.declared(gns3_server).always_on else {}
        assert gns3_server.processes() == left
        after = self.idle(gns3_server) if self.resets(gns3_server) else "started"
        await self.act(gns3_server, vm, "reload", after)

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
                    event = self.told_as(gns3_server, idle, status)
                    told = {"action": f"vm.{status}", "event": event}
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
            suspended = self.told_as(gns3_server, started, "suspended")
            assert await events.next() == {"action": "vm.suspended", "event": suspended}
            for _ in "once", "again":
                await self.act(gns3_server, vm, "resume", "started")
            assert await events.next() == {"action": "vm.resumed", "event": started}
            await self.act(gns3_server, vm, "suspend", "suspended")
            assert await events.next() == {"action": "vm.suspended", "event": suspended}
            await self.act(gns3_server, vm, "start", "started")
            assert await events.next() == {"action": "vm.started", "event": started}
            assert gns3_server.processes() == running
            await self.check_silence(gns3_server, project, events)
        await self.act(gns3_server, vm, "suspend", "suspended")
        await self.act(gns3_server, vm, "stop", "stopped")
        await self.act(gns3_server, vm, "suspend", "stopped")
        assert (await client.post(f"{vm}/resume")).status == 409

    async def test_a_crash_is_told_and_leaves_nothing(self, gns3_server: LabServer) -> None:
        """A process that is killed stops its node with an error; the node can be started again.

        A node that is not a process node has no process to kill.
        """
        client, project = gns3_server.client, await self.project(gns3_server)
        vm = await self.started(gns3_server, project)
        main = main_processes(gns3_server)
        assert len(main) == int(self.is_process(gns3_server))
        shown = (await client.get(vm)).json
        stopped = self.told_as(gns3_server, shown, self.idle(gns3_server))
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
            status, processes = await self.status(server, vm), server.processes().keys()
        async with gns3_serving() as server:
            await self.check(server, vm, status)
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
