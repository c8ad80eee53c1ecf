"""A server with the UDP plugin and a toy to plug tunnels into."""

from __future__ import annotations

from contextlib import asynccontextmanager
from importlib.metadata import EntryPoint

import pytest

GROUP = "gns3server.plugins"


class Server:
    """A project on the test's server."""

    def __init__(self, server, project):
        self.server = server
        self.client = server.client
        self.project = project
        self.pool = server.ports.udp

    @classmethod
    async def open(cls, server):
        """Make a project."""
        answer = await server.client.post("/v1/projects", {"name": "test"})
        assert answer.status == 201, answer.body
        return cls(server, f"/v1/projects/{answer.json['project_id']}")

    async def another(self):
        """Another project on the same server."""
        return await Server.open(self.server)

    async def allocate(self):
        """Ask for a port; returns it."""
        answer = await self.client.post(f"{self.project}/ports/udp")
        assert answer.status == 201, answer.body
        return answer.json["udp_port"]

    async def toy(self):
        """Make a toy; returns its path."""
        answer = await self.client.post(f"{self.project}/toy/vms", {"name": "toy"})
        assert answer.status == 201, answer.body
        return f"{self.project}/toy/vms/{answer.json['vm_id']}"

    async def plug(self, toy, lport, *, port=0, **changed):
        """Plug a tunnel in; returns the answer."""
        nio = {"type": "nio_udp", "lport": lport, "rhost": "127.0.0.1", "rport": 4343, **changed}
        return await self.client.post(f"{toy}/adapters/0/ports/{port}/nio", nio)

    async def unplug(self, toy, port=0):
        """Take a tunnel out."""
        answer = await self.client.delete(f"{toy}/adapters/0/ports/{port}/nio")
        assert answer.status == 204, answer.body


@pytest.fixture
def make_lab(gns3_serving):
    """Makes labs with other settings."""
    plugins = [EntryPoint("udp", "gns3server_udp", GROUP), EntryPoint("toy", "udp_toy", GROUP)]

    @asynccontextmanager
    async def make(**settings):
        async with gns3_serving(plugins=plugins, **settings) as server:
            yield await Server.open(server)

    return make


@pytest.fixture
async def lab(make_lab):
    """A lab of toys."""
    async with make_lab() as lab:
        yield lab
