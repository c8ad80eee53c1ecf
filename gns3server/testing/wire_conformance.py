"""What is required of every node type: where wires are plugged in, and when."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gns3server.testing.node_steps import NodeSteps, main_processes, nio_path, places

if TYPE_CHECKING:
    from gns3server.testing.lab_server import LabServer


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
        for place in places(node):
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
            for place in places(self.node(gns3_server, vm)):
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
