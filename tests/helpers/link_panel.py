"""A link panel as a process, with sockets at the ends of its links in place of nodes."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from pcap_files import HEADER, Record, read
from waiting import until

from gns3server.running.helper_client import HelperClient

LIMIT = 30.0


class End:
    """A socket where a node would be."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.open()

    def open(self) -> None:
        """Be there, after :meth:`close` again, with nothing plugged in."""
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * 1024 * 1024)
        self._socket.setblocking(False)
        self._socket.bind(("127.0.0.1", self.port))

    def plug_in(self, port: int) -> None:
        """Send to a port, and get frames from it."""
        self._socket.connect(("127.0.0.1", port))

    def send(self, *frames: bytes) -> None:
        for frame in frames:
            self._socket.send(frame)

    async def receive(self, count: int = 1) -> list[bytes]:
        """Wait for so many frames."""
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(LIMIT):
            return [await loop.sock_recv(self._socket, 65536) for _ in range(count)]

    def waiting(self) -> list[bytes]:
        """What has come, without waiting for more."""
        frames = []
        try:
            while True:
                frames.append(self._socket.recv(65536))
        except BlockingIOError:
            return frames

    def close(self) -> None:
        self._socket.close()


class Wire:
    """A link of a panel with an end on each side.

    :param ports: four that nobody uses.
    """

    def __init__(self, ports: Sequence[int], link_id: str = "a-link") -> None:
        self.id = link_id
        self._ports = ports
        self.first, self.second = End(ports[0]), End(ports[3])
        self.first.plug_in(ports[1])
        self.second.plug_in(ports[2])

    def wanted(self, **more: Any) -> dict[str, Any]:
        """The link as ``state`` has it."""
        far, near, near_2, far_2 = self._ports
        ends = [
            {"local_port": near, "remote_host": "127.0.0.1", "remote_port": far},
            {"local_port": near_2, "remote_host": "127.0.0.1", "remote_port": far_2},
        ]
        return {"id": self.id, "ends": ends, "seed": 7, **more}

    def close(self) -> None:
        self.first.close()
        self.second.close()


class Panel:
    """A connection to a panel."""

    def __init__(self, process: asyncio.subprocess.Process, path: Path) -> None:
        self.process = process
        self.path = path
        self.events: asyncio.Queue[tuple[str, Mapping[str, Any]]] = asyncio.Queue()
        self._client: HelperClient | None = None

    async def connect(self) -> None:
        """Connect once it listens, and have its events told."""

        async def listens() -> bool:
            with suppress(FileNotFoundError, ConnectionRefusedError):
                connections.append(await asyncio.open_unix_connection(str(self.path)))
            return bool(connections)

        connections: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        await until(listens)
        reader, writer = connections[0]
        self._client = await HelperClient.connect(reader, writer, "links")
        assert self._client.greeting["protocol"] == 1
        self._client.listen(lambda name, what: self.events.put_nowait((name, what)))
        await self.call("listen")

    async def call(self, name: str, **what: Any) -> Any:
        assert self._client is not None
        return await self._client.call(name, what)

    async def state(self, *links: Mapping[str, Any]) -> dict[str, str]:
        """Say which links there shall be; returns why some cannot be had."""
        answer = await self.call("state", number=3, links=links)
        assert answer["number"] == 3
        return dict(answer["failed"])

    async def status(self, link_id: str = "a-link") -> Any:
        return (await self.call("status"))["links"][link_id]

    async def settled(self, sent: int, link_id: str = "a-link", end: int = 0) -> Any:
        """Wait until so many frames of an end have come, and none waits; returns the status."""

        async def done() -> bool:
            found = (await self.status(link_id))["ends"][end]
            return bool(found["frames"] == sent and not found["waiting_frames"])

        await until(done)
        return await self.status(link_id)

    async def event(self) -> tuple[str, Mapping[str, Any]]:
        async with asyncio.timeout(LIMIT):
            return await self.events.get()

    @asynccontextmanager
    async def following(self, link_id: str = "a-link") -> AsyncIterator[Stream]:
        """Follow the capture of a link by a connection of its own."""
        reader, writer = await asyncio.open_unix_connection(str(self.path))
        try:
            await reader.readline()
            writer.write(
                b'{"call": "follow", "id": 1, "with": {"link": "%s"}}\n' % link_id.encode()
            )
            answer = await reader.readline()
            assert answer == b'{"id": 1, "result": null}\n', answer
            yield Stream(reader)
        finally:
            writer.close()

    def hang_up(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None

    async def ended(self) -> int:
        """Wait for its end; returns its exit code."""
        async with asyncio.timeout(LIMIT):
            return await self.process.wait()


class Stream:
    """A capture as it goes on."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._reader = reader
        self._rest = b""
        self._header = b""
        self._records: list[Record] = []

    async def records(self, count: int) -> list[Record]:
        """Wait until so many frames have come; returns all of them."""
        async with asyncio.timeout(LIMIT):
            while len(self._records) < count:
                data = await self._reader.read(1 << 20)
                assert data, "the stream has ended"
                self._take(data)
        return self._records

    async def rest(self) -> list[Record]:
        """All frames up to the end of the stream, which comes."""
        async with asyncio.timeout(LIMIT):
            while data := await self._reader.read(1 << 20):
                self._take(data)
        return self._records

    def _take(self, data: bytes) -> None:
        self._rest += data
        if not self._header:
            self._header, self._rest = self._rest[: HEADER.size], self._rest[HEADER.size :]
        records, end = read(self._header + self._rest)
        self._records += records
        self._rest = self._rest[max(end - HEADER.size, 0) :]


@asynccontextmanager
async def panel_process(path: Path, *before: str) -> AsyncIterator[Panel]:
    """Run a panel, and end it.

    :param path: of its socket.
    :param before: a command that runs the panel.
    """
    command = (*before, sys.executable, "-m", "gns3server.links.panel", str(path))
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    process = await asyncio.create_subprocess_exec(
        *command, env=environment, stderr=asyncio.subprocess.PIPE
    )
    panel = Panel(process, path)
    try:
        await panel.connect()
        yield panel
    finally:
        panel.hang_up()
        if process.returncode is None:
            process.terminate()
        _, errors = await process.communicate()
    assert errors == b""
