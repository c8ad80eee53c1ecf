"""What a demo does: requests, commands on consoles, the kill of a server, each of them shown."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any


class DemoStage(ABC):
    """A server for one demo, and the terminal that shows it.

    Whatever fails ends the demo, which says why. At the end everything that it has made is removed.
    """

    @abstractmethod
    def say(self, text: str) -> None:
        """Say what comes next."""

    @abstractmethod
    def expect(self, well: bool, otherwise: str) -> None:
        """Note what has gone wrong, unless all is well. The demo goes on, and fails at its end."""

    @abstractmethod
    async def get(self, path: str) -> Any:
        """GET, shown as a command; returns the answer's value."""

    @abstractmethod
    async def post(self, path: str, value: Any = None) -> Any:
        """POST, shown as a command; returns the answer's value, ``None`` if it is empty."""

    @abstractmethod
    async def put(self, path: str, value: Any) -> Any:
        """PUT, shown as a command; returns the answer's value."""

    @abstractmethod
    async def open_console(self, name: str, port: int, prompt: str) -> None:
        """Connect to a console, and wait for its prompt. It outlives the server.

        :param name: what the demo calls it.
        """

    @abstractmethod
    async def run(self, name: str, line: str) -> list[str]:
        """Type a line on a console, and show it; returns what it has printed."""

    @abstractmethod
    async def run_until(self, name: str, line: str, *texts: str) -> list[str]:
        """Type a line again and again, until what it prints has some texts in it; show that.

        :returns: what it has printed then, or after a minute, which counts as something wrong.
        """

    @abstractmethod
    async def begin(self, name: str, line: str, shown: str) -> None:
        """Type a line on a console, and return once it has shown something."""

    @abstractmethod
    async def finish(self, name: str) -> list[str]:
        """Wait until what was begun has ended, and show it; returns what it has printed."""

    @abstractmethod
    async def kill_server(self) -> None:
        """Kill the server, as a crash would."""

    @abstractmethod
    async def start_server(self) -> None:
        """Start another server on what the killed one has left."""
