"""A server in its own process, for tests that kill it: the fixture of
:mod:`gns3server.testing`.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import signal
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gns3server.http.client import Client
    from gns3server.settings.schema import Settings
    from gns3server.settings.server import ServerSettings


class ServerProcess:
    """A running ``gns3server``.

    Its ``log`` is what it has printed, as far as that has been read.
    """

    def __init__(self, process: asyncio.subprocess.Process, settings: Settings) -> None:
        self._process = process
        self.settings = settings
        self.client: Client
        self.log = ""

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def port(self) -> int:
        """The TCP port on which it listens."""
        return int(self.client.url.rpartition(":")[2])

    async def says(self, pattern: str) -> re.Match[str]:
        """Wait until it prints a line that contains a pattern.

        :raises RuntimeError: it ended without doing so; the text is what it printed.
        """
        while True:
            line = await self._output.readline()
            if not line:
                raise RuntimeError(f"the server never said {pattern!r}:\n{self.log}")
            self.log += line.decode(errors="replace")
            if found := re.search(pattern, line.decode(errors="replace")):
                return found

    async def end(self, number: int = signal.SIGTERM) -> None:
        """Send it a signal and wait until it has ended."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)
        await self.ended()

    async def kill(self) -> None:
        """End it as a crash would."""
        await self.end(signal.SIGKILL)

    async def ended(self) -> int:
        """Wait until it has ended; returns its exit code."""
        self.log += (await self._output.read()).decode(errors="replace")
        return await self._process.wait()

    @property
    def _output(self) -> asyncio.StreamReader:
        if self._process.stdout is None:
            raise RuntimeError("its output was not asked for")
        return self._process.stdout


@asynccontextmanager
async def server_process(
    settings: Settings,
    *args: str,
    environ: Mapping[str, str] | None = None,
    under: Sequence[str] = (),
    **server: Any,
) -> AsyncIterator[ServerProcess]:
    """Run a server with these settings and arguments; in the end it is asked to stop.

    :param environ: adds to its environment.
    :param under: a command that turns into the command after it, as ``prlimit`` and
        ``strace -D`` do.
    :param server: other values of its ``[Server]`` settings.
    :raises RuntimeError: it does not come up; the text is what it printed.
    """
    from gns3server.http.client import Client

    settings = replace(settings, server=replace(settings.server, **server))
    process = await asyncio.create_subprocess_exec(
        *(*under, sys.executable, "-m", "gns3server", *args),
        env={**settings.environ, **variables(settings.server), **(environ or {})},
        cwd=settings.home,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    running = ServerProcess(process, settings)
    try:
        listens = await running.says(r"listens on (\S+)")
        async with Client(listens[1]) as running.client:
            yield running
            await running.end()
    except BaseException:
        await running.kill()
        raise


def variables(server: ServerSettings) -> dict[str, str]:
    """The environment that gives a server these settings, where they differ from the defaults."""
    values = {setting: getattr(server, setting.name) for setting in fields(server)}
    return {
        f"GNS3_SERVER_{setting.name.upper()}": str(value)
        for setting, value in values.items()
        if value != setting.default
    }
