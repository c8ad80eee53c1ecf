"""A client of consoles, used as a person would use telnet: it waits for prompts, never for time."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Self

NEGOTIATION = re.compile(rb"\xff[\xfb-\xfe].", re.DOTALL)
"""IAC, WILL to DONT, option (RFC 854). No console waits for an answer to it."""

LIMIT = 50.0
SILENCE = 2.0
"""Seconds after which a person would press Enter to see whether the console answers."""


class ConsoleClient:
    """One connection to a console.

    Methods that wait raise ``TimeoutError`` when that takes longer than the limit, and
    ``ConnectionError`` when the other side closes the connection.

    :param prompt: what the console shows when it is ready for a command.
    :param limit: seconds that each command may take.
    """

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        prompt: str,
        limit: float = LIMIT,
    ) -> None:
        self.port: int = writer.get_extra_info("peername")[1]
        self._reader = reader
        self._writer = writer
        self._prompt = prompt
        self._limit = limit
        self._raw = b""
        self._read_to = 0

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        port: int,
        prompt: str,
        limit: float = LIMIT,
        host: str = "127.0.0.1",
        *,
        press_enter: bool = False,
    ) -> AsyncIterator[Self]:
        """Connect to a console and wait for its prompt.

        :param host: the machine that has it; this host by default.
        :param press_enter: press Enter at once, for a console that shows no prompt before. By
            default, that is done only after two seconds of silence.
        :raises OSError: nothing listens there.
        """
        reader, writer = await asyncio.open_connection(host, port)
        try:
            console = cls(reader, writer, prompt, limit)
            if press_enter:
                console._press_enter()
            await console.greeting()
            yield console
        finally:
            writer.close()

    @property
    def text(self) -> str:
        """All that has been shown so far."""
        return NEGOTIATION.sub(b"", self._raw).decode(errors="replace")

    async def greeting(self) -> None:
        """Wait for the first prompt. Some consoles show one only after Enter was pressed."""
        async with asyncio.timeout(self._limit):
            while not await self._shown(self._prompt):
                self._press_enter()
        self._take()

    async def prompt(self) -> str:
        """Wait for the prompt; returns what was shown since the one before."""
        async with asyncio.timeout(self._limit):
            while not await self._shown(self._prompt):
                # Do not press Enter: it would count as input to the next command.
                continue
        return self._take()

    async def shows(self, text: str) -> None:
        """Wait until something is shown, since the last prompt."""
        async with asyncio.timeout(self._limit):
            while not await self._shown(text):
                continue

    async def enter(self, command: str) -> None:
        """Type a command at the prompt, and press Enter once all of it is shown."""
        async with asyncio.timeout(self._limit):
            self._writer.write(command.encode())
            while not await self._shown(command):
                # Some lose what is typed at the moment when they show their prompt.
                self._press_enter()
                await self.prompt()
                self._writer.write(command.encode())
            # A second prompt may have come in between; the answer's prompt follows the command.
            self._read_to = self.text.index(command, self._read_to) + len(command)
            self._press_enter()

    async def run(self, command: str) -> str:
        """Type a command at the prompt; returns what it shows, including the next prompt."""
        await self.enter(command)
        return await self.prompt()

    async def read_to_end(self) -> str:
        """Read until the other side closes the connection; returns all that was shown."""
        async with asyncio.timeout(self._limit):
            self._raw += await self._reader.read()
        return self.text

    def _press_enter(self) -> None:
        self._writer.write(b"\r")

    def _take(self) -> str:
        """What was shown since the previous prompt, up to the latest one."""
        end = self.text.rindex(self._prompt) + len(self._prompt)
        shown = self.text[self._read_to : end]
        self._read_to = end
        return shown

    async def _shown(self, wanted: str) -> bool:
        """Wait until something is shown; False when nothing comes for a while."""
        while wanted not in self.text[self._read_to :]:
            try:
                async with asyncio.timeout(SILENCE):
                    shown = await self._reader.read(65536)
            except TimeoutError:
                return False
            if not shown:
                raise ConnectionError(f"the console was closed; it showed:\n{self.text}")
            self._raw += shown
        return True
