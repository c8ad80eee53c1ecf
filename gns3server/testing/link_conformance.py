"""What every node type must do with links; part of :mod:`gns3server.testing.conformance`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from gns3server.ports import can_bind
from gns3server.testing.node_steps import NodeSteps, nio_path, places

if TYPE_CHECKING:
    from gns3server.testing.lab_server import LabServer, ServerFactory

FRAME = b"\xff" * 6 + b"\x02" + b"\0" * 5 + b"\x88\xb5" + b"conformance" * 5
"""An Ethernet frame to all, of a type that is kept for experiments: nobody answers it."""

SEND = """
import socket, sys
host, local, remote, frame = sys.argv[1:]
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as wire:
    wire.bind((host, int(local)))
    wire.sendto(bytes.fromhex(frame), (host, int(remote)))
"""
"""A program that sends a frame from one UDP port to another."""


class LinkConformance(NodeSteps):
    """Links that end at a node."""

    async def test_links_end_where_there_is_a_port(self, gns3_server: LabServer) -> None:
        """A link ends at each port that takes UDP tunnels and at no other, and goes with a node.

        A NIO that is part of a link is changed by nobody else.
        """
        client, project = gns3_server.client, await self.project(gns3_server)
        vm, other = [await self.create(gns3_server, project, name=n) for n in ("one", "other")]
        node, links = self.node(gns3_server, vm), self.links(gns3_server)
        refused = [(0, node.ports), *([] if node.adapters is None else [(node.adapters, 0)])]
        corners = sorted({*places(node)[:1], *places(node)[-1:]})
        for place in [*refused, *(corners or [(0, 0)])]:
            answer = await self.link(gns3_server, project, (vm, place), (other, (0, 0)))
            if not links or place in refused:
                assert answer.status == 409, answer
                assert self.nios(gns3_server, vm) == self.nios(gns3_server, other) == {}
                continue
            assert answer.status == 201, answer
            assert list(self.nios(gns3_server, vm)) == [place]
            assert (await client.delete(nio_path(vm, *place))).status == 409
            path = f"{project}/links/{answer.json['link_id']}"
            assert (await client.get(path)).json == answer.json
            assert (await client.delete(path)).status == 204
            assert self.nios(gns3_server, vm) == self.nios(gns3_server, other) == {}
            assert not len(gns3_server.ports.udp)
        if links:
            answer = await self.link(gns3_server, project, (vm, (0, 0)), (other, (0, 0)))
            assert answer.status == 201, answer
            assert (await client.delete(other)).status == 204
            assert self.nios(gns3_server, vm) == {}
        assert (await client.get(f"{project}/links")).json == []

    async def test_a_link_is_made_while_the_node_runs(self, gns3_server: LabServer) -> None:
        """A running node takes a link or refuses it as a whole.

        One that is declared to take wires while it runs has it at once: it binds the link's UDP
        port, and gives it up with the link. Others have it at their next start, and the link says
        so.
        """
        client, project = gns3_server.client, await self.project(gns3_server)
        vm, other = (
            await self.ready(gns3_server, project),
            await self.create(gns3_server, project, name="other"),
        )
        free = [place for place in places(self.node(gns3_server, vm)) if place != (0, 0)]
        if not self.links(gns3_server) or not free:
            return
        await self.act(gns3_server, vm, "start", "started")
        ends = (vm, free[-1]), (other, (0, 0))
        answer = await self.link(gns3_server, project, *ends, path="direct")
        assert answer.status in (201, 409), answer
        await self.check(gns3_server, vm, "started")
        if answer.status == 409:
            return
        hot, vm_id = self.is_hot(gns3_server), vm.rpartition("/")[2]
        assert (vm_id in answer.json["at_next_start"]) != hot, answer
        lport = self.local_port(gns3_server, vm, free[-1])
        assert can_bind("UDP", lport) != hot, (
            f"{self.node_type} declares hot_wiring, and has not bound UDP port {lport} of its link"
            if hot
            else f"{self.node_type} has bound UDP port {lport} of its link: declare hot_wiring"
        )
        path = f"{project}/links/{answer.json['link_id']}"
        assert (await client.delete(path)).status in (204, 409)
        await self.check(gns3_server, vm, "started")
        if hot:
            assert can_bind("UDP", lport)

    async def test_a_link_is_suspended_while_the_node_runs(self, gns3_server: LabServer) -> None:
        """A running node stays up while its link is suspended, and when that goes on."""
        if not self.links(gns3_server):
            return
        client, project = gns3_server.client, await self.project(gns3_server)
        vm, other = [await self.create(gns3_server, project, name=n) for n in ("one", "other")]
        answer = await self.link(gns3_server, project, (vm, (0, 0)), (other, (0, 0)))
        assert answer.status == 201, answer
        await self.act(gns3_server, vm, "start", "started")
        running = gns3_server.processes()
        for suspended in (True, False):
            path = f"{project}/links/{answer.json['link_id']}"
            changed = await client.put(path, {"suspended": suspended})
            assert (changed.status, changed.json.get("suspended")) == (200, suspended), changed
            await self.check(gns3_server, vm, "started")
            assert self.node(gns3_server, vm).is_suspended() == suspended
            assert gns3_server.processes() == running

    async def test_a_link_is_captured(self, gns3_server: LabServer) -> None:
        """What is sent to a running node through a link is in a capture of that link."""
        if not self.links(gns3_server):
            return
        client, project = gns3_server.client, await self.project(gns3_server)
        vm, other = [await self.create(gns3_server, project, name=n) for n in ("one", "other")]
        ends = (vm, (0, 0)), (other, (0, 0))
        answer = await self.link(gns3_server, project, *ends, path="relayed")
        assert answer.status == 201, answer
        await self.act(gns3_server, vm, "start", "started")
        capture = f"{project}/links/{answer.json['link_id']}/capture"
        started = await client.post(capture, {"file": "conformance"})
        assert started.status == 201, started
        file = f"{project}/files/{started.json['capture']['file']}"
        if not self.declared(gns3_server).always_on:
            await self.send(gns3_server, other)
            while FRAME not in (await client.get(file)).body:
                await self.check(gns3_server, vm, "started")
        assert (await client.delete(capture)).status == 204
        assert (await client.get(file)).body[:4] == b"\x4d\x3c\xb2\xa1"
        await self.check(gns3_server, vm, "started")

    async def test_a_link_is_kept_while_its_plugin_is_missing(
        self, gns3_serving: ServerFactory
    ) -> None:
        """A link of nodes whose plugin is missing stays, and is plugged in when that is back."""
        async with gns3_serving() as server:
            if not self.links(server):
                return
            project = await self.project(server)
            vm, other = [await self.create(server, project, name=n) for n in ("one", "other")]
            answer = await self.link(server, project, (vm, (0, 0)), (other, (0, 0)), path="direct")
            assert answer.status == 201, answer
            link, nios = {**answer.json, "at_next_start": []}, self.nios(server, vm)
            plugin = server.running.server.registry.plugins[self.node_type]
        async with gns3_serving(disabled_plugins=plugin) as server:
            assert (await server.client.get(f"{project}/links")).json == [link]
        async with gns3_serving() as server:
            assert (await server.client.get(f"{project}/links")).json == [link]
            assert self.nios(server, vm) == nios

    # Steps ---------------------------------------------------------------------------

    async def link(
        self, server: LabServer, project: str, *ends: tuple[str, tuple[int, int]], **values: Any
    ) -> Any:
        """Ask for a link between ports of nodes."""
        body = {
            "ends": [
                {"vm_id": vm.rpartition("/")[2], "adapter_number": adapter, "port_number": port}
                for vm, (adapter, port) in ends
            ],
            **values,
        }
        return await server.client.post(f"{project}/links", body)

    def links(self, server: LabServer) -> bool:
        """Whether links can end at its nodes."""
        offered = server.running.server.registry.nio_types
        kinds = [offered[name] for name in self.declared(server).nio_types if name in offered]
        return any(kind.is_tunnel for kind in kinds)

    def is_hot(self, server: LabServer) -> bool:
        """Whether its nodes take up wires while they run."""
        return "hot_wiring" in self.declared(server).capabilities

    def local_port(self, server: LabServer, vm: str, place: tuple[int, int]) -> int:
        """The UDP port that a node binds for a link."""
        nio = self.node(server, vm).nios[place]
        port = server.running.server.registry.nio_types[nio.type].udp_port(nio)
        assert port is not None
        return port

    async def send(self, server: LabServer, vm: str) -> None:
        """Send :data:`FRAME` as a stopped node would through the link at its first port.

        From the machine of the node: the link panel takes frames from that alone.
        """
        nio, machine = self.node(server, vm).nios[0, 0], server.running.server.machine
        tunnel = server.running.server.registry.nio_types[nio.type].tunnel_of(nio)
        assert tunnel is not None
        values = tunnel.host, str(tunnel.local), str(tunnel.remote), FRAME.hex()
        sent = await machine.run_tool([sys.executable, "-c", SEND, *values])
        assert sent.code == 0, sent.output
