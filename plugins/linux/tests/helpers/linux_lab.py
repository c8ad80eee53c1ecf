"""Labs of hosts and routers, driven through the API and their consoles."""

from __future__ import annotations

import asyncio
import os
from contextlib import AbstractAsyncContextManager
from typing import Any

from gns3server.testing import ConsoleClient, LabServer, ServerProcess

OSPF = """\
interface {inner}
 ip address {inner_address}/24
interface {outer}
 ip address {outer_address}/24
 ip ospf hello-interval 1
 ip ospf dead-interval 3
 ip ospf network point-to-point
router ospf
 network 10.0.0.0/8 area 0
"""
"""The configuration of a router with a network of its own, and a neighbour."""

ROUTERS = (
    OSPF.format(inner="eth0", inner_address="10.1.0.1", outer="eth1", outer_address="10.9.0.1"),
    OSPF.format(inner="eth0", inner_address="10.2.0.1", outer="eth1", outer_address="10.9.0.2"),
)


class LabNode:
    """A node as its clients see it."""

    def __init__(self, lab: Lab, values: dict[str, Any], kind: str) -> None:
        self.lab = lab
        self.id: str = values["vm_id"]
        self.name: str = values["name"]
        self.port: int = values["console"]
        self.folder: str = values.get("vm_directory", "")
        self.path = f"{lab.project}/{kind}/vms/{self.id}"

    async def start(self) -> None:
        """Start it."""
        answer = await self.lab.client.post(f"{self.path}/start")
        assert answer.status == 204, answer.body

    async def stop(self) -> None:
        """Stop it."""
        answer = await self.lab.client.post(f"{self.path}/stop")
        assert answer.status == 204, answer.body

    def console(self) -> AbstractAsyncContextManager[ConsoleClient]:
        """Its console, at a shell's or vtysh's prompt."""
        prompt = "# " if "/vpcs/" not in self.path else "VPCS> "
        return ConsoleClient.open(self.port, prompt, press_enter="/frr/" in self.path)

    async def runs(self, command: str) -> str:
        """What a command shows on its console, which nobody else uses."""
        async with self.console() as console:
            return await console.run(command)


class Lab:
    """A project on a test's server."""

    def __init__(self, server: LabServer | ServerProcess, project: str) -> None:
        self.client = server.client
        self.project = project

    @classmethod
    async def open(cls, server: LabServer | ServerProcess) -> Lab:
        """Make a project."""
        answer = await server.client.post("/v1/projects", {"name": "test"})
        assert answer.status == 201, answer.body
        return cls(server, f"/v1/projects/{answer.json['project_id']}")

    async def create(self, kind: str = "linux", **values: Any) -> Any:
        """Ask for a node; returns the answer."""
        return await self.client.post(f"{self.project}/{kind}/vms", {"name": "H1", **values})

    async def node(self, kind: str = "linux", **values: Any) -> LabNode:
        """Make a node."""
        answer = await self.create(kind, **values)
        assert answer.status == 201, answer.body
        return LabNode(self, answer.json, kind)

    async def host(self, name: str, address: str, *, gateway: str = "") -> LabNode:
        """Make a host with an address, and a route to everywhere."""
        script = f"ip address add {address}/24 dev eth0\n"
        if gateway:
            script += f"ip route add default via {gateway}\n"
        return await self.node(name=name, startup_script=script)

    async def link(self, *ends: tuple[LabNode, int], **values: Any) -> str:
        """Link two adapters; returns the link's path."""
        body = {
            "ends": [
                {"vm_id": node.id, "adapter_number": adapter, "port_number": 0}
                for node, adapter in ends
            ],
            **values,
        }
        answer = await self.client.post(f"{self.project}/links", body)
        assert answer.status == 201, answer.body
        return f"{self.project}/links/{answer.json['link_id']}"

    async def change(self, path: str, /, **values: Any) -> Any:
        """Ask for a change of something; returns the answer."""
        return await self.client.put(path, values)


async def run_inside(pid: int, namespace: str, *command: str) -> None:
    """Run a command in a namespace of a process, such as ``--net``."""
    user = () if os.geteuid() == 0 else ("--user", "--preserve-credentials")
    enter = ("nsenter", "--target", str(pid), *user, namespace)
    process = await asyncio.create_subprocess_exec(*enter, *command)
    assert await process.wait() == 0
