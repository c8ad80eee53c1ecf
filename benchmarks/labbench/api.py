"""The requests that the benchmarks need to set up a lab."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp

from labbench.servers import Server

TYPE = "vpcs"


@dataclass(frozen=True, slots=True)
class Lab:
    """One project of our server."""

    session: aiohttp.ClientSession
    project: str

    @property
    def path(self) -> str:
        """The path of the project."""
        return f"/v1/projects/{self.project}"

    def node_path(self, node: str) -> str:
        """The path of a node."""
        return f"{self.path}/{TYPE}/vms/{node}"

    async def add_node(self, name: str) -> dict[str, Any]:
        """Create a node."""
        return await ask(self.session, "POST", f"{self.path}/{TYPE}/vms", {"name": name})

    async def add_pairs(self, count: int) -> list[dict[str, Any]]:
        """Create nodes, each linked to one other."""
        nodes = await asyncio.gather(*[self.add_node(f"PC {n}") for n in range(count)])
        ports = [await self._udp_port() for _ in range(count)]
        await asyncio.gather(
            *[
                # The partner of 0 is 1, of 1 is 0, of 2 is 3 and so on.
                self._plug(node["vm_id"], ports[number], ports[number ^ 1])
                for number, node in enumerate(nodes)
            ]
        )
        return nodes

    async def all(self, verb: str, nodes: Iterable[dict[str, Any]]) -> None:
        """Start, stop or delete nodes, all at the same time."""
        method, end = ("DELETE", "") if verb == "delete" else ("POST", f"/{verb}")
        await asyncio.gather(
            *[ask(self.session, method, self.node_path(node["vm_id"]) + end) for node in nodes]
        )

    async def _udp_port(self) -> int:
        answer = await ask(self.session, "POST", f"{self.path}/ports/udp")
        return int(answer["udp_port"])

    async def _plug(self, node: str, lport: int, rport: int) -> None:
        nio = {"type": "nio_udp", "lport": lport, "rhost": "127.0.0.1", "rport": rport}
        await ask(self.session, "POST", f"{self.node_path(node)}/adapters/0/ports/0/nio", nio)


async def ask(
    session: aiohttp.ClientSession, method: str, path: str, body: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Make a request that must succeed."""
    async with session.request(method, path, json=body or {}) as answer:
        if answer.status >= 400:
            raise RuntimeError(f"{method} {path}: {answer.status} {await answer.text()}")
        value: dict[str, Any] = {} if answer.status == 204 else await answer.json()
        return value


@asynccontextmanager
async def new_lab(server: Server) -> AsyncIterator[Lab]:
    """A new project, deleted at the end."""
    connector = aiohttp.TCPConnector(limit=0)
    limit = aiohttp.ClientTimeout(total=120)
    async with aiohttp.ClientSession(server.url, connector=connector, timeout=limit) as session:
        project = await ask(session, "POST", "/v1/projects", {"name": "benchmark"})
        lab = Lab(session, project["project_id"])
        yield lab
        await ask(session, "DELETE", lab.path)
