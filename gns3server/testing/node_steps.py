"""What a node type's tests are made of: what its author declares, and steps."""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from gns3server.calls import on_behalf_of
from gns3server.running.procfs import read_stat
from gns3server.testing.own_events import OwnEvents

if TYPE_CHECKING:
    from gns3server.http.client import Answer
    from gns3server.nodes.node import Node
    from gns3server.nodes.node_type import NodeType
    from gns3server.testing.lab_server import LabServer

PATIENCE = 30.0
"""Seconds that all events that one test waits for may take together."""

MOST_ADAPTERS = 16
"""On how many adapters of one node wires are tried."""


class NodeSteps:
    """What the author of a node type declares for its tests, and the steps of these tests."""

    gns3_requirements: ClassVar[bool] = True
    """Its tests are requirements: the report names them."""

    node_type: ClassVar[str]
    """The node type: the segment of its paths. Its nature is read from its declaration."""

    create_body: ClassVar[Mapping[str, Any]] = {}
    """What a create request must have besides the name."""

    update_body: ClassVar[Mapping[str, Any]] = {}
    """What an update may change besides the name, for a node of :attr:`create_body`."""

    needs_wire: ClassVar[bool] = False
    """Whether a start is refused while nothing is plugged in."""

    def nio(self, server: LabServer) -> Mapping[str, Any] | None:
        """A NIO that a node takes: by default a UDP tunnel, where the node type takes them.

        A type that takes only other NIOs returns one here, a new one at each call.

        :param server: the test's server.
        :returns: the body of the request that plugs it in; ``None`` if none is possible.
        """
        if "nio_udp" not in self.declared(server).nio_types:
            return None
        lport = free_udp_port(server)
        return {"type": "nio_udp", "lport": lport, "rhost": "127.0.0.1", "rport": lport + 1}

    async def wire(self, server: LabServer, vm: str) -> None:
        """Make a node ready to start. By default :meth:`nio` is plugged into its first port.

        :param server: the test's server, with its ``client``.
        :param vm: the path of the node.
        """
        nio = self.nio(server)
        if nio is not None and places(self.node(server, vm)):
            answer = await server.client.post(nio_path(vm, 0, 0), nio)
            assert answer.status == 201, answer

    # Its nature --------------------------------------------------------------------

    def declared(self, server: LabServer) -> NodeType:
        """What the plugin has declared."""
        return server.running.server.registry.node_types[self.node_type]

    def is_process(self, server: LabServer) -> bool:
        """Whether its nodes are processes."""
        from gns3server.nodes.process_node import ProcessNode

        return issubclass(self.declared(server).node_class, ProcessNode)

    def resets(self, server: LabServer) -> bool:
        """Whether a reload resets nodes in place."""
        return "reset" in self.declared(server).capabilities

    def told_as(self, server: LabServer, shown: Mapping[str, Any], status: str) -> dict[str, Any]:
        """A node's object with another status, if objects of its type show one."""
        shows = "state" in self.declared(server).object_schema().fields
        return {**shown, "status": status} if shows else dict(shown)

    def idle(self, server: LabServer) -> str:
        """What clients see of a node that is not started; one always on counts as started."""
        return "started" if self.declared(server).always_on else "stopped"

    # Steps ---------------------------------------------------------------------------

    async def project(self, server: LabServer) -> str:
        """The path of a new project."""
        answer = await server.client.post("/v1/projects", {"name": "conformance"})
        assert answer.status == 201, answer
        return f"/v1/projects/{answer.json['project_id']}"

    async def post(self, server: LabServer, project: str, **values: Any) -> Answer:
        """Request the creation of a node."""
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

    async def started(self, server: LabServer, project: str, **values: Any) -> str:
        """The path of a new node that is up."""
        vm = await self.ready(server, project, **values)
        await self.act(server, vm, "start", "started")
        return vm

    async def restarted(self, server: LabServer, vm: str) -> None:
        """Start a node, which may run, with all that it has by now, and check its status."""
        if self.resets(server):
            await self.act(server, vm, "stop", "stopped")
            await self.act(server, vm, "start", "started")
        else:
            await self.act(server, vm, "reload", "started")

    async def act(self, server: LabServer, vm: str, action: str, status: str) -> None:
        """Start, stop or reload a node, for instance, and check its status."""
        answer = await server.client.post(f"{vm}/{action}")
        assert answer.status == 204, answer
        await self.check(server, vm, status)

    async def check(self, server: LabServer, vm: str, status: str) -> None:
        """Check a node's status: what clients see, and whether that is true."""
        assert await self.status(server, vm) == status
        if status == "started":
            # Clients see an always-on node as started even while it is not.
            node = self.node(server, vm)
            assert node.state.value == "started"
            await self.seen(server, node)
            assert bool(server.processes()) or not self.is_process(server)

    async def status(self, server: LabServer, vm: str) -> str:
        """A node's status, which the list of all nodes shows, and its objects as a rule do."""
        answer = await server.client.get(vm)
        assert answer.status == 200, answer
        project, _, _, node_id = vm.rsplit("/", 3)
        listed = await server.client.get(f"{project}/nodes")
        (status,) = (node["status"] for node in listed.json if node["node_id"] == node_id)
        assert answer.json == self.told_as(server, answer.json, status)
        return str(status)

    async def seen(self, server: LabServer, node: Node) -> None:
        """Wait until the processes of a node can be seen to be the test's.

        That takes a moment if nothing has told when its program is ready.
        """
        async with asyncio.timeout_at(self.deadline):
            # Nothing tells of it.
            while set(node.pids) - server.processes().keys():
                await asyncio.to_thread(os.sched_yield)

    def node(self, server: LabServer, vm: str) -> Node:
        """The node behind a path."""
        *_, project_id, _, _, node_id = vm.split("/")
        node = server.running.server.projects.get(project_id).members.find(node_id)
        assert node is not None, vm
        return node

    def nios(self, server: LabServer, vm: str) -> dict[tuple[int, int], dict[str, Any]]:
        """What is plugged into a node, by adapter and port."""
        return {place: nio.wire() for place, nio in self.node(server, vm).nios.items()}

    async def wanted_spec(self, server: LabServer, node: Any) -> Any:
        """What a process node would run if it were started now."""
        plugin = server.running.server.registry.plugins[self.node_type]
        async with node.project.enter(node.id):
            # As the server calls it: on behalf of the plugin, whose stores it may use.
            with on_behalf_of(plugin):
                # What is always on runs already.
                return node.run.spec if node.run else await node.launch_spec()

    # Events ----------------------------------------------------------------------------

    @cached_property
    def deadline(self) -> float:
        """When this test has waited long enough for events, by the running loop's clock.

        pytest makes a new object for each test.
        """
        return asyncio.get_running_loop().time() + PATIENCE

    @asynccontextmanager
    async def told(
        self, server: LabServer, project: str, *node_ids: str
    ) -> AsyncIterator[OwnEvents]:
        """What listeners of a project are told about these nodes, from now on."""
        async with server.client.listen(f"{project}/notifications") as events:
            assert await anext(events) == {"action": "ping"}
            yield OwnEvents(events, node_ids, self.deadline)

    @cached_property
    def last(self) -> str:
        """The id of a node whose creation shows that nothing else was told before it."""
        return str(uuid.uuid4())

    async def check_silence(self, server: LabServer, project: str, told: OwnEvents) -> None:
        """Check that nothing more was told about some nodes.

        :param told: events of these nodes and of :attr:`last`, which is made here and comes next.
        """
        await self.create(server, project, vm_id=self.last)
        event = await told.next()
        assert (event["action"], event["event"]["vm_id"]) == ("vm.created", self.last), event


def nio_path(vm: str, adapter: int, port: int) -> str:
    """Where a NIO is plugged into a node."""
    return f"{vm}/adapters/{adapter}/ports/{port}/nio"


def places(node: Node) -> list[tuple[int, int]]:
    """Where wires are tried on a node that takes some: the first and the last port of each adapter.

    Of very many adapters, these are the first ones and the last.
    """
    adapters = 1 if node.adapters is None else node.adapters
    if not (node.type.nio_types and adapters and node.ports):
        return []
    tried = sorted({*range(min(adapters, MOST_ADAPTERS)), adapters - 1})
    return [(adapter, port) for adapter in tried for port in sorted({0, node.ports - 1})]


def main_processes(server: LabServer) -> list[int]:
    """The living processes of nodes that no other one of them has started."""
    found = server.processes()
    stats = map(read_stat, found)
    return [stat.pid for stat in stats if stat is not None and stat.parent not in found]


def free_udp_port(server: LabServer) -> int:
    """A UDP port of this machine that no node of the test has."""
    settings, pool = server.settings.server, server.ports.udp
    # Far apart: emulators may bind more ports near the one they are given.
    ports = range(settings.udp_start_port_range, settings.udp_end_port_range, 20)
    return next(port for port in ports if not pool.holders(port))
