"""Requests about links, of toys and of whatever else has ports."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

from gns3server.testing import Client


def id_of(path: str) -> str:
    """The id at the end of a path."""
    return path.rpartition("/")[2]


def end(node: str, adapter: int = 0, port: int = 0) -> dict[str, Any]:
    """An end of a link."""
    return {"vm_id": id_of(node), "adapter_number": adapter, "port_number": port}


async def ask_for_link(client: Client, project: str, *ends: Any, **values: Any) -> Any:
    """Ask for a link between ports, or the first ports of nodes; returns the answer.

    It is a direct one, which needs no link panel, unless a path is given.
    """
    values.setdefault("path", "direct")
    body = {"ends": [one if isinstance(one, dict) else end(one) for one in ends], **values}
    return await client.post(f"{project}/links", body)


async def connect(client: Client, project: str, *ends: Any, **values: Any) -> Any:
    """Make a link between ports, or the first ports of nodes; returns it."""
    answer = await ask_for_link(client, project, *ends, **values)
    assert answer.status == 201, answer.body
    return answer.json


async def links(client: Client, project: str) -> Any:
    """All links of a project."""
    answer = await client.get(f"{project}/links")
    assert answer.status == 200, answer.body
    return answer.json


async def wires(client: Client, project: str) -> dict[str, list[Any]]:
    """What is plugged in, by node."""
    nodes = (await client.get(f"{project}/nodes")).json
    return {node["node_id"]: [wire["nio"] for wire in node["wires"]] for node in nodes}


async def udp_port(client: Client, project: str) -> int:
    """Have a UDP port reserved."""
    port: int = (await client.post(f"{project}/ports/toy")).json["udp_port"]
    return port


async def plug(client: Client, node: str, lport: int, rport: int, place: str = "0/0") -> None:
    """Plug a tunnel in, as clients of v1 do."""
    nio = {"type": "nio_udp", "lport": lport, "rhost": "127.0.0.1", "rport": rport}
    adapter, port = place.split("/")
    answer = await client.post(f"{node}/adapters/{adapter}/ports/{port}/nio", nio)
    assert answer.status == 201, answer.body


async def pair(
    client: Client, project: str, one: str, other: str, place: str = "0/0"
) -> tuple[int, int]:
    """Plug in two tunnels that match, at the same place of two nodes; tells their ports."""
    here, there = await udp_port(client, project), await udp_port(client, project)
    await plug(client, one, here, there, place)
    await plug(client, other, there, here, place)
    return here, there


@asynccontextmanager
async def told(client: Client, project: str) -> AsyncIterator[AsyncIterator[tuple[str, Any]]]:
    """What is told of a project from now on: action and event, without pings."""
    async with client.listen(f"{project}/notifications") as lines:
        assert (await anext(lines))["action"] == "ping"

        async def events() -> AsyncIterator[tuple[str, Any]]:
            async for line in lines:
                if line["action"] != "ping":
                    yield line["action"], line["event"]

        yield events()


class Wire:
    """What an emulator does at one end of a link: frames that it sends, and gets.

    :param nio: what is plugged in there.
    """

    def __init__(self, nio: Mapping[str, Any]) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", nio["lport"]))
        self._socket.connect((nio["rhost"], nio["rport"]))
        self._socket.setblocking(False)

    async def send(self, frame: bytes) -> None:
        """Send a frame; one that was not taken by anybody is no error."""
        with suppress(ConnectionRefusedError):
            await asyncio.get_running_loop().sock_sendall(self._socket, frame)

    async def get(self) -> bytes:
        """Wait for a frame."""
        return await asyncio.get_running_loop().sock_recv(self._socket, 65536)

    def close(self) -> None:
        """Give the port up."""
        self._socket.close()


@asynccontextmanager
async def emulated(client: Client, project: str, *nodes: str) -> AsyncIterator[list[Wire]]:
    """Do what emulators do at the links of nodes that have one each."""
    plugged = await wires(client, project)
    ends = [Wire(plugged[id_of(node)][0]) for node in nodes]
    try:
        yield ends
    finally:
        for one in ends:
            one.close()


async def passes(one: Wire, other: Wire, frame: bytes) -> None:
    """Send a frame each way, and wait for both."""
    for here, there in ((one, other), (other, one)):
        await here.send(frame)
        assert await there.get() == frame
