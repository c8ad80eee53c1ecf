"""The machine that the server itself is on."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from gns3server.files import durable
from gns3server.files.images import Images
from gns3server.files.safe_open import directory_beneath
from gns3server.files.small_files import SmallFiles
from gns3server.ports import Ports, can_bind
from gns3server.running import network, runtime, tools
from gns3server.running.console import ConsolePlace
from gns3server.running.control import MAX_LINE
from gns3server.running.gate import StartGate
from gns3server.running.identity import ProcessIdentity
from gns3server.running.local import LocalRunner
from gns3server.running.local_run import LocalRun
from gns3server.running.machine import FileStamp, Machine
from gns3server.running.spec import LaunchSpec
from gns3server.running.threads import SeparateThreads


class LocalMachine(Machine):
    """Implements :class:`~gns3server.running.machine.Machine`, which says what its methods do.

    To be made on the loop, in the main thread, and closed.

    :param base_env: the environment of every program.
    :param search_path: where programs are looked up.
    :raises OSError: no threads can be started.
    """

    def __init__(
        self,
        base_env: Mapping[str, str],
        *,
        search_path: str,
        console_host: str,
        runtime: Path,
        ports: Ports,
        gate: StartGate,
        images: Images,
    ) -> None:
        super().__init__(
            address="127.0.0.1",
            console_host=console_host,
            runtime=runtime,
            ports=ports,
            gate=gate,
            images=images,
        )
        self._base_env = base_env
        self._search_path = search_path
        self._files = SmallFiles()
        self._runner = LocalRunner(base_env)
        self._resolver = network.Resolver(ready=1)
        self._tools = SeparateThreads("tool", tools.MOST_TOOLS)

    async def close(self) -> None:
        """Finish stops that have begun, then let go of all other runs without stopping them."""
        self._resolver.close()
        self._tools.close()
        await self._runner.close()
        await asyncio.to_thread(runtime.remove_base, self.runtime)

    # Runs ----------------------------------------------------------------------------

    async def run(
        self, spec: LaunchSpec, *, run_id: str, console: ConsolePlace | None = None
    ) -> LocalRun:
        return await self._runner.spawn(spec, run_id=run_id, console=console)

    async def connect(self, path: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_unix_connection(path, limit=MAX_LINE)

    async def adopt(
        self, spec: LaunchSpec, *, run_id: str, processes: Sequence[ProcessIdentity]
    ) -> LocalRun | None:
        return await self._runner.adopt(spec, run_id=run_id, processes=processes)

    async def sweep(self, run_ids: Collection[str]) -> int:
        return await self._runner.sweep(run_ids)

    async def signal(self, processes: Sequence[ProcessIdentity], number: int) -> None:
        await self._runner.signal(processes, number)

    async def runs_in(self, directory: Path) -> set[str]:
        return await self._runner.runs_in(directory)

    async def hurry(self) -> None:
        self._runner.hurry()

    # Programs ------------------------------------------------------------------------

    async def find_program(self, name_or_path: str) -> str | None:
        return await asyncio.to_thread(tools.find_program, name_or_path, self._search_path)

    async def run_tool(
        self,
        argv: Sequence[str],
        *,
        limit: float = tools.TOOL_SECONDS,
        cwd: str | None = None,
        env: Mapping[str, str] | None = None,
    ) -> tools.ToolResult:
        env = self._base_env if env is None else env
        return await tools.run_tool(argv, limit=limit, cwd=cwd, env=env, threads=self._tools)

    # The network ---------------------------------------------------------------------

    async def resolve_ipv4(self, host: str) -> str:
        return await self._resolver.resolve_ipv4(host)

    async def list_interfaces(self) -> Sequence[Mapping[str, str]]:
        return await asyncio.to_thread(network.list_interfaces)

    async def is_interface_up(self, name: str) -> bool:
        return await network.is_interface_up(name)

    async def can_bind(self, kind: str, port: int) -> bool:
        return can_bind(kind, port)

    # Files ---------------------------------------------------------------------------

    async def read_file(self, path: str, root: Path) -> bytes | None:
        return await self._files.read(path, root)

    async def place_files(self, directory: Path, root: Path, files: Mapping[str, bytes]) -> None:
        await asyncio.to_thread(_place, directory, root, files)

    async def stamp_file(self, path: str) -> FileStamp:
        status = await asyncio.to_thread(Path(path).stat)
        return FileStamp(status.st_size, status.st_mtime_ns)

    async def make_runtime_directory(self, directory: Path) -> None:
        await asyncio.to_thread(runtime.make, directory)

    async def remove_runtime_directory(self, directory: Path) -> None:
        await asyncio.to_thread(runtime.remove, directory)


def _place(directory: Path, root: Path, files: Mapping[str, bytes]) -> None:
    with directory_beneath(root, directory, make=True) as place:
        durable.stage(place, files)
        durable.replace(place, files)
        durable.sync_directory(place)
