"""The words between those who want something run and those who run it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from gns3server.running.identity import ProcessIdentity
from gns3server.running.spec import LaunchSpec


class LaunchFailed(Exception):
    """A program could not be started.

    :param reason: for the user's eyes: what happened, and what to do about it.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Exit:
    """How a run ended.

    :param code: exit code of the main process, negative for the signal that ended it; None when
        it cannot be had: it was the child of an earlier server.
    :param first: the essential process that ended first.
    :param outlived: an essential process was still alive a while after another one had ended
        unasked, and was stopped.
    """

    code: int | None
    first: ProcessIdentity
    outlived: bool


class Run(Protocol):
    """One program that runs, or ran: its main process and what belongs to it.

    Some of its processes are *essential*: the main one, and as many children as the spec says.
    When one of them ends, the others have half a second to end as well; then all that is left
    of the run is stopped.
    """

    @property
    def run_id(self) -> str:
        """The id that all its processes carry in their environment."""

    @property
    def pid(self) -> int:
        """The number of the main process; of use only while that runs."""

    @property
    def processes(self) -> tuple[ProcessIdentity, ...]:
        """The essential processes, main first; the children are added once it is ready."""

    @property
    def ending(self) -> bool:
        """Whether an essential process has ended, or a stop has begun."""

    @property
    def exit(self) -> Exit | None:
        """How it ended; None before nothing of it is alive any more."""

    async def ready(self) -> None:
        """Wait until the spec's ports are bound by processes of this run.

        It stops nothing: call :meth:`stop` after a failure.

        :raises LaunchFailed: it has ended before, it takes longer than the spec's limit, or one
            of its ports is in use by another process.
        """

    async def ended(self) -> Exit:
        """Wait until the run has ended and nothing of it is alive any more.

        This neither stops it nor keeps it from being let go: then those who wait are cancelled.

        :returns: how it ended.
        :raises asyncio.CancelledError: it was let go.
        """

    async def stop(self) -> None:
        """Stop every process of the run; return when they are gone.

        The spec's signal first, KILL after the spec's limit. Can be called as often as wanted,
        until the run is let go. Once begun it is carried through, even if the caller is
        cancelled.
        """

    def signal(self, number: int, *, to_all: bool = False) -> None:
        """Send a signal to the main process; one that has ended is left alone.

        :param number: the signal.
        :param to_all: send it to the other essential processes as well.
        :raises PermissionError: the process has become another user's.
        """

    async def let_go(self) -> None:
        """Stop watching and let the processes be; what has begun to end is brought to its end."""

    async def log_tail(self, limit: int = 2000) -> str:
        """Return the end of its output as text; empty when there is none.

        :param limit: bytes to return at most.
        """


class Runner(Protocol):
    """Something that runs launch specs."""

    async def spawn(self, spec: LaunchSpec, *, run_id: str) -> Run:
        """Start a program. Nothing is left of it if the caller is cancelled.

        :param spec: what to start.
        :param run_id: what its processes are to be known by; no other run has it.
        :raises LaunchFailed: it could not be started, and nothing is left of it.
        """

    async def adopt(
        self, spec: LaunchSpec, *, run_id: str, processes: Sequence[ProcessIdentity]
    ) -> Run | None:
        """Take over a run that was ready.

        :param spec: what was started.
        :param run_id: what its processes are known by.
        :param processes: the essential ones that it had, main first.
        :returns: None when one of them is gone; what was left of the run has been stopped then.
        :raises OSError: processes cannot be looked for: the run may go on, and nothing has
            happened to it.
        """

    async def sweep(self, run_ids: Collection[str]) -> int:
        """Stop all processes of our user that carry one of some run ids.

        :param run_ids: those of runs that nobody watches.
        :returns: how many there were.
        """

    async def signal(self, processes: Sequence[ProcessIdentity], number: int) -> None:
        """Send a signal to those of the processes that still live."""

    async def runs_in(self, directory: Path) -> set[str]:
        """Find the runs that work in a directory or below it.

        :param directory: where to look.
        :returns: the run ids of our user's processes there.
        :raises OSError: they cannot be looked for.
        """

    def hurry(self) -> None:
        """Give nothing time to end any more: what is stopped, or is being stopped, is killed."""

    async def close(self) -> None:
        """Let go of all runs without stopping them; stops that were begun are carried through."""
