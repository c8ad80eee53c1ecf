"""Labs of virtual PCs, driven through the API."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gns3server_vpcs.binary import BinaryProbe
from gns3server_vpcs.wires import RELAY_DISTANCE
from vpcs_kernel import command_line, is_bound, working_directory

from gns3server.testing import TEST_VARIABLE, LabServer, ServerProcess, processes_of

PORT = "adapters/0/ports/0/nio"
WITH_RELAY = ("0.5b1", "0.5b2", "0.6")
"""The versions that bind a relay port and cannot be kept from it (contract 5.4)."""


class Pc:
    """A virtual PC as its clients see it."""

    def __init__(self, lab: Server, created: Mapping[str, Any]) -> None:
        self.lab = lab
        self.id: str = created["vm_id"]
        self.console: int = created["console"]
        self.path = f"{lab.project}/vpcs/vms/{self.id}"

    @property
    def node(self) -> Any:
        """The server's own object, if the server is one of this process."""
        assert isinstance(self.lab.server, LabServer)
        project_id = self.lab.project.rpartition("/")[2]
        nodes = self.lab.server.running.server.projects.get(project_id).members
        (node,) = (node for node in nodes if node.id == self.id)
        return node

    async def get(self) -> Any:
        """Its object."""
        answer = await self.lab.client.get(self.path)
        assert answer.status == 200, answer
        return answer.json

    async def status(self) -> str:
        """``started`` or ``stopped``."""
        status: str = (await self.get())["status"]
        return status

    async def ask(self, action: str) -> Any:
        """Post to one of its routes; returns the answer."""
        return await self.lab.client.post(f"{self.path}/{action}")

    async def do(self, *actions: str) -> None:
        """Post to some of its routes, which must succeed."""
        for action in actions:
            answer = await self.ask(action)
            assert answer.status == 204, answer.body

    async def update(self, **values: Any) -> Any:
        """Change it, which must succeed; returns its object."""
        answer = await self.lab.client.put(self.path, values)
        assert answer.status == 200, answer.body
        return answer.json

    async def wire(self, lport: int, rport: int = 9, rhost: str = "127.0.0.1") -> None:
        """Plug a tunnel in."""
        nio = {"type": "nio_udp", "lport": lport, "rhost": rhost, "rport": rport}
        answer = await self.lab.client.post(f"{self.path}/{PORT}", nio)
        assert (answer.status, answer.json) == (201, nio), answer.body

    @property
    def pid(self) -> int:
        """Its process, as the kernel lists it."""
        test_id = self.lab.server.settings.environ[TEST_VARIABLE]
        found = [pid for pid in processes_of(test_id) if self.id in working_directory(pid)]
        assert len(found) == 1, f"{len(found)} processes work in the directory of {self.id}"
        return found[0]

    async def relay_up(self) -> None:
        """Wait until it has bound its relay port as well, some time after its start."""
        program, *_ = command_line(self.pid)
        if (await BinaryProbe().examine(program, self.node.machine)).version in WITH_RELAY:
            lport = self.node.nio().values["lport"]
            while not is_bound("udp", lport + RELAY_DISTANCE):
                assert await self.status() == "started"


class Server:
    """A project on a test's server."""

    def __init__(self, server: LabServer | ServerProcess, project: str) -> None:
        self.server = server
        self.client = server.client
        self.project = project

    @classmethod
    async def open(cls, server: LabServer) -> Server:
        """Make a project."""
        answer = await server.client.post("/v1/projects", {"name": "test"})
        assert answer.status == 201, answer.body
        return cls(server, f"/v1/projects/{answer.json['project_id']}")

    async def create(self, **values: Any) -> Any:
        """Ask for a virtual PC; returns the answer."""
        return await self.client.post(f"{self.project}/vpcs/vms", {"name": "PC", **values})

    async def pc(self, **values: Any) -> Pc:
        """Make a virtual PC."""
        answer = await self.create(**values)
        assert answer.status == 201, answer.body
        return Pc(self, answer.json)

    async def udp_port(self) -> int:
        """Have a UDP port reserved."""
        answer = await self.client.post(f"{self.project}/ports/udp")
        assert answer.status == 201, answer.body
        port: int = answer.json["udp_port"]
        return port

    async def wired(self, **values: Any) -> Pc:
        """Make a virtual PC that has a NIO, whose other end is nobody's."""
        pc = await self.pc(**values)
        await pc.wire(await self.udp_port())
        return pc

    async def pair(self) -> tuple[Pc, Pc]:
        """Make two virtual PCs that are wired to each other."""
        one, other = await self.pc(name="one"), await self.pc(name="other")
        here, there = await self.udp_port(), await self.udp_port()
        await one.wire(here, there)
        await other.wire(there, here)
        return one, other
