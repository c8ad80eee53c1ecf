"""A console as the server looks at it, on behalf of a browser or of a plugin."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Self

from gns3server.consoles import frames
from gns3server.running.helper_client import HelperClient

KIND = "consoles"
READ_BYTES = 65536

MAX_KEYS = 64 * 1024
"""How many bytes of input go into one frame."""


class ConsoleStream:
    """A client of a console; it is to be closed.

    :param helper: a connection that is attached to the console.
    """

    def __init__(self, helper: HelperClient) -> None:
        self._helper = helper
        self._frames = frames.Frames()

    @classmethod
    async def open(
        cls,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        console: str,
        *,
        read_only: bool = False,
        size: tuple[int, int] | None = None,
    ) -> Self:
        """Look at a console.

        :param reader: of a new connection to the console server, as ``writer``.
        :param console: its id.
        :param read_only: whatever is typed is thrown away.
        :param size: columns and rows of the window, if there is one.
        :raises HelperFailed: there is no such console, or nobody who serves it.
        """
        helper = await HelperClient.connect(reader, writer, KIND)
        what: Mapping[str, Any] = {"console": console, "read_only": read_only}
        if size is not None:
            what = {**what, "columns": size[0], "rows": size[1]}
        try:
            await helper.take_over("attach", what)
        except BaseException:
            helper.close()
            raise
        return cls(helper)

    async def read(self) -> bytes:
        """Wait for output: what was shown before comes first.

        :returns: nothing at the end of the console, or when this client was dropped as it did
            not read.
        """
        while data := await self._receive():
            output = b"".join(
                carried for kind, carried in self._frames.feed(data) if kind == frames.OUTPUT
            )
            if output:
                return output
        return b""

    async def write(self, keys: bytes) -> None:
        """Type; waits while the program takes no more. Nobody is told if the console has ended."""
        for start in range(0, len(keys), MAX_KEYS):
            await self._send(frames.frame(frames.KEYS, keys[start : start + MAX_KEYS]))

    async def resize(self, columns: int, rows: int) -> None:
        """Tell the size of the window, in characters.

        :raises ValueError: there are no such windows.
        """
        if not (0 < columns < 65536 and 0 < rows < 65536):
            raise ValueError("a window has 1 to 65535 columns and rows")
        await self._send(frames.window(columns, rows))

    def close(self) -> None:
        """Look at it no more."""
        self._helper.close()

    async def _receive(self) -> bytes:
        try:
            return await self._helper.reader.read(READ_BYTES)
        except OSError:
            return b""

    async def _send(self, data: bytes) -> None:
        try:
            self._helper.writer.write(data)
            await self._helper.writer.drain()
        except OSError:
            # That it has ended is found out by reading.
            return
