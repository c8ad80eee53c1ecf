"""The machine that nodes run on, as an interface."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gns3server.files.images import Images
from gns3server.ports import Holder, Ports
from gns3server.running.console import ConsolePlace
from gns3server.running.gate import StartGate
from gns3server.running.identity import ProcessIdentity
from gns3server.running.runs import Run
from gns3server.running.spec import LaunchSpec
from gns3server.running.tools import TOOL_SECONDS, ToolResult


@dataclass(frozen=True, slots=True)
class FileStamp:
    """Values that differ once a file has been changed or replaced.

    :param size: in bytes.
    :param modified: its time of modification, in nanoseconds.
    """

    size: int
    modified: int


@dataclass(kw_only=True, eq=False)
class Machine(ABC):
    """A host that nodes run on.

    A node reaches its own as ``self.machine``, a route or lifespan as ``server.machine``. Its
    methods are awaited, and plain data goes in and out, so that it can be a host other than the
    server's. Assume nothing about it from the server's own host. If the machine does not answer,
    every call raises :class:`~gns3server.errors.Unavailable`.

    The directories of projects and images are on storage that the server has too, at the same
    paths. Files that belong to a change of a node are the server's to place, together with the
    commit; a machine places what its runs need, and reads what they have written.
    """

    address: str
    """The address where others reach the UDP ports that its runs bind."""

    console_host: str
    """The address at which the consoles of its runs are served."""

    runtime: Path
    """The directory that holds the socket directories of running nodes."""

    ports: Ports
    """The server's notes on who holds which of its ports."""

    gate: StartGate
    """Limits how many nodes may start at a time."""

    images: Images
    """The image files that its runs can have."""

    # Runs ----------------------------------------------------------------------------

    @abstractmethod
    async def run(
        self, spec: LaunchSpec, *, run_id: str, console: ConsolePlace | None = None
    ) -> Run:
        """Start a program. Nothing is left of it if the caller is cancelled.

        :param spec: what to start.
        :param run_id: identifies its processes; no other run has it.
        :param console: who gets its terminal, if the spec says that it has one.
        :raises gns3server.running.runs.LaunchFailed: it could not be started; nothing is left of
            it.
        """

    @abstractmethod
    async def adopt(
        self, spec: LaunchSpec, *, run_id: str, processes: Sequence[ProcessIdentity]
    ) -> Run | None:
        """Take over a run that was ready.

        :param spec: what was started.
        :param run_id: identifies its processes.
        :param processes: its essential processes, main first.
        :returns: ``None`` when one of them is gone; what was left of the run has then been
            stopped.
        :raises OSError: processes could not be searched for; the run may go on, and was left
            alone.
        """

    @abstractmethod
    async def sweep(self, run_ids: Collection[str]) -> int:
        """Stop all processes of our user that carry one of these run ids.

        :param run_ids: of runs that nobody watches.
        :returns: how many there were.
        """

    @abstractmethod
    async def signal(self, processes: Sequence[ProcessIdentity], number: int) -> None:
        """Send a signal to those of the processes that still live.

        :param number: the signal.
        :raises OSError: one of them has become another user's.
        """

    @abstractmethod
    async def runs_in(self, directory: Path) -> set[str]:
        """Find the runs that work in a directory or below it.

        :param directory: where to look.
        :returns: the run ids of our user's processes there.
        :raises OSError: processes could not be searched for.
        """

    @abstractmethod
    async def hurry(self) -> None:
        """Stop waiting for processes to end: from now on, stopping a run kills it at once."""

    @abstractmethod
    async def connect(self, path: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect to a unix socket that one of its runs listens on.

        :param path: of the socket.
        :raises OSError: nobody listens there.
        """

    # Programs ------------------------------------------------------------------------

    @abstractmethod
    async def find_program(self, name_or_path: str) -> str | None:
        """The path of an executable file, ``None`` when there is none.

        :param name_or_path: with a slash it is a path, without one a name that is looked up in
            the machine's ``PATH``.
        """

    @abstractmethod
    async def run_tool(
        self,
        argv: Sequence[str],
        *,
        limit: float = TOOL_SECONDS,
        cwd: str | None = None,
        env: Mapping[str, str] | None = None,
    ) -> ToolResult:
        """Run a short program to its end and return what it printed, errors included.

        What it leaves running in its process group is killed as well. If the caller is cancelled,
        this returns at once, and the program is dealt with in the background. An exit code other
        than 0 is not an error.

        :param argv: program and arguments.
        :param limit: seconds that it may take; then it and its process group are killed.
        :param cwd: its working directory; any by default.
        :param env: its whole environment; by default the one that all programs there get.
        :raises ToolFailed: it cannot be started or takes too long.
        """

    # The network ---------------------------------------------------------------------

    @abstractmethod
    async def resolve_ipv4(self, host: str) -> str:
        """The IPv4 address of a host in dotted form, as this machine finds it.

        An emulator may accept addresses only and silently replace a name with 127.0.0.1
        (contract 5.6), so names are resolved before they reach an emulator.

        :param host: its name or address.
        :raises Conflict: no IPv4 address can be found.
        """

    @abstractmethod
    async def list_interfaces(self) -> Sequence[Mapping[str, str]]:
        """Its network interfaces: ``id`` and ``name``, which are the same, and ``ip_address``.

        ``ip_address`` is the first IPv4 address, or empty.
        """

    @abstractmethod
    async def is_interface_up(self, name: str) -> bool:
        """Whether it has a network interface of that name that is switched on (NET-03).

        A TAP interface that no program has opened yet counts: it is switched on, though nothing
        can pass through it.
        """

    @abstractmethod
    async def can_bind(self, kind: str, port: int) -> bool:
        """Whether a new process there could now bind a port on all addresses.

        :param kind: ``"TCP"`` or ``"UDP"``.
        :raises OSError: this cannot be determined.
        """

    async def allocate_port(self, kind: str, holder: Holder, *, highest: bool = False) -> int:
        """Reserve the lowest port that nobody holds and no process there has bound.

        :param kind: ``"tcp"`` or ``"udp"``.
        :param highest: reserve the highest instead.
        :raises Conflict: the whole range is taken.
        :raises OSError: this cannot be determined.
        """
        return await self.ports.pool(kind).allocate(holder, self.can_bind, highest=highest)

    # Files ---------------------------------------------------------------------------

    @abstractmethod
    async def read_file(self, path: str, root: Path) -> bytes | None:
        """The content of a regular file, ``None`` when there is none. Never older than the call.

        :param path: ``root``, and plain names below it.
        :param root: a directory that must not be left: below it, links are not followed.
        :raises OSError: it exists but cannot be read, or is too large for a small file.
        """

    @abstractmethod
    async def place_files(self, directory: Path, root: Path, files: Mapping[str, bytes]) -> None:
        """Write files so that a crash leaves the old or the new content of each, never a part.

        :param directory: made if need be; ``root``, and plain names below it.
        :param root: a directory that no link leads out of: below it none is followed.
        :param files: content by plain name.
        :raises OSError: they cannot be written.
        """

    @abstractmethod
    async def stamp_file(self, path: str) -> FileStamp:
        """A stamp that tells whether a file is still the one that was there before.

        :param path: absolute.
        :raises OSError: it cannot be examined.
        """

    @abstractmethod
    async def make_runtime_directory(self, directory: Path) -> None:
        """Make a directory for the sockets of a running node, for the server's user alone.

        :param directory: just below ``runtime``.
        :raises Conflict: it cannot be made, or another user has made it.
        """

    @abstractmethod
    async def remove_runtime_directory(self, directory: Path) -> None:
        """Remove such a directory, if it is there.

        :raises OSError: it cannot be removed.
        """
