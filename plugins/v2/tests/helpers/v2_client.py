"""A client that speaks /v2 as the desktop client does: it believes events, and nothing else."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any

import aiohttp
from yarl import URL

VPCS = "19021f99-e36f-394d-b4a1-8aaa902ab9cc"
SWITCH = "1966b864-93e7-32d5-965f-001384eec461"
AGENT = "GNS3 QT Client v2.2.49"


class Stream:
    """A websocket of notifications, and what it has told."""

    def __init__(self, websocket: aiohttp.ClientWebSocketResponse) -> None:
        self.websocket = websocket
        self.told: list[Any] = []

    async def next(self) -> Any:
        """The next message, whatever it is."""
        message = await self.websocket.receive()
        if message.type is not aiohttp.WSMsgType.TEXT:
            return None
        told = json.loads(message.data)
        self.told.append(told)
        return told

    async def wait_for(self, action: str, **values: Any) -> Any:
        """The event of the next message with this action and these values."""
        while (told := await self.next()) is not None:
            event = told["event"]
            if told["action"] == action and values.items() <= event.items():
                return event
        raise AssertionError(f"the stream has ended; it told {self.actions}")

    @property
    def actions(self) -> list[str]:
        """All that has happened, but for pings and news of the compute."""
        quiet = ("ping", "compute.updated")
        return [told["action"] for told in self.told if told["action"] not in quiet]


class V2Client:
    """Sends requests as a desktop client does: without a Content-Type if there is no body."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self.url = url
        self.session = session

    async def send(
        self,
        method: str,
        path: str,
        value: Any = None,
        *,
        expect: int | None = None,
        data: Any = None,
    ) -> Any:
        """Send a request; returns what the answer holds: parsed if it is JSON."""
        headers = {"User-Agent": AGENT}
        if value is not None:
            data, headers["Content-Type"] = json.dumps(value), "application/json"
        # As it is: a library sends paths that others would put in order.
        url = URL(f"{self.url}/v2{path}", encoded=True)
        async with self.session.request(method, url, data=data, headers=headers) as answer:
            body = await answer.read()
            if expect is not None:
                assert answer.status == expect, (method, path, answer.status, body)
            if answer.headers.get("Content-Type") == "application/json":
                return json.loads(body)
            return body

    async def get(self, path: str, expect: int = 200) -> Any:
        """Ask for something."""
        return await self.send("GET", path, expect=expect)

    async def post(self, path: str, value: Any = None, expect: int = 201) -> Any:
        """Do something."""
        return await self.send("POST", path, value, expect=expect)

    async def put(self, path: str, value: Any, expect: int = 200) -> Any:
        """Change something."""
        return await self.send("PUT", path, value, expect=expect)

    async def delete(self, path: str, expect: int = 204) -> Any:
        """Remove something."""
        return await self.send("DELETE", path, expect=expect)

    async def project(self, name: str = "lab", **values: Any) -> str:
        """Make a project; returns its path."""
        made = await self.post("/projects", {"name": name, "path": None, **values})
        return f"/projects/{made['project_id']}"

    async def vpcs(self, project: str, **values: Any) -> Any:
        """Make a virtual PC from its template."""
        body = {"x": 10, "y": 20, "compute_id": "local", **values}
        return await self.post(f"{project}/templates/{VPCS}", body)

    @asynccontextmanager
    async def listening(self, path: str = "") -> AsyncIterator[Stream]:
        """Listen to a project, or to all; the first ping has been heard."""
        async with self.session.ws_connect(f"{self.url}/v2{path}/notifications/ws") as websocket:
            stream = Stream(websocket)
            assert (await stream.next())["action"] == "ping"
            yield stream
            with suppress(ConnectionError):
                await websocket.close()


@asynccontextmanager
async def v2_client(url: str) -> AsyncIterator[V2Client]:
    """A client of the server at a URL."""
    timeout = aiohttp.ClientTimeout(total=50)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        yield V2Client(url, session)


async def put_in_order(
    client: V2Client, path: str, values: Iterable[Any], *, expect: int = 200
) -> list[Any]:
    """Send changes of one thing in this order, without waiting for answers; returns these.

    Each goes over a connection of its own that is open already: requests that must connect first
    arrive in any order.
    """
    async with AsyncExitStack() as stack:
        tasks = []
        open_ones = [(await stack.enter_async_context(v2_client(client.url)), v) for v in values]
        for one, _ in open_ones:
            await one.get("/version")
        for one, value in open_ones:
            tasks.append(asyncio.ensure_future(one.put(path, value, expect=expect)))
            # The next one is sent a turn of the loop later.
            await asyncio.sleep(0)
        return await asyncio.gather(*tasks)


def ends_of(nodes: Iterable[Any], **more: Any) -> list[dict[str, Any]]:
    """The ends of a link between two nodes."""
    return [
        {"node_id": node["node_id"], "adapter_number": 0, "port_number": 0, **more}
        for node in nodes
    ]
