"""A console server as tests see it: its process, programs on terminals, and clients."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from short_paths import short_directory
from waiting import until

from gns3server.running.helper_client import HelperClient

LIMIT = 30.0

TOY_TERMINAL = Path(__file__).parents[1] / "toys" / "toy_terminal.py"

COMMAND = re.compile(rb"\xff(?:\xfa[^\xff]*\xff\xf0|[\xfb-\xfe].|[\xf0-\xf9])", re.DOTALL)
"""What telnet says about the connection."""


class Controller:
    """A server, as far as a console server knows one: a connection that makes calls.

    :param helper: the connection.
    """

    def __init__(self, helper: HelperClient) -> None:
        self._helper = helper
        self._number = 0
        self.ended: asyncio.Queue[str] = asyncio.Queue()
        self.failed_transcripts: asyncio.Queue[tuple[str, str]] = asyncio.Queue()
        self.lost = asyncio.Event()

    @classmethod
    async def connect(cls, path: Path) -> Self:
        reader, writer = await asyncio.open_unix_connection(path, limit=2**24)
        controller = cls(await HelperClient.connect(reader, writer, "consoles"))
        controller._helper.listen(controller._told, controller.lost.set)
        await controller.call("listen")
        return controller

    def _told(self, event: str, what: Mapping[str, Any]) -> None:
        if event == "transcript_failed":
            self.failed_transcripts.put_nowait((what["console"], what["reason"]))
        else:
            assert event == "ended"
            self.ended.put_nowait(what["console"])

    async def call(self, name: str, descriptors: Sequence[int] = (), **what: Any) -> Any:
        return await self._helper.call(name, what, descriptors)

    async def state(self, *consoles: Mapping[str, Any], number: int | None = None) -> Any:
        """Say what is wanted; returns the answer."""
        self._number += 1
        return await self.call("state", number=number or self._number, consoles=consoles)

    async def status(self, console: str) -> Mapping[str, Any]:
        """How one console is."""
        for each in (await self.call("status"))["consoles"]:
            if each["console"]["id"] == console:
                return dict(each)
        raise KeyError(console)

    def close(self) -> None:
        self._helper.close()


class Viewer:
    """A telnet client that never negotiates, unless a test does it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer
        self.raw = b""
        self._seen = 0

    @classmethod
    async def connect(cls, port: int, host: str = "127.0.0.1") -> Self:
        return cls(*await asyncio.open_connection(host, port))

    @property
    def shown(self) -> bytes:
        """All that a person would have seen."""
        return COMMAND.sub(b"", self.raw).replace(b"\xff\xff", b"\xff")

    def type(self, keys: bytes) -> None:
        self.writer.write(keys)

    async def until(self, wanted: bytes) -> bytes:
        """Read until something is shown; returns what was shown since the last call."""
        async with asyncio.timeout(LIMIT):
            while wanted not in self.shown[self._seen :]:
                data = await self._reader.read(65536)
                assert data, f"{wanted!r} was not shown before the end: {self.shown[-500:]!r}"
                self.raw += data
        begin, self._seen = self._seen, self.shown.index(wanted, self._seen) + len(wanted)
        return self.shown[begin : self._seen]

    async def until_sent(self, wanted: bytes) -> None:
        """Read until bytes have come, those of the protocol included."""
        async with asyncio.timeout(LIMIT):
            while wanted not in self.raw:
                data = await self._reader.read(65536)
                assert data, f"{wanted!r} was not sent before the end: {self.raw[-500:]!r}"
                self.raw += data

    async def skip(self, wanted: bytes) -> int:
        """Read much, and keep nothing of it, until something comes; returns how much that was."""
        count, tail = 0, b""
        async with asyncio.timeout(LIMIT):
            while wanted not in tail:
                data = await self._reader.read(65536)
                assert data, f"{wanted!r} was not sent before the end: {tail!r}"
                count += len(data)
                tail = tail[-len(wanted) :] + data
        return count

    async def end(self) -> bytes:
        """Read until it is hung up on; returns what was shown since the last call."""
        async with asyncio.timeout(LIMIT):
            with contextlib.suppress(ConnectionResetError):
                self.raw += await self._reader.read()
        return self.shown[self._seen :]

    def close(self) -> None:
        self.writer.close()


@dataclass
class ConsoleProcess:
    """A running console server, and all that a test has started beside it."""

    process: subprocess.Popen[bytes]
    socket: Path
    first_port: int
    programs: list[subprocess.Popen[bytes]]
    closing: contextlib.ExitStack

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def descriptors(self) -> int:
        """How many descriptors it has open."""
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def port(self) -> int:
        """A port that nobody uses."""
        self.first_port += 1
        return self.first_port

    def console(self, name: str, **more: Any) -> dict[str, Any]:
        """What is wanted of a console: a terminal, on a port of its own."""
        return {
            "id": name,
            "host": "127.0.0.1",
            "port": self.port(),
            "source": {"kind": "terminal"},
            "scrollback": 65536,
            "transcript": None,
            "input": None,
            **more,
        }

    async def controller(self) -> Controller:
        """Connect as a server does."""
        controller = await Controller.connect(self.socket)
        self.closing.callback(controller.close)
        return controller

    async def viewer(self, port: int, host: str = "127.0.0.1") -> Viewer:
        """Connect to a console."""
        viewer = await Viewer.connect(port, host)
        self.closing.callback(viewer.close)
        return viewer

    def spawn(self, slave: int, argv: Sequence[str], **how: Any) -> subprocess.Popen[bytes]:
        """Run a program on a terminal, which controls it."""
        command = ("setsid", "--ctty", *argv)
        program = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, **how)
        self.programs.append(program)
        return program

    async def run(
        self, controller: Controller, console: str, *argv: str, **how: Any
    ) -> subprocess.Popen[bytes]:
        """Hand a terminal over, then run a program on it."""
        master, slave = os.openpty()
        try:
            await controller.call("terminal", [master], console=console)
            return self.spawn(slave, argv, **how)
        finally:
            os.close(master)
            os.close(slave)

    async def run_python(
        self, controller: Controller, console: str, program: str
    ) -> subprocess.Popen[bytes]:
        """Hand a terminal over, then run Python code on it."""
        return await self.run(controller, console, sys.executable, "-Ic", program)

    async def run_toy(self, controller: Controller, console: str) -> subprocess.Popen[bytes]:
        """Hand a terminal over, then run the toy on it that is in ``toy_terminal.py``."""
        return await self.run(controller, console, sys.executable, "-I", str(TOY_TERMINAL))


@asynccontextmanager
async def console_process(first_port: int) -> AsyncIterator[ConsoleProcess]:
    """A console server that is killed at the end, with all programs."""
    with short_directory() as directory:
        path = directory / "control"
        process = _start(path)
        running = ConsoleProcess(process, path, first_port, [], contextlib.ExitStack())

        async def is_there() -> bool:
            assert process.poll() is None
            # It is there a moment before anything listens.
            with socket.socket(socket.AF_UNIX) as connection:
                return connection.connect_ex(str(path)) == 0

        try:
            await until(is_there)
            yield running
        finally:
            running.closing.close()
            for each in (*running.programs, process):
                each.kill()
            for each in (*running.programs, process):
                await asyncio.to_thread(each.wait)


def _start(path: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "gns3server.consoles.console_server", str(path)]
    return subprocess.Popen(command, start_new_session=True)
