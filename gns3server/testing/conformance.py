"""What every node type must do, as tests that a plugin runs on itself.

The whole test module of a plugin may be::

    from gns3server.testing import NodeTypeConformance

    class TestMine(NodeTypeConformance):
        node_type = "mine"
"""

from __future__ import annotations

import asyncio
import os
import signal
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from gns3server.http.client import Answer
    from gns3server.testing import LabServer, ServerFactory

PATIENCE = 30.0
"""Seconds that an event may take to arrive."""


class NodeTypeConformance:
    """Subclass this as ``TestSomething`` and name your node type.

    The tests take the fixtures ``gns3_server`` and ``gns3_serving``; redefine
    the latter in your module to run them with other settings.
    """

    node_type: ClassVar[str]
    """The node type: the segment of its paths."""

    create_body: ClassVar[Mapping[str, Any]] = {}
    """What a create request must have besides the name."""

    needs_wire: ClassVar[bool] = False
    """Whether a start is refused while nothing is plugged in."""

    async def wire(self, server: LabServer, vm: str) -> None:
        """Make a node ready to start. By default a node that takes UDP tunnels gets one.

        :param server: the test's server, with its ``client``.
        :param vm: the path of the node.
        """
        if self.takes_udp(server):
            answer = await server.client.post(f"{vm}/adapters/0/ports/0/nio", udp_nio(server))
            assert answer.status == 201, answer

    # Steps that the tests are made of ------------------------------------------

    def takes_udp(self, server: LabServer) -> bool:
        """Whether the node type takes UDP tunnels."""
        return "nio_udp" in server.running.server.registry.node_types[self.node_type].nio_types

    async def project(self, server: LabServer) -> str:
        """The path of a new project."""
        answer = await server.client.post("/v1/projects", {"name": "conformance"})
        assert answer.status == 201, answer
        return f"/v1/projects/{answer.json['project_id']}"

    async def post(self, server: LabServer, project: str, **values: Any) -> Answer:
        """Ask for a node."""
        body = {"name": "one", **self.create_body, **values}
        return await server.client.post(f"{project}/{self.node_type}/vms", body)

    async def create(self, server: LabServer, project: str, **values: Any) -> str:
        """The path of a new node."""
        answer = await self.post(server, project, **values)
        assert answer.status == 201, answer
        return f"{project}/{self.node_type}/vms/{answer.json['vm_id']}"

    async def ready(self, server: LabServer, project: str, **values: Any) -> str:
        """The path of a new node that can be started."""
        vm = await self.create(server, project, **values)
        await self.wire(server, vm)
        return vm

    async def act(self, server: LabServer, vm: str, action: str, status: str) -> None:
        """Start, stop or reload a node and look at its status."""
        answer = await server.client.post(f"{vm}/{action}")
        assert answer.status == 204, answer
        assert (await server.client.get(vm)).json["status"] == status

    # The tests -------------------------------------------------------------------

    async def test_a_new_node_is_shown_and_listed(self, gns3_server: LabServer) -> None:
        project = await self.project(gns3_server)
        answer = await self.post(gns3_server, project, name="first")
        assert answer.status == 201, answer
        made, settings = answer.json, gns3_server.settings.server
        assert (made["name"], made["status"]) == ("first", "stopped")
        assert made["project_id"] == project.rpartition("/")[2]
        assert str(uuid.UUID(made["vm_id"])) == made["vm_id"]
        console = made["console"]
        assert settings.console_start_port_range <= console <= settings.console_end_port_range
        nodes = f"{project}/{self.node_type}/vms"
        assert (await gns3_server.client.get(f"{nodes}/{made['vm_id']}")).json == made
        second = (await self.post(gns3_server, project, name="second")).json
        assert (await gns3_server.client.get(nodes)).json == [made, second]

    async def test_an_id_is_kept_and_made_only_once(self, gns3_server: LabServer) -> None:
        project, vm_id = await self.project(gns3_server), str(uuid.uuid4())
        first = await self.post(gns3_server, project, vm_id=vm_id)
        again = await self.post(gns3_server, project, vm_id=vm_id)
        assert (first.status, again.status) == (201, 201)
        assert first.json["vm_id"] == vm_id
        assert again.json == first.json
        assert len((await gns3_server.client.get(f"{project}/{self.node_type}/vms")).json) == 1

    async def test_unknown_ids_are_told_apart(self, gns3_server: LabServer) -> None:
        project, other = await self.project(gns3_server), await self.project(gns3_server)
        vm = await self.create(gns3_server, project)
        nodes, client = f"{project}/{self.node_type}/vms", gns3_server.client
        assert (await client.get(f"{nodes}/{uuid.uuid4()}")).status == 404
        assert (await client.get(f"{nodes}/nothing")).status == 400
        assert (await client.get(vm.replace(project, other))).status == 404

    async def test_an_update_changes_all_or_nothing(self, gns3_server: LabServer) -> None:
        client, project = gns3_server.client, await self.project(gns3_server)
        vm = await self.create(gns3_server, project)
        assert (await client.put(vm, {"name": "renamed"})).json["name"] == "renamed"
        before = (await client.get(vm)).json
        assert before["name"] == "renamed"
        for body in ({"name": "x", "unknown": 1}, {"name": ""}, {"name": "x", "console": 0}):
            assert (await client.put(vm, body)).status == 400
        assert (await client.get(vm)).json == before

    async def test_a_deleted_node_is_gone(self, gns3_server: LabServer) -> None:
        client, project = gns3_server.client, await self.project(gns3_server)
        vm = await self.create(gns3_server, project)
        assert (await client.delete(vm)).status == 204
        assert (await client.get(vm)).status == 404
        assert (await client.delete(vm)).status == 404
        assert (await client.get(f"{project}/{self.node_type}/vms")).json == []

    async def test_a_console_is_one_nodes_until_it_is_deleted(self, gns3_server: LabServer) -> None:
        client, project = gns3_server.client, await self.project(gns3_server)
        first = await self.create(gns3_server, project)
        console = (await client.get(first)).json["console"]
        assert (await self.post(gns3_server, project)).json["console"] != console
        assert (await self.post(gns3_server, project, console=console)).status == 409
        assert (await client.delete(first)).status == 204
        assert (await self.post(gns3_server, project, console=console)).status == 201

    async def test_start_stop_and_reload(self, gns3_server: LabServer) -> None:
        vm = await self.ready(gns3_server, await self.project(gns3_server))
        for _ in "once", "again":
            await self.act(gns3_server, vm, "start", "started")
        running = gns3_server.processes()
        assert running
        await self.act(gns3_server, vm, "reload", "started")
        assert not running.keys() & gns3_server.processes().keys()
        for _ in "once", "again":
            await self.act(gns3_server, vm, "stop", "stopped")
        assert gns3_server.processes() == {}
        await self.act(gns3_server, vm, "reload", "started")

    async def test_two_nodes_come_up_beside_each_other(self, gns3_server: LabServer) -> None:
        project = await self.project(gns3_server)
        vms = [await self.ready(gns3_server, project, name=name) for name in ("one", "two")]
        await asyncio.gather(*(self.act(gns3_server, vm, "start", "started") for vm in vms))
        await self.act(gns3_server, vms[0], "stop", "stopped")
        assert (await gns3_server.client.get(vms[1])).json["status"] == "started"

    async def test_a_start_without_a_wire(self, gns3_server: LabServer) -> None:
        vm = await self.create(gns3_server, await self.project(gns3_server))
        answer = await gns3_server.client.post(f"{vm}/start")
        assert answer.status == (409 if self.needs_wire else 204), answer

    async def test_events_tell_the_life_of_a_node_in_order(self, gns3_server: LabServer) -> None:
        client, project = gns3_server.client, await self.project(gns3_server)
        async with told(gns3_server, project) as events:
            vm = await self.ready(gns3_server, project)
            made = (await client.get(vm)).json
            assert await anext(events) == {"action": "vm.created", "event": made}
            await self.act(gns3_server, vm, "start", "started")
            started = {**made, "status": "started"}
            assert await anext(events) == {"action": "vm.started", "event": started}
            # Nothing happens, and nothing is told.
            await self.act(gns3_server, vm, "start", "started")
            await self.act(gns3_server, vm, "stop", "stopped")
            assert await anext(events) == {"action": "vm.stopped", "event": made}

    async def test_a_crash_is_told_and_leaves_nothing(self, gns3_server: LabServer) -> None:
        client, project = gns3_server.client, await self.project(gns3_server)
        vm = await self.ready(gns3_server, project)
        await self.act(gns3_server, vm, "start", "started")
        stopped = {**(await client.get(vm)).json, "status": "stopped"}
        async with told(gns3_server, project) as events:
            (main,) = [pid for pid in gns3_server.processes() if parent(pid) == os.getpid()]
            os.kill(main, signal.SIGKILL)
            assert await anext(events) == {"action": "vm.stopped", "event": stopped}
            error = await anext(events)
        assert error["action"] == "log.error"
        assert error["event"].keys() == {"message", "project_id", "vm_id"}
        assert error["event"]["vm_id"] == stopped["vm_id"]
        assert (await client.get(vm)).json == stopped
        assert gns3_server.processes() == {}
        await self.act(gns3_server, vm, "start", "started")

    async def test_a_running_node_is_deleted_with_all_it_has(self, gns3_server: LabServer) -> None:
        vm = await self.ready(gns3_server, await self.project(gns3_server))
        await self.act(gns3_server, vm, "start", "started")
        console = (await gns3_server.client.get(vm)).json["console"]
        assert (await gns3_server.client.delete(vm)).status == 204
        assert gns3_server.processes() == {}
        assert not gns3_server.ports.tcp.holders(console)

    async def test_a_closed_project_opens_with_its_nodes(self, gns3_server: LabServer) -> None:
        client, project = gns3_server.client, await self.project(gns3_server)
        vm = await self.ready(gns3_server, project)
        before = (await client.get(vm)).json
        await self.act(gns3_server, vm, "start", "started")
        assert (await client.post(f"{project}/close")).status == 204
        assert gns3_server.processes() == {}
        assert (await client.get(vm)).status == 404
        body = {"project_id": project.rpartition("/")[2]}
        assert (await client.post("/v1/projects", body)).status == 201
        assert (await client.get(vm)).json == before
        await self.act(gns3_server, vm, "start", "started")

    async def test_a_node_is_there_after_a_restart(self, gns3_serving: ServerFactory) -> None:
        async with gns3_serving() as server:
            project = await self.project(server)
            vm = await self.ready(server, project, name="stays")
            before = (await server.client.get(vm)).json
            await self.act(server, vm, "start", "started")
        async with gns3_serving() as server:
            assert (await server.client.get(vm)).json == before
            await self.act(server, vm, "start", "started")

    async def test_a_running_node_outlives_its_server(self, gns3_serving: ServerFactory) -> None:
        async with gns3_serving(keep_nodes=True) as server:
            vm = await self.ready(server, await self.project(server))
            await self.act(server, vm, "start", "started")
            before = (await server.client.get(vm)).json
            processes = set(server.processes())
        async with gns3_serving() as server:
            assert (await server.client.get(vm)).json == before
            assert set(server.processes()) == processes
            await self.act(server, vm, "stop", "stopped")
            assert not server.processes()

    async def test_nios_go_where_there_is_a_port(self, gns3_server: LabServer) -> None:
        client, project = gns3_server.client, await self.project(gns3_server)
        vm = await self.create(gns3_server, project)
        node_type = gns3_server.running.server.registry.node_types[self.node_type]
        port = f"{vm}/adapters/0/ports/0/nio"
        assert (await client.post(port, {"type": "nio_of_nobody"})).status == 400
        assert (await client.delete(f"{vm}/adapters/0/ports/{node_type.ports}/nio")).status == 409
        if node_type.adapters is not None:
            beyond = f"{vm}/adapters/{node_type.adapters}/ports/0/nio"
            assert (await client.delete(beyond)).status == 409
        if not self.takes_udp(gns3_server):
            return
        await self.wire(gns3_server, vm)
        nio = udp_nio(gns3_server)
        replaced = await client.post(port, nio)
        assert (replaced.status, replaced.json) == (201, nio)
        foreign = await self.create(gns3_server, await self.project(gns3_server))
        assert (await client.post(f"{foreign}/adapters/0/ports/0/nio", nio)).status == 409
        assert (await client.post(port, {**nio, "lport": 0})).status == 400
        for _ in "unplugged", "nothing there":
            assert (await client.delete(port)).status == 204
        assert not gns3_server.ports.udp.holders(nio["lport"])


def udp_nio(server: LabServer) -> dict[str, Any]:
    """A UDP tunnel with a port of its own on this machine."""
    settings, pool = server.settings.server, server.ports.udp
    # Wide apart: emulators may bind more ports near the one they are given.
    ports = range(settings.udp_start_port_range, settings.udp_end_port_range, 20)
    lport = next(port for port in ports if not pool.holders(port))
    return {"type": "nio_udp", "lport": lport, "rhost": "127.0.0.1", "rport": lport + 1}


def parent(pid: int) -> int:
    """The process that a process is a child of."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


@asynccontextmanager
async def told(server: LabServer, project: str) -> AsyncIterator[AsyncIterator[Any]]:
    """What listeners of a project are told, pings left out, from now on."""
    async with server.client.listen(f"{project}/notifications") as events:
        assert await anext(events) == {"action": "ping"}

        async def without_pings() -> AsyncIterator[Any]:
            while True:
                async with asyncio.timeout(PATIENCE):
                    event = await anext(events)
                if event["action"] != "ping":
                    yield event

        yield without_pings()
