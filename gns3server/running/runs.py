"""A run as the server knows it: its interface, how it ended, why it did not start."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from gns3server.running.identity import ProcessIdentity


class LaunchFailed(Exception):
    """A program could not be started.

    :param reason: for the user: what happened, and what to do about it.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Exit:
    """How a run ended.

    :param code: exit code of the main process, negative for the signal that ended it; None when
        it cannot be known, as the process was the child of an earlier server.
    :param first: the essential process that ended first.
    :param outlived: an essential process was still alive a while after another one had ended
        unasked, and was stopped.
    """

    code: int | None
    first: ProcessIdentity
    outlived: bool


class Run(Protocol):
    """One program that runs, or ran: its main process and what belongs to it.

    This is the server's view of it, wherever it runs: the properties tell the latest news of it.

    Some of its processes are *essential*: the main one, and as many children as the spec says.
    When one of them ends, the others have half a second to end as well; then all that is left
    of the run is stopped.
    """

    @property
    def processes(self) -> tuple[ProcessIdentity, ...]:
        """The essential processes, main first; the children are added once it is ready."""

    @property
    def ending(self) -> bool:
        """Whether an essential process has ended, or a stop has begun."""

    @property
    def exit(self) -> Exit | None:
        """How it ended; None while any of it is alive."""

    async def bound(self) -> None:
        """Wait until the spec's ports and sockets are bound by processes of this run.

        Fails as :meth:`ready`, which waits for this first. From then on the program has done most
        of what it does at its start.
        """

    async def ready(self) -> None:
        """Wait until all that the spec says is there: bound, and its terminal raw.

        A failure stops nothing: call :meth:`stop` after one.

        :raises LaunchFailed: it ended first, it took longer than the spec's limit, or one
            of its ports is in use by another process.
        """

    async def ended(self) -> Exit:
        """Wait until the run has ended and nothing of it is alive.

        This neither stops the run nor keeps it from being let go, which cancels those who wait.

        :returns: how it ended.
        :raises asyncio.CancelledError: it was let go.
        """

    async def stop(self) -> None:
        """Stop every process of the run; return when they are gone.

        Sends the spec's signal first, KILL after the spec's limit. May be called repeatedly,
        until the run is let go. Once begun it is carried through, even if the caller is
        cancelled.
        """

    async def let_go(self) -> None:
        """Stop watching and leave the processes alone; a stop that has begun is finished."""

    async def log_tail(self, limit: int = 2000) -> str:
        """Return the end of its output as text; empty when there is none.

        :param limit: bytes to return at most.
        """
