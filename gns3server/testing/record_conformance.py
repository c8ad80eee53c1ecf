"""What is required of every node type: what is stored about a node, and shown."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from gns3server.testing.node_steps import NodeSteps

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
        assert made["name"] == "first"
        assert made["project_id"] == project.rpartition("/")[2]
        assert str(uuid.UUID(made["vm_id"])) == made["vm_id"]
        if self.declared(gns3_server).console:
            first, last = settings.console_start_port_range, settings.console_end_port_range
            assert first <= made["console"] <= last
        else:
            assert made["console"] is None
        nodes = f"{project}/{self.node_type}/vms"
        await self.check(gns3_server, f"{nodes}/{made['vm_id']}", self.idle(gns3_server))
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
