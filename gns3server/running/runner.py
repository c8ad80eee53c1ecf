"""The words between those who want something run and those who run it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from gns3server.running.identity import ProcessIdentity
from gns3server.running.spec import LaunchSpec


class LaunchFailed(Exception):
    """A program could not be started; `reason` is for the user's eyes."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Exit:
    """How a run ended.

    code: exit code of the main process, negative when a signal ended it (the signal's number);
    None when it cannot be had: the process was adopted, or had not ended yet when this was set.
    first: the essential process that ended first.
    outlived: an essential process was still alive a while after another one had ended unasked.
    """

    code: int | None
    first: ProcessIdentity
    outlived: bool


class Run(Protocol):
    """One program that runs, or ran: its main process and what belongs to it."""

    on_exit: Callable[[Run], None] | None
    """Called once, on the loop, when the run ended without `stop` having been called before.

    By then nothing of it is alive any more. Set it before anything else is awaited.
    """

    @property
    def run_id(self) -> str:
        """The id that all its processes carry in their environment."""

    @property
    def processes(self) -> tuple[ProcessIdentity, ...]:
        """The essential processes, main first; the children are added once it is ready."""

    @property
    def ending(self) -> bool:
        """Whether an essential process has ended; True as soon as it is noticed."""

    @property
    def exit(self) -> Exit | None:
        """How it ended, None while it runs.

        Set as soon as it is decided: at once when all essential processes have ended, else after
        half a second of grace for those that take a little longer (`ending` is True meanwhile).
        What has outlived the others is being stopped then; await `stop()` to know it is gone.
        """

    async def ready(self) -> None:
        """Wait until the spec's ports are bound by processes of this run.

        Raises LaunchFailed when it ends before, takes longer than the spec's limit, or one of its
        ports is in use by another process. It stops nothing: call `stop` after a failure.
        """

    async def ended(self) -> Exit:
        """Wait until it is decided how the run ended."""

    async def stop(self) -> None:
        """Stop every process of the run; return when they are gone.

        The spec's signal first, KILL after the spec's limit. Can be called at any time, as often
        as wanted. Once begun it is carried through, even if the caller is cancelled.
        """

    async def let_go(self) -> None:
        """Stop watching and let the processes be; what has begun to end is brought to its end.

        `on_exit` is not called any more.
        """

    async def log_tail(self, limit: int = 2000) -> str:
        """Return the last `limit` bytes of the output as text; empty when there is none."""


class Runner(Protocol):
    """Something that runs launch specs."""

    async def spawn(self, spec: LaunchSpec, *, run_id: str) -> Run:
        """Start a program; raise LaunchFailed when that is not possible.

        Nothing is left of it if the caller is cancelled.
        """

    async def adopt(
        self, spec: LaunchSpec, *, run_id: str, processes: Sequence[ProcessIdentity]
    ) -> Run | None:
        """Take over a run that was ready, with the `processes` that it had, main first.

        None when an essential process is gone; what was left of the run has been stopped then.
        The exit code of an adopted run is never known. Raises OSError when processes cannot be
        looked for: then the run may go on, and nothing has happened to it.
        """

    async def sweep(self, run_ids: Collection[str]) -> int:
        """Stop all processes of our user that carry one of these run ids; return their number."""

    async def signal(self, processes: Sequence[ProcessIdentity], number: int) -> None:
        """Send a signal to those of the processes that still live."""

    async def runs_in(self, directory: Path) -> set[str]:
        """Return the run ids of our user's processes that work in a directory or below it."""

    def hurry(self) -> None:
        """Give nothing time to end any more: what is stopped, or is being stopped, is killed."""

    async def close(self) -> None:
        """Let go of all runs without stopping them; stops that were begun are carried through."""
