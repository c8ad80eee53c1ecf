"""Programs that print what some version of VPCS prints, and may do nothing else right."""

from __future__ import annotations

import asyncio
import sys
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

BANNER = """
Welcome to Virtual PC Simulator, version {version}
Dedicated to Daling.
All rights reserved.
"""

PROBE = """
import sys
arguments = sys.argv[1:]
with open({calls!r}, "a") as calls:
    print(*arguments, file=calls)
if "-v" in arguments:
    if "-R" in arguments and not {knows_r}:
        print("vpcs: invalid option -- 'R'", file=sys.stderr)
    print({banner!r})
    sys.exit(0)
"""
"""Notes how it was called, and answers ``-v`` as VPCS does: code 0 in every case."""

RUN = """
import signal, socket, tty
wire = socket.socket(type=socket.SOCK_DGRAM)
wire.bind(("0.0.0.0", int(arguments[arguments.index("-s") + 1])))
tty.setraw(0)
signal.pause()
"""
"""Binds what it is told to, and shows nothing on its console."""

ASK = """
import socket
with socket.socket(socket.AF_UNIX) as gate:
    gate.connect({gate!r})
    gate.sendall((" ".join(arguments) + "\\n").encode())
    if gate.recv(1) == b"x":
        sys.exit("told to fail")
"""
"""Tells the test that it has been started, and does what the test says."""


class Fake:
    """One such program."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.calls_path = path.with_suffix(".calls")

    def __str__(self) -> str:
        return str(self.path)

    @property
    def calls(self) -> list[str]:
        """The arguments of every call so far."""
        return self.calls_path.read_text().splitlines() if self.calls_path.exists() else []

    @property
    def probes(self) -> int:
        """How often it was asked for its version."""
        return sum("-v" in call.split() for call in self.calls)

    def write(self, program: str) -> None:
        """Put another program in its place."""
        beside = self.path.with_suffix(".new")
        beside.write_text(f"#!{sys.executable} -IS\n{program}")
        beside.chmod(0o755)
        beside.replace(self.path)

    def become(
        self, version: str, *, knows_r: bool = False, banner: str = BANNER, gate: str = ""
    ) -> None:
        """Be another version; with ``gate``, ask the test at that socket before running."""
        probe = PROBE.format(
            calls=str(self.calls_path), knows_r=knows_r, banner=banner.format(version=version)
        )
        self.write(probe + (ASK.format(gate=gate) if gate else "") + RUN)


class FakeMaker:
    """Makes them, each in a file of its own."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._made = 0

    def __call__(self, version: str, *, knows_r: bool = False, gate: str = "") -> Fake:
        fake = self.empty()
        fake.become(version, knows_r=knows_r, gate=gate)
        return fake

    def empty(self) -> Fake:
        """A name for one; there is no file yet."""
        self._directory.mkdir(exist_ok=True)
        self._made += 1
        return Fake(self._directory / f"vpcs{self._made}")


@dataclass(frozen=True)
class Relocation:
    """A fake that was started and waits for the test's word."""

    number: int
    writer: asyncio.StreamWriter

    def let_run(self) -> None:
        """Let it come up."""
        self.writer.write(b"r")

    def let_fail(self) -> None:
        """Let it end with an error."""
        self.writer.write(b"x")


class Gate:
    """Where fakes ask, in the order in which they were started."""

    def __init__(self) -> None:
        self.name = f"\0vpcs-test-{uuid.uuid4()}"
        self.arrivals: asyncio.Queue[Relocation] = asyncio.Queue()

    async def next(self) -> Relocation:
        """The next fake that asks."""
        async with asyncio.timeout(30):
            return await self.arrivals.get()

    async def met(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Note who asks, and stay until it has its answer."""
        words = (await reader.readline()).decode().split()
        await self.arrivals.put(Relocation(int(words[words.index("-m") + 1]), writer))
        await reader.read()
        writer.close()


@asynccontextmanager
async def open_gate() -> AsyncIterator[Gate]:
    """Make a gate that fakes can be made with."""
    gate = Gate()
    server = await asyncio.start_unix_server(gate.met, gate.name)
    try:
        yield gate
    finally:
        server.close()
