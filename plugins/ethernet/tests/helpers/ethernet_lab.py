"""Labs of switches, driven through the API."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ethernet_program import Host

from gns3server.testing import LabServer, ServerProcess


class Bridge:
    """A switch or a hub as its clients see it."""

    def __init__(self, lab: Lab, kind: str, node_id: str) -> None:
        self.lab = lab
        self.id = node_id
        self.path = f"{lab.project}/{kind}/vms/{node_id}"

    def on(self, lab: Lab) -> Bridge:
        """The same node on another server."""
        return Bridge(lab, self.path.split("/")[-3], self.id)

    async def get(self, what: str = "") -> Any:
        """Its object, or what one of its routes shows."""
        answer = await self.lab.client.get(f"{self.path}/{what}" if what else self.path)
        assert answer.status == 200, answer.body
        return answer.json

    async def update(self, **values: Any) -> Any:
        """Ask for a change; returns the answer."""
        return await self.lab.client.put(self.path, values)

    async def wire(self, port: int, lport: int, rport: int, rhost: str = "127.0.0.1") -> Any:
        """Plug a wire in; returns the answer."""
        nio = {"type": "nio_udp", "lport": lport, "rhost": rhost, "rport": rport}
        return await self.lab.client.post(f"{self.path}/adapters/0/ports/{port}/nio", nio)

    async def unwire(self, port: int) -> Any:
        """Unplug a wire; returns the answer."""
        return await self.lab.client.delete(f"{self.path}/adapters/0/ports/{port}/nio")

    async def counters(self, port: int) -> Any:
        """What a port has counted."""
        (found,) = (each for each in await self.get("counters") if each["port_number"] == port)
        return found


class Lab:
    """A project on a test's server."""

    def __init__(self, server: LabServer | ServerProcess, project: str) -> None:
        self.server = server
        self.client = server.client
        self.project = project

    @classmethod
    async def open(cls, server: LabServer | ServerProcess) -> Lab:
        """Make a project."""
        answer = await server.client.post("/v1/projects", {"name": "test"})
        assert answer.status == 201, answer.body
        return cls(server, f"/v1/projects/{answer.json['project_id']}")

    async def create(self, kind: str = "ethernet_switch", **values: Any) -> Any:
        """Ask for a switch; returns the answer."""
        return await self.client.post(f"{self.project}/{kind}/vms", {"name": "SW", **values})

    async def bridge(self, kind: str = "ethernet_switch", **values: Any) -> Bridge:
        """Make a switch."""
        answer = await self.create(kind, **values)
        assert answer.status == 201, answer.body
        return Bridge(self, kind, answer.json["vm_id"])

    async def udp_port(self) -> int:
        """Have a UDP port reserved."""
        answer = await self.client.post(f"{self.project}/ports/udp")
        assert answer.status == 201, answer.body
        port: int = answer.json["udp_port"]
        return port


def port(number: Any, **values: Any) -> dict[str, Any]:
    """A port of a mapping."""
    return {"port_number": number, **values}


async def settled(bridge: Bridge, *hosts: Host) -> None:
    """Wait until a switch has dealt with all that the hosts at its ports have sent."""
    for host in hosts:
        while (await bridge.counters(host.number))["received_frames"] < host.sent:
            pass


async def received(bridge: Bridge, hosts: Sequence[Host]) -> list[list[bytes]]:
    """What each host has got, once everything sent is dealt with."""
    await settled(bridge, *hosts)
    return [host.received() for host in hosts]
