"""The server of one test, and the processes that it has started."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any

from gns3server.testing.leftovers import TEST_VARIABLE, processes_of

if TYPE_CHECKING:
    from gns3server.app import RunningServer
    from gns3server.http.client import Client
    from gns3server.settings.schema import Settings


class LabServer:
    """A real server of one test.

    Its ``settings`` are what it reads at its start, and again at a reload: assign others to see
    what it does with them.
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
        """The living processes of the test's nodes, by pid, with their command lines.

        Left out are the server's own helpers, which may stay a moment longer.
        """
        return processes_of(self.settings.environ[TEST_VARIABLE])

    @property
    def ports(self) -> Any:
        """Its port pools."""
        return self.running.server.projects.machine.ports


ServerFactory = Callable[..., AbstractAsyncContextManager[LabServer]]
