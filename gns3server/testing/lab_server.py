"""The server of one test, and the processes that it has started."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gns3server.app import RunningServer
    from gns3server.http.client import Client
    from gns3server.settings.schema import Settings

TEST_VARIABLE = "GNS3_TEST_ID"
"""Set for every server of a test and inherited by whatever it starts."""


def processes_of(test_id: str) -> dict[int, str]:
    """The living processes that servers of a test have started, by pid, with command lines."""
    wanted = f"{TEST_VARIABLE}={test_id}".encode()
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with contextlib.suppress(OSError):
                if wanted in (entry / "environ").read_bytes().split(b"\0"):
                    command = (entry / "cmdline").read_bytes().replace(b"\0", b" ")
                    found[int(entry.name)] = command.decode(errors="replace")
    return found


class LabServer:
    """A real server of one test.

    Its ``settings`` are what it reads at its start, and anew at a reload: assign others to see
    what becomes of them.
    """

    running: RunningServer
    client: Client

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    @property
    def url(self) -> str:
        """Where it listens."""
        return self.running.url

    def processes(self) -> dict[int, str]:
        """The living processes of the test's nodes, by pid, with their command lines."""
        return processes_of(self.settings.environ[TEST_VARIABLE])

    @property
    def ports(self) -> Any:
        """Its port pools."""
        return self.running.server.projects.machine.ports


ServerFactory = Callable[..., AbstractAsyncContextManager[LabServer]]
