"""A terminal for a program, handed to the console server before the program is started.

A program whose terminal is held by nobody any more gets SIGHUP. So the console server, which
outlives this server, has the terminal's other end before there is a program.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import shutil
import struct
import termios
from collections.abc import Sequence
from functools import partial

from gns3server.running.console import ConsolePlace
from gns3server.running.helper_client import HelperClient, HelperFailed
from gns3server.running.runs import LaunchFailed

COLUMNS, ROWS = 80, 24
"""The size of a terminal that nobody has looked at yet."""

KIND = "consoles"
"""What a console server says that it is."""


class Terminals:
    """Makes terminals, and gives their other ends to the console server.

    All by one connection, which is kept: when a hundred programs are started at once, none of them
    waits until another one's terminal was taken.
    """

    def __init__(self) -> None:
        self._turn = asyncio.Lock()
        self._client: HelperClient | None = None
        self._path = ""

    async def open(self, place: ConsolePlace) -> int:
        """Make a terminal, and give its other end to the console server.

        :returns: the descriptor that a program uses; the caller must close it.
        :raises LaunchFailed: there is none to be had, or the console server does not take it.
        """
        try:
            master, slave = os.openpty()
        except OSError as error:
            raise LaunchFailed(f"no terminal can be had: {error.strerror or error}") from error
        try:
            fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("4H", ROWS, COLUMNS, 0, 0))
            client = await self._connected(place.socket)
            await client.call("terminal", {"console": place.console_id}, [master])
        except BaseException as error:
            os.close(slave)
            if isinstance(error, (OSError, HelperFailed)):
                raise LaunchFailed(
                    f"the console server does not take its terminal: {error}"
                ) from error
            raise
        finally:
            os.close(master)
        return slave

    def close(self) -> None:
        """Hang up."""
        if self._client is not None:
            self._client.close()
            self._client = None

    async def _connected(self, path: str) -> HelperClient:
        """The connection to a console server: another one than before if that was replaced.

        :raises OSError, HelperFailed: none answers there.
        """
        async with self._turn:
            if self._client is None or self._path != path:
                self.close()
                reader, writer = await asyncio.open_unix_connection(path)
                client = await HelperClient.connect(reader, writer, KIND)
                client.listen(lambda *_: None, partial(self._lost, client))
                self._client, self._path = client, path
            return self._client

    def _lost(self, client: HelperClient) -> None:
        if self._client is client:
            self.close()


def is_raw(terminal: int) -> bool:
    """Whether a terminal hands over each key as it is pressed, and does not show it itself.

    :param terminal: a descriptor of either end.
    :raises OSError: its other end is closed.
    """
    try:
        local = termios.tcgetattr(terminal)[3]
    except termios.error as error:
        raise OSError(*error.args) from error
    return not local & (termios.ICANON | termios.ECHO)


def leading_a_session(argv: Sequence[str], search_path: str | None) -> list[str]:
    """A command that gives a program its standard input as its controlling terminal.

    Without one, Ctrl+C interrupts nothing, and a closed terminal ends nothing (tty(4)).

    :param argv: the program and its arguments.
    :param search_path: where programs are looked up.
    :raises LaunchFailed: there is no such command.
    """
    setsid = shutil.which("setsid", path=search_path)
    if setsid is None:
        raise LaunchFailed("the program setsid was not found: install the package util-linux")
    # It keeps its process id: the program takes its place.
    return [setsid, "--ctty", *argv]
