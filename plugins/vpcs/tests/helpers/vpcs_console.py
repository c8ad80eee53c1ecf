"""A client of a virtual PC's console that waits for prompts, never for time."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

PROMPT = "VPCS> "
NEGOTIATION = re.compile(rb"\xff[\xfb-\xfe].", re.DOTALL)
REPLY = re.compile(r"icmp_seq=\d+ .*time=")

LIMIT = 50
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

    async def greeting(self) -> None:
        """Wait for the first prompt. Some versions show none to some clients unless asked."""
        async with asyncio.timeout(LIMIT):
            while not await self._shown(PROMPT):
                self._press_enter()
        self._take()

    async def prompt(self) -> str:
        """Wait for the prompt; returns what was shown since the one before."""
        async with asyncio.timeout(LIMIT):
            while not await self._shown(PROMPT):
                # Not to be hurried: Enter would wait in its input for the next command.
                continue
        return self._take()

    async def enter(self, command: str) -> None:
        """Type a command at the prompt, and press Enter once all of it is to be seen."""
        async with asyncio.timeout(LIMIT):
            self._writer.write(command.encode())
            while not await self._shown(command):
                # It was typed in the moment when VPCS showed its prompt, and is lost.
                self._press_enter()
                await self.prompt()
                self._writer.write(command.encode())
            # A second prompt may have come between; the answer's is behind the command.
            self._read_to = self.text.index(command, self._read_to) + len(command)
            self._press_enter()

    async def run(self, command: str) -> str:
        """Type a command at the prompt; returns what it shows."""
        await self.enter(command)
        return await self.prompt()

    async def pings(self, address: str) -> bool:
        """Whether somebody answers at ``address``; asks again while packets may be on their way."""
        for _ in range(5):
            if REPLY.search(await self.run(f"ping {address} -c 2")):
                return True
        return False

    def _press_enter(self) -> None:
        self._writer.write(b"\r")

    def _take(self) -> str:
        """What was shown since the prompt before, up to the last one."""
        end = self.text.rindex(PROMPT) + len(PROMPT)
        shown = self.text[self._read_to : end]
        self._read_to = end
        return shown

    async def read_to_end(self) -> str:
        """Read until the other side closes the connection."""
        async with asyncio.timeout(LIMIT):
            self._raw += await self._reader.read()
        return self.text

    async def _shown(self, wanted: str) -> bool:
        """Wait until something is shown; False when nothing comes for a while."""
        while wanted not in self.text[self._read_to :]:
            try:
                async with asyncio.timeout(SILENCE):
                    shown = await self._reader.read(65536)
            except TimeoutError:
                return False
            if not shown:
                raise ConnectionError(f"the console was closed; it has shown:\n{self.text}")
            self._raw += shown
        return True


@asynccontextmanager
async def open_console(port: int) -> AsyncIterator[Console]:
    """Connect to a console and wait for its prompt."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        console = Console(reader, writer)
        await console.greeting()
        yield console
    finally:
        writer.close()
