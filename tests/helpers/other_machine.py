"""Another machine for tests: a network namespace with a program, and a server's end of it."""

from __future__ import annotations

import asyncio
import ipaddress
import itertools
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Collection, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from machine_agent import LONGEST_LINE, error_from_plain, from_line, to_line
from short_paths import short_directory

from gns3server.app import make_ports
from gns3server.errors import Unavailable
from gns3server.files.images import Images
from gns3server.files.small_files import SmallFiles
from gns3server.nodes.registry import Registry
from gns3server.running import network, runtime, tools
from gns3server.running.console import ConsolePlace
from gns3server.running.gate import StartGate
from gns3server.running.identity import ProcessIdentity
from gns3server.running.local import LocalRunner
from gns3server.running.local_machine import LocalMachine
from gns3server.running.machine import FileStamp, Machine
from gns3server.running.runs import Exit
from gns3server.running.spec import LaunchSpec
from gns3server.running.tools import TOOL_SECONDS, ToolResult
from gns3server.settings.live import LiveSettings
from gns3server.testing import TEST_VARIABLE

HELPERS = Path(__file__).parent
THERE = "there0"
"""The interface through which the other machine reaches this one."""

NETWORKS = int(ipaddress.ip_address("198.18.0.0"))
"""The first of the addresses that are set apart for network tests (RFC 2544)."""


LOCAL: Mapping[Any, Sequence[str]] = {
    LocalRunner: ("spawn", "adopt", "sweep", "signal", "runs_in"),
    SmallFiles: ("read",),
    network: ("is_interface_up", "list_interfaces"),
    network.Resolver: ("resolve_ipv4",),
    runtime: ("make", "remove"),
    tools: ("find_program", "run_tool"),
}
"""The functions by which a server could use its own machine."""


# The server's end -------------------------------------------------------------------------


class Wire:
    """A connection to a machine's program."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._numbers = itertools.count()
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._listener = asyncio.create_task(self._listen())

    async def ask(self, call: str, **arguments: Any) -> Any:
        """Have something done there; if the caller is cancelled, it is cancelled there as well.

        :raises Unavailable: the machine no longer answers.
        """
        if self._listener.done():
            raise no_answer()
        number, answer = next(self._numbers), asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        self._writer.write(to_line({"id": number, "call": call, "with": arguments}))
        try:
            return await answer
        except asyncio.CancelledError:
            self._writer.write(to_line({"cancel": number}))
            raise
        finally:
            del self._waiting[number]

    async def _listen(self) -> None:
        while line := await self._reader.readline():
            message = from_line(line)
            answer = self._waiting.get(message["id"])
            if answer is None or answer.done():
                continue
            if "error" in message:
                answer.set_exception(error_from_plain(message["error"]))
            else:
                answer.set_result(message["result"])
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(no_answer())

    async def close(self) -> None:
        """Let go of what runs there."""
        self._writer.close()
        await asyncio.wait([self._listener])


def no_answer() -> Unavailable:
    """The error of a request to a machine that is cut off."""
    return Unavailable("The other machine does not answer: check its program, and try again.")


class RemoteRun:
    """Implements :class:`~gns3server.running.runs.Run` for a run on the other machine."""

    def __init__(self, wire: Wire, run_id: str, processes: Sequence[ProcessIdentity]) -> None:
        self.processes = tuple(processes)
        self._wire = wire
        self._run_id = run_id
        self._end: asyncio.Task[Exit] = asyncio.create_task(wire.ask("ended", run_id=run_id))

    @property
    def ending(self) -> bool:
        return self.exit is not None

    @property
    def exit(self) -> Exit | None:
        known = self._end.done() and not self._end.cancelled() and not self._end.exception()
        return self._end.result() if known else None

    async def bound(self) -> None:
        await self._wire.ask("bound", run_id=self._run_id)

    async def ready(self) -> None:
        self.processes = tuple(await self._wire.ask("ready", run_id=self._run_id))

    async def ended(self) -> Exit:
        return await asyncio.shield(self._end)

    async def stop(self) -> None:
        await self._wire.ask("stop", run_id=self._run_id)

    async def let_go(self) -> None:
        await self._wire.ask("let_go", run_id=self._run_id)
        self._end.cancel()

    async def log_tail(self, limit: int = 2000) -> str:
        tail: str = await self._wire.ask("log_tail", run_id=self._run_id, limit=limit)
        return tail


class RemoteMachine(Machine):
    """Implements :class:`~gns3server.running.machine.Machine` with a machine's program."""

    def __init__(self, wire: Wire, **values: Any) -> None:
        super().__init__(**values)
        self._wire = wire

    async def cut_off(self) -> None:
        """Let it answer no more; its runs go on."""
        await self._wire.close()

    async def run(
        self, spec: LaunchSpec, *, run_id: str, console: ConsolePlace | None = None
    ) -> RemoteRun:
        processes = await self._ask("run", spec=spec, run_id=run_id, console=console)
        return RemoteRun(self._wire, run_id, processes)

    async def connect(self, path: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        # The paths of unix sockets are the same in all networks of a host.
        return await asyncio.open_unix_connection(path, limit=LONGEST_LINE)

    async def adopt(
        self, spec: LaunchSpec, *, run_id: str, processes: Sequence[ProcessIdentity]
    ) -> RemoteRun | None:
        found = await self._ask("adopt", spec=spec, run_id=run_id, processes=processes)
        return None if found is None else RemoteRun(self._wire, run_id, found)

    async def sweep(self, run_ids: Collection[str]) -> int:
        return int(await self._ask("sweep", run_ids=run_ids))

    async def signal(self, processes: Sequence[ProcessIdentity], number: int) -> None:
        await self._ask("signal", processes=processes, number=number)

    async def runs_in(self, directory: Path) -> set[str]:
        return set(await self._ask("runs_in", directory=directory))

    async def hurry(self) -> None:
        await self._ask("hurry")

    async def find_program(self, name_or_path: str) -> str | None:
        found: str | None = await self._ask("find_program", name_or_path=name_or_path)
        return found

    async def run_tool(
        self,
        argv: Sequence[str],
        *,
        limit: float = TOOL_SECONDS,
        cwd: str | None = None,
        env: Mapping[str, str] | None = None,
    ) -> ToolResult:
        result: ToolResult = await self._ask("run_tool", argv=argv, limit=limit, cwd=cwd, env=env)
        return result

    async def resolve_ipv4(self, host: str) -> str:
        return str(await self._ask("resolve_ipv4", host=host))

    async def list_interfaces(self) -> Sequence[Mapping[str, str]]:
        return list(await self._ask("list_interfaces"))

    async def is_interface_up(self, name: str) -> bool:
        return bool(await self._ask("is_interface_up", name=name))

    async def can_bind(self, kind: str, port: int) -> bool:
        return bool(await self._ask("can_bind", kind=kind, port=port))

    async def read_file(self, path: str, root: Path) -> bytes | None:
        content: bytes | None = await self._ask("read_file", path=path, root=root)
        return content

    async def place_files(self, directory: Path, root: Path, files: Mapping[str, bytes]) -> None:
        await self._ask("place_files", directory=directory, root=root, files=files)

    async def stamp_file(self, path: str) -> FileStamp:
        stamp: FileStamp = await self._ask("stamp_file", path=path)
        return stamp

    async def make_runtime_directory(self, directory: Path) -> None:
        await self._ask("make_runtime_directory", directory=directory)

    async def remove_runtime_directory(self, directory: Path) -> None:
        await self._ask("remove_runtime_directory", directory=directory)

    async def _ask(self, call: str, **arguments: Any) -> Any:
        return await self._wire.ask(call, **arguments)


# The machine itself ----------------------------------------------------------------------


@dataclass(frozen=True)
class OtherHost:
    """A network namespace with a machine's program, joined to this network by a cable.

    :param path: of the socket of its program.
    :param pid: of its program.
    :param here: the address of this end of the cable.
    :param address: the address of its own end.
    """

    path: str
    pid: int
    here: str
    address: str

    @property
    def network(self) -> str:
        """The identity of its network."""
        return network_of(self.pid)

    def command(self, *argv: str) -> list[str]:
        """A command that runs in its network."""
        return ["nsenter", "-t", str(self.pid), "-n", "--", *argv]

    @asynccontextmanager
    async def machine(self, config: LiveSettings, registry: Registry) -> AsyncIterator[Machine]:
        """The machine that a server is given in place of its own."""
        wire = Wire(*await asyncio.open_unix_connection(self.path, limit=LONGEST_LINE))
        try:
            yield RemoteMachine(
                wire,
                address=self.address,
                console_host=self.address,
                runtime=await wire.ask("runtime"),
                ports=make_ports(config.current, registry),
                gate=StartGate(config.current.server.max_starting),
                images=Images(config, registry.image_kinds),
            )
        finally:
            await wire.close()


def network_of(pid: int | str) -> str:
    """The identity of the network that a process is in."""
    return os.readlink(f"/proc/{pid}/ns/net")


@contextmanager
def other_host() -> Iterator[OtherHost]:
    """Make another machine; the test is skipped where no network can be made for it."""
    with short_directory() as directory, _agent(directory) as host:
        yield host


@contextmanager
def _agent(directory: Path) -> Iterator[OtherHost]:
    path = str(directory / "machine")
    first = NETWORKS + 4 * (os.getpid() % 32768)
    here, there = (str(ipaddress.ip_address(first + last)) for last in (1, 2))
    environ = {**os.environ, "PYTHONPATH": str(HELPERS)}
    arguments = (path, str(directory / "state"), environ.pop(TEST_VARIABLE))
    agent = subprocess.Popen(
        ["unshare", "--net", sys.executable, "-m", "machine_agent", *arguments],
        env=environ,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with agent:
        assert agent.stdin is not None
        assert agent.stdout is not None
        assert agent.stderr is not None
        if agent.stdout.readline() != "ready\n":
            refuse(agent.stderr.read())
        try:
            with cable(agent.pid, here, there):
                yield OtherHost(path, agent.pid, here, there)
        finally:
            agent.stdin.close()
        said = agent.stderr.read()
        assert said == "", said
        assert agent.wait() == 0


@contextmanager
def cable(pid: int, here: str, there: str) -> Iterator[None]:
    """Join this network to that of a process; each end gets an address."""
    mine, inside = f"gns3t{os.getpid()}", ("nsenter", "-t", str(pid), "-n", "--")
    ip("ip", "link", "add", mine, "type", "veth", "peer", "name", THERE, "netns", str(pid))
    try:
        ip("ip", "address", "add", f"{here}/30", "dev", mine)
        ip("ip", "link", "set", mine, "up")
        ip(*inside, "ip", "address", "add", f"{there}/30", "dev", THERE)
        ip(*inside, "ip", "link", "set", THERE, "up")
        ip(*inside, "ip", "link", "set", "lo", "up")
        yield
    finally:
        ip("ip", "link", "delete", mine)


def ip(*argv: str) -> None:
    """Run a network command; the test is skipped where that is not permitted."""
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode:
        refuse(done.stderr)


NOT_FOR_IT = ("does not apply: ", "have no second machine")
"""Why a test may be skipped on another machine that can be made."""


def refuse(why: str) -> None:
    """Skip a test that needs another machine: the kernel does not let this user make one."""
    pytest.skip(f"no network of its own for another machine: {why.strip()}")


def forbid_the_local_machine(patch: pytest.MonkeyPatch) -> None:
    """Make every use of its own machine by a server in this process fail."""

    def leak(*_: object, **__: object) -> None:
        raise AssertionError("a node that is on another machine has come to this one")

    patch.setattr(LocalMachine, "__init__", leak)
    for place, names in LOCAL.items():
        for name in names:
            patch.setattr(place, name, leak)


def rerun_as_its_own_root(*tests: str) -> None:
    """Run tests in an ordinary user's own network, with the rights that root has there.

    The test is skipped for root, who needs no such network, and where the kernel allows none.
    """
    if os.geteuid() == 0:
        pytest.skip("root may make other machines anyway")
    unshare = ["unshare", "--user", "--map-root-user", "--net", "sh", "-c"]
    tried = subprocess.run([*unshare, "true"], capture_output=True, text=True, check=False)
    if tried.returncode:
        refuse(tried.stderr)
    run = [sys.executable, "-m", "pytest", "-c", "tox.ini", "-q", "-p", "no:cacheprovider", *tests]
    script = 'ip link set lo up && exec "$@"'
    done = subprocess.run(
        [*unshare, script, "sh", *run],
        cwd=HELPERS.parents[1],
        env={name: value for name, value in os.environ.items() if "PYTEST" not in name},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    skipped = [line for line in done.stdout.splitlines() if line.startswith("SKIPPED")]
    assert all(any(why in line for why in NOT_FOR_IT) for line in skipped), done.stdout
