"""For plugin authors: a real server, a client and a conformance suite, as pytest fixtures.

Installed with ``pip install gns3server[testing]``, the fixtures are there
without an import::

    async def test_my_emulator_starts(gns3_client, gns3_project):
        vm = await gns3_client.post(f"{gns3_project}/myemulator/vms", {"name": "one"})
        assert vm.status == 201

Each test gets a server of its own, with directories and port ranges of its own,
and fails if a process is left when it is over. The client checks every answer
against the server's OpenAPI document.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import uuid
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

# Before they are imported: so that their assertions tell what they have compared.
pytest.register_assert_rewrite("gns3server.testing.conformance", "gns3server.testing.api_checks")

from gns3server.testing.api_checks import ResponseCheck, check_snapshot, part_of  # noqa: E402
from gns3server.testing.conformance import NodeTypeConformance  # noqa: E402
from gns3server.testing.server_process import ServerProcess, server_process  # noqa: E402

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from gns3server.app import RunningServer
    from gns3server.http.client import Answer, Client
    from gns3server.settings.schema import Settings

__all__ = [
    "Answer",
    "Client",
    "LabServer",
    "NodeTypeConformance",
    "PortBlock",
    "ResponseCheck",
    "ServerFactory",
    "ServerProcess",
    "SnapshotCheck",
    "claimed_ports",
    "gns3_client",
    "gns3_process",
    "gns3_project",
    "gns3_server",
    "gns3_serving",
    "gns3_settings",
    "gns3_snapshot",
    "part_of",
    "processes_of",
]


def __getattr__(name: str) -> Any:
    # Late, because every run of pytest on this machine loads this module.
    if name in ("Answer", "Client"):
        from gns3server.http import client

        return getattr(client, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


TEST_VARIABLE = "GNS3_TEST_ID"
"""Set for every server of a test and inherited by whatever it starts."""

RENEW = "--gns3-renew"
"""The option that writes snapshots anew."""

PORT_BLOCK = 500
PORTS_TRIED = 50
PORT_BLOCKS = range(11000, 32000, PORT_BLOCK)


@dataclass(frozen=True, slots=True)
class PortBlock:
    """A range of ports that no other test on this machine uses meanwhile."""

    first: int
    last: int


def _is_free(first: int) -> bool:
    """Whether nothing of an earlier test still fades out where a block's tests begin."""
    from gns3server.ports import can_bind

    return all(can_bind(kind, first + n) for n in range(PORTS_TRIED) for kind in ("TCP", "UDP"))


@contextlib.contextmanager
def claimed_ports() -> Iterator[PortBlock]:
    """Claim a block of ports below the kernel's own range.

    A name in the abstract socket namespace marks the claim: it works between
    processes and ends with the one that made it.
    """
    blocks = list(PORT_BLOCKS)
    random.shuffle(blocks)
    for first in blocks:
        mark = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            mark.bind(f"\0gns3server-test-ports-{first}")
        except OSError:
            mark.close()
            continue
        with mark:
            if not _is_free(first):
                continue
            yield PortBlock(first, first + PORT_BLOCK - 1)
            return
    raise RuntimeError("all blocks of test ports are in use: are many test runs active?")


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
    """A real server of one test."""

    def __init__(self, running: RunningServer, client: Client, settings: Settings) -> None:
        self.running = running
        self.client = client
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
        return self.running.server.manager.machine.ports


SnapshotCheck = Callable[[Any], None]
ServerFactory = Callable[..., AbstractAsyncContextManager[LabServer]]
ProcessFactory = Callable[..., AbstractAsyncContextManager[ServerProcess]]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Offer to renew snapshots."""
    parser.addoption(
        RENEW, action="store_true", help="gns3server: write snapshots of API documents anew"
    )


@pytest.fixture
def gns3_settings(tmp_path: Path) -> Iterator[Settings]:
    """Settings of a server that shares nothing with any other; checks that no process is left."""
    from gns3server.settings.schema import ServerSettings, Settings

    test_id = uuid.uuid4().hex
    with claimed_ports() as ports:
        yield Settings(
            server=ServerSettings(
                port=0,
                local=True,
                projects_path=str(tmp_path / "projects"),
                images_path=str(tmp_path / "images"),
                state_path=str(tmp_path / "state"),
                console_start_port_range=ports.first,
                console_end_port_range=ports.last,
                udp_start_port_range=ports.first,
                udp_end_port_range=ports.last,
                strict_plugins=True,
            ),
            environ={
                **os.environ,
                "HOME": str(tmp_path),
                "XDG_CONFIG_HOME": str(tmp_path / "config"),
                TEST_VARIABLE: test_id,
            },
        )
        left = processes_of(test_id)
        assert not left, f"processes were left behind: {left}"


@pytest.fixture
def gns3_serving(gns3_settings: Settings) -> ServerFactory:
    """Make servers with other settings or plugins.

    Use it as::

        async with gns3_serving(local=False, plugins=[...]) as server:
            answer = await server.client.get("/v1/version")

    ``plugins`` are entry points; keywords replace ``[Server]`` settings;
    ``sections`` and ``environ`` add to the rest; ``plugin_seconds`` is how long
    one call into a plugin may take.
    """

    @asynccontextmanager
    async def serving(
        *,
        plugins: Iterable[EntryPoint] | None = None,
        sections: Mapping[str, Mapping[str, str]] | None = None,
        environ: Mapping[str, str] | None = None,
        plugin_seconds: float = 10.0,
        **server: Any,
    ) -> AsyncIterator[LabServer]:
        from gns3server import app
        from gns3server.http.client import Client
        from gns3server.settings.live import LiveSettings

        settings = replace(
            gns3_settings,
            server=replace(gns3_settings.server, **server),
            sections=sections or {},
            environ={**gns3_settings.environ, **(environ or {})},
        )
        running_server = app.serving(
            LiveSettings(lambda: settings), found=plugins, plugin_seconds=plugin_seconds
        )
        async with running_server as running:
            async with Client(running.url) as first:
                document = (await first.get("/v1/openapi.json")).json
            async with Client(running.url, ResponseCheck(document)) as client:
                yield LabServer(running, client, settings)

    return serving


@pytest.fixture
async def gns3_server(gns3_serving: ServerFactory) -> AsyncIterator[LabServer]:
    """A real server on a free port with all installed plugins."""
    async with gns3_serving() as server:
        yield server


@pytest.fixture
def gns3_process(gns3_settings: Settings) -> Iterator[ProcessFactory]:
    """Make servers that are processes of their own, one after the other on the same directories.

    Use it as::

        async with gns3_process("--keep-nodes") as server:
            await server.client.get("/v1/version")
            await server.kill()

    ``environ`` adds to its environment; keywords replace ``[Server]`` settings; ``under`` is a
    command that it is run under, as ``("prlimit", "--nofile=64")``. Nodes outlive a server that
    was killed: the test fails if one is left at its end.
    """
    yield partial(server_process, gns3_settings)
    left = processes_of(gns3_settings.environ[TEST_VARIABLE])
    for pid in left:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    assert not left, f"processes were left behind: {left}"


@pytest.fixture
def gns3_client(gns3_server: LabServer) -> Client:
    """A client of the test's server; every answer is checked against the API document."""
    return gns3_server.client


@pytest.fixture
async def gns3_project(gns3_client: Client) -> str:
    """The path of a new project, as ``/v1/projects/<id>``."""
    answer = await gns3_client.post("/v1/projects", {"name": "test"})
    assert answer.status == 201, answer
    return f"/v1/projects/{answer.json['project_id']}"


@pytest.fixture
def gns3_snapshot(request: pytest.FixtureRequest) -> SnapshotCheck:
    """Compare an API document with the one that was reviewed: ``openapi.json`` beside the test.

    So every change of the contract shows in a difference. A plugin compares its
    own part of it::

        async def test_the_contract_is_the_reviewed_one(gns3_client, gns3_snapshot):
            document = (await gns3_client.get("/v1/openapi.json")).json
            gns3_snapshot(part_of(document, "myemulator"))

    The first time, and whenever a change is meant, run pytest with ``--gns3-renew``.
    """
    path = request.path.with_name("openapi.json")
    renew = request.config.getoption(RENEW)
    return lambda value: check_snapshot(value, path, renew=renew)
