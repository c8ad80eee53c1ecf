"""A server that is a process of its own, for tests that kill it: the fixture of
:mod:`gns3server.testing`."""

from __future__ import annotations

import asyncio
import contextlib
import re
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gns3server.http.client import Client
    from gns3server.settings import Settings

LISTENS = re.compile(r"listens on (\S+)")


class ServerProcess:
    """A running ``gns3server``.

    :param log: what it has printed up to where it listens.
    """

    def __init__(self, process: asyncio.subprocess.Process, client: Client, log: str) -> None:
        self._process = process
        self.client = client
        self.log = log

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    async def end(self, number: int = signal.SIGTERM) -> str:
        """Send it a signal and wait until it has ended; returns what it has printed since."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)
        return await self.ended()

    async def kill(self) -> None:
        """End it as a crash does."""
        await self.end(signal.SIGKILL)

    async def ended(self) -> str:
        """Wait until it has ended; returns what it has printed since."""
        printed, _ = await self._process.communicate()
        return printed.decode(errors="replace")


@asynccontextmanager
async def server_process(
    settings: Settings, *args: str, environ: Mapping[str, str] | None = None
) -> AsyncIterator[ServerProcess]:
    """Run a server with these settings and arguments; at the end it is killed if it still runs.

    :raises AssertionError: it does not come up; the text is what it printed.
    """
    from gns3server.http.client import Client

    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gns3server", *args),
        env={**settings.environ, **_variables(settings), **(environ or {})},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        limit=2**24,
    )
    try:
        log, found = "", None
        while found is None:
            line = (await process.stdout.readline()).decode() if process.stdout else ""
            log += line
            assert line, f"the server ended before it listened:\n{log}"
            found = LISTENS.search(line)
        async with Client(found[1]) as client:
            yield ServerProcess(process, client, log)
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


def _variables(settings: Settings) -> dict[str, str]:
    """The environment that gives a server the settings of a test."""
    server = settings.server
    names = ("port", "projects_path", "images_path", "state_path", "local")
    ranges = (f"{kind}_{end}_port_range" for kind in ("console", "udp") for end in ("start", "end"))
    return {f"GNS3_SERVER_{name.upper()}": str(getattr(server, name)) for name in (*names, *ranges)}
