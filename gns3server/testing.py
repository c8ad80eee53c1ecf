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
import socket
import uuid
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

# Before it is imported: so that its assertions tell what they have compared.
pytest.register_assert_rewrite("gns3server.conformance")

from gns3server.conformance import NodeTypeConformance  # noqa: E402

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from gns3server.app import RunningServer
    from gns3server.http.client import Answer, Client
    from gns3server.settings import Settings

__all__ = [
    "Answer",
    "Client",
    "LabServer",
    "NodeTypeConformance",
    "PortBlock",
    "ResponseCheck",
    "ServerFactory",
    "claimed_ports",
    "gns3_client",
    "gns3_project",
    "gns3_server",
    "gns3_serving",
    "gns3_settings",
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


class ResponseCheck:
    """Checks answers against the server's own API document.

    marshmallow validates nothing that it dumps, so this is what holds the
    server to its document.
    """

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._document = document

    def __call__(self, answer: Answer) -> None:
        """Check one answer.

        :raises AssertionError: its status is not documented or its body does not fit.
        """
        from openapi_schema_validator import OAS30ReadValidator

        from gns3server.http.routing import JSON, PARAMETER

        if not answer.route:
            assert answer.status >= 400, f"{answer} comes from no route"
            assert set(answer.json) >= {"message", "status"}, answer
            return
        path = PARAMETER.sub(r"{\1}", answer.route)
        responses = self._document["paths"][path][answer.method.lower()]["responses"]
        assert str(answer.status) in responses, f"{answer} has an undocumented status"
        content = responses[str(answer.status)].get("content")
        if content is None:
            assert answer.body == b"", f"{answer} must be empty"
            return
        media = answer.headers["Content-Type"]
        if JSON not in content:
            assert media.partition(";")[0] in content, f"{answer} is of an undocumented type"
            return
        assert media == JSON, answer
        schema = {
            "allOf": [content[JSON]["schema"]],
            "components": self._document["components"],
        }
        errors = list(OAS30ReadValidator(schema).iter_errors(answer.json))
        assert not errors, f"{answer} does not fit its schema: {errors[0].message}"


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
        return self.running.lab.manager.machine.ports


ServerFactory = Callable[..., AbstractAsyncContextManager[LabServer]]


@pytest.fixture
def gns3_settings(tmp_path: Path) -> Iterator[Settings]:
    """Settings of a server that shares nothing with any other; checks that no process is left."""
    from gns3server.settings import ServerSettings, Settings

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
            environ={**os.environ, "HOME": str(tmp_path), TEST_VARIABLE: test_id},
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
        from gns3server.config import Config
        from gns3server.http.client import Client

        settings = replace(
            gns3_settings,
            server=replace(gns3_settings.server, **server),
            sections=sections or {},
            environ={**gns3_settings.environ, **(environ or {})},
        )
        running_server = app.serving(
            Config(lambda: settings), found=plugins, plugin_seconds=plugin_seconds
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
def gns3_client(gns3_server: LabServer) -> Client:
    """A client of the test's server; every answer is checked against the API document."""
    return gns3_server.client


@pytest.fixture
async def gns3_project(gns3_client: Client) -> str:
    """The path of a new project, as ``/v1/projects/<id>``."""
    answer = await gns3_client.post("/v1/projects", {"name": "test"})
    assert answer.status == 201, answer
    return f"/v1/projects/{answer.json['project_id']}"
