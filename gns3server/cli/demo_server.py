"""The server of a demo that kills it: a process of its own, with exactly the demo's settings.

It reads them from its input, one line of JSON, and ends when that input ends: so it outlives no
demo.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from gns3server.settings.schema import Settings
from gns3server.settings.server import ServerSettings

START_SECONDS = 30.0


class DemoServer:
    """A server that can be killed, and started again on the same records.

    :param settings: where it keeps them, and the ports that it may use.
    """

    def __init__(self, settings: Settings) -> None:
        self.url = ""
        self._settings = settings
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int:
        """Its process id."""
        if self._process is None:
            raise RuntimeError("the server does not run")
        return self._process.pid

    async def start(self) -> None:
        """Start it, and return once it listens.

        :raises OSError: it did not come up.
        """
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "gns3server.cli.demo_server"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            # Ctrl-C is for the demo, which ends it in order.
            start_new_session=True,
        )
        if self._process.stdin is None or self._process.stdout is None:
            raise RuntimeError("the server has no pipes")
        self._process.stdin.write(json.dumps(packed(self._settings)).encode() + b"\n")
        async with asyncio.timeout(START_SECONDS):
            self.url = (await self._process.stdout.readline()).decode().strip()
        if not self.url:
            raise OSError("the server did not start: its messages are above")

    async def kill(self) -> None:
        """End it as a crash would."""
        if self._process is not None:
            process, self._process = self._process, None
            process.kill()
            await process.wait()

    async def end(self) -> None:
        """End it with all that it runs; one that was killed is started again for that."""
        if self._process is None and self.url:
            await self.start()
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
            await self._process.wait()


def packed(settings: Settings) -> dict[str, Any]:
    """Settings as JSON values."""
    return {
        "environ": dict(settings.environ),
        "server": asdict(settings.server),
        "flags": {name: dict(values) for name, values in settings.flags.items()},
        "said": {
            str(path): {name: dict(values) for name, values in sections.items()}
            for path, sections in settings.said.items()
        },
    }


def unpacked(values: Mapping[str, Any]) -> Settings:
    """The settings that :func:`packed` was given."""
    said = {Path(path): sections for path, sections in values["said"].items()}
    server = ServerSettings(**values["server"])
    return Settings(server=server, environ=values["environ"], flags=values["flags"], said=said)


async def serve(settings: Settings) -> None:
    """Serve until the input ends."""
    from gns3server.app import serving
    from gns3server.settings.live import LiveSettings

    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    async with serving(LiveSettings(lambda **_: settings)) as server:
        print(server.url, flush=True)
        loop.add_reader(sys.stdin.fileno(), ended.set)
        await ended.wait()
        loop.remove_reader(sys.stdin.fileno())


def main() -> None:
    """Read the settings, and serve."""
    logging.basicConfig(level=logging.ERROR, format="%(message)s")
    asyncio.run(serve(unpacked(json.loads(sys.stdin.readline()))))


if __name__ == "__main__":
    main()
