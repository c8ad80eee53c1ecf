"""What is required of a console that the server serves for a node."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from gns3server.consoles.client import NEGOTIATION
from gns3server.testing.does_not_apply import does_not_apply
from gns3server.testing.node_steps import NodeSteps

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from gns3server.testing.fixtures import ProcessFactory
    from gns3server.testing.lab_server import LabServer, ServerFactory

ANSWER_SECONDS = 30.0
"""How long a program may take to show something."""


class PlainClient:
    """A client that knows nothing of telnet, nor of what the program shows."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self._raw = b""
        self._closed = False
        self._changed = asyncio.Event()

    @property
    def shown(self) -> bytes:
        """All that it was shown."""
        return NEGOTIATION.sub(b"", self._raw)

    def press_enter(self) -> None:
        """Press Enter."""
        self._writer.write(b"\r\n")

    async def shows_more_than(self, count: int) -> None:
        """Wait until more than so many bytes were shown."""
        await self._until(lambda: len(self.shown) > count)

    async def shows_the_same_as(self, other: PlainClient) -> None:
        """Wait until both were shown the same."""
        async with asyncio.timeout(ANSWER_SECONDS):
            while self.shown != other.shown:
                behind = min(self, other, key=lambda client: len(client.shown))
                await behind.shows_more_than(len(behind.shown))

    async def read(self, reader: asyncio.StreamReader) -> None:
        """Take in what is shown, until the end."""
        while data := await reader.read(65536):
            self._raw += data
            self._changed.set()
        self._closed = True
        self._changed.set()

    async def _until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(ANSWER_SECONDS):
            while not condition():
                assert not self._closed, f"the console was closed; it had shown {self.shown!r}"
                self._changed.clear()
                await self._changed.wait()


@asynccontextmanager
async def client_of(port: int) -> AsyncIterator[PlainClient]:
    """Connect to a console."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    client = PlainClient(writer)
    reading = asyncio.create_task(client.read(reader))
    try:
        yield client
    finally:
        reading.cancel()
        writer.close()


class ConsoleConformance(NodeSteps):
    """The console of a node, if the server serves it."""

    async def test_a_console_answers_as_soon_as_its_node_is_started(
        self, gns3_server: LabServer
    ) -> None:
        """Whoever connects after the start and presses Enter is shown something."""
        async with client_of(await self.served(gns3_server)) as client:
            client.press_enter()
            await client.shows_more_than(0)

    async def test_all_clients_of_a_console_see_the_same(self, gns3_server: LabServer) -> None:
        """What the program shows comes to every client, whoever has typed."""
        port = await self.served(gns3_server)
        async with client_of(port) as one, client_of(port) as other:
            one.press_enter()
            await one.shows_more_than(0)
            await one.shows_the_same_as(other)
            before = len(one.shown)
            other.press_enter()
            await one.shows_more_than(before)
            await one.shows_the_same_as(other)

    async def test_a_client_that_comes_late_sees_what_was_shown(
        self, gns3_server: LabServer
    ) -> None:
        """What was shown before is shown first: a banner, and the latest prompt."""
        port = await self.served(gns3_server)
        async with client_of(port) as first:
            first.press_enter()
            await first.shows_more_than(0)
            async with client_of(port) as late:
                await late.shows_the_same_as(first)

    async def test_a_client_that_does_not_read_holds_up_nobody(
        self, gns3_server: LabServer
    ) -> None:
        """Others are answered, and the node can be stopped."""
        port = await self.served(gns3_server)
        # Its reader takes nothing, and so the kernel soon does not either.
        _, deaf = await asyncio.open_connection("127.0.0.1", port, limit=1)
        async with client_of(port) as other:
            for _ in range(20):
                before = len(other.shown)
                other.press_enter()
                await other.shows_more_than(before)
            answer = await gns3_server.client.post(f"{self.vm}/stop")
            assert answer.status == 204, answer
        deaf.close()

    async def test_a_console_goes_on_without_the_server(
        self, gns3_serving: ServerFactory, gns3_process: ProcessFactory
    ) -> None:
        """A client that is connected during ``kill -9`` notices nothing; the next server has it."""
        async with gns3_serving() as here:
            await self.served(here)
            assert (await here.client.post(f"{self.vm}/stop")).status == 204
        async with gns3_process() as server:
            assert (await server.client.post(f"{self.vm}/start")).status == 204
            port = (await server.client.get(self.vm)).json["console"]
            async with client_of(port) as client:
                client.press_enter()
                await client.shows_more_than(0)
                await server.kill()
                before = len(client.shown)
                client.press_enter()
                await client.shows_more_than(before)
                async with gns3_process() as successor:
                    before = len(client.shown)
                    client.press_enter()
                    await client.shows_more_than(before)
                    async with client_of(port) as late:
                        await late.shows_more_than(0)
                    shown = (await successor.client.get(self.vm)).json
                    started = self.told_as(here, shown, "started")
                    assert (shown, shown["console"]) == (started, port)

    # Steps ---------------------------------------------------------------------------

    vm: str
    """The path of the node that was made last."""

    async def served(self, server: LabServer) -> int:
        """Make a node and start it; tells the port of its console, which the server serves."""
        from gns3server.nodes.process_node import ProcessNode

        if not self.is_process(server) or not self.declared(server).console:
            does_not_apply("the server serves no console of its nodes")
        self.vm = await self.ready(server, await self.project(server))
        node = self.node(server, self.vm)
        assert isinstance(node, ProcessNode)
        spec = await self.wanted_spec(server, node)
        if getattr(spec, "console", None) is None:
            does_not_apply("its nodes serve their consoles by themselves")
        await self.restarted(server, self.vm)
        return int(node.console)
