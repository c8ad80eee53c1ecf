"""A client of a virtual PC's console that waits for prompts, never for time."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

PROMPT = "VPCS> "
NEGOTIATION = re.compile(rb"\xff[\xfb-\xfe].", re.DOTALL)
REPLY = re.compile(r"icmp_seq=\d+ .*time=")

SILENCE = 2.0
"""Seconds after which a person would press Enter to see whether anybody is there."""


class Console:
    """One connection to a console. VPCS 0.5b2 loses what is typed before its prompt."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._raw = b""
        self._read_to = 0

    @property
    def text(self) -> str:
        """All that was shown so far."""
        return NEGOTIATION.sub(b"", self._raw).decode(errors="replace")

    async def prompt(self) -> str:
        """Wait for the prompt; returns what was shown since the one before."""
        async with asyncio.timeout(50):
            while PROMPT not in self.text[self._read_to :]:
                await self._read_more()
        end = self.text.rindex(PROMPT) + len(PROMPT)
        shown = self.text[self._read_to : end]
        self._read_to = end
        return shown

    async def run(self, command: str) -> str:
        """Type a command at the prompt; returns what it shows."""
        self.type(command)
        return await self.prompt()

    async def pings(self, address: str) -> bool:
        """Whether somebody answers at ``address``; asks again while packets may be on their way."""
        for _ in range(5):
            if REPLY.search(await self.run(f"ping {address} -c 2")):
                return True
        return False

    def type(self, line: str) -> None:
        """Type a line and press Enter."""
        self._writer.write(line.encode() + b"\r")

    async def read_to_end(self) -> str:
        """Read until the other side closes the connection."""
        async with asyncio.timeout(50):
            self._raw += await self._reader.read()
        return self.text

    async def _read_more(self) -> None:
        try:
            async with asyncio.timeout(SILENCE):
                shown = await self._reader.read(65536)
        except TimeoutError:
            # Some versions greet nobody, none greets a second client, until Enter is pressed.
            self.type("")
            return
        if not shown:
            raise ConnectionError(f"the console was closed; it has shown:\n{self.text}")
        self._raw += shown


@asynccontextmanager
async def open_console(port: int) -> AsyncIterator[Console]:
    """Connect to a console and wait for its prompt."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        console = Console(reader, writer)
        await console.prompt()
        yield console
    finally:
        writer.close()
