"""What a supervised run needs of where it belongs: a project, or the server itself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol, TypeVar

from gns3server.running.console import ConsolePlace
from gns3server.running.machine import Machine
from gns3server.running.spec import LaunchSpec
from gns3server.storage.change import ProjectChange

T = TypeVar("T")


class Consoles(Protocol):
    """Who serves the consoles of runs."""

    async def open_console(
        self, run_id: str, spec: LaunchSpec, lost: Callable[[], None]
    ) -> ConsolePlace:
        """Serve the console of a run from now on.

        :param spec: of the run, which has a console.
        :param lost: called if its terminal is lost, with all that its program shows.
        :returns: where the run's terminal is to be handed, if it gets one.
        :raises gns3server.running.runs.LaunchFailed: its port cannot be used.
        """

    def keep_console(self, run_id: str, spec: LaunchSpec, lost: Callable[[], None]) -> None:
        """Go on serving the console of a run that was adopted."""

    def move_console(self, run_id: str, spec: LaunchSpec) -> None:
        """Take note that a run works in another directory."""

    async def close_console(self, run_id: str) -> None:
        """Serve it no longer; harmless when it is not served."""

    async def tail(self, run_id: str) -> str:
        """The end of what it has shown; empty when that cannot be known."""


class RunPlace(Protocol):
    """A project, or the server itself."""

    @property
    def id(self) -> str:
        """What the holder of its runs' ports is called."""

    @property
    def machine(self) -> Machine:
        """Where it runs."""

    @property
    def consoles(self) -> Consoles:
        """Who serves the consoles of what it runs."""

    def change(self, *, fact: bool = False) -> ProjectChange:
        """A change of the records that have its runs."""

    def own(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Run work to its end in a task that the server waits for when it stops."""

    async def unless_closing(self, work: Coroutine[Any, Any, T], title: str) -> T:
        """Await ``work``, but give it up as soon as the place is about to close.

        :raises gns3server.errors.Conflict: it is.
        """

    def start_place(self, title: str) -> AbstractAsyncContextManager[None]:
        """Wait for a turn to start, and hold it for the block."""

    async def make_directory(self, spec: LaunchSpec) -> None:
        """Make the directory that a run works in.

        :raises OSError: it cannot be made, or is not one that the run may work in.
        """
