"""The fixtures: a server for each test, its clients, and ports of its own."""

from __future__ import annotations

import os
import shutil
import sys
import uuid
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from gns3server.testing.api_checks import ResponseCheck, check_snapshot
from gns3server.testing.lab_server import LabServer, ServerFactory
from gns3server.testing.leftovers import TEST_VARIABLE, nothing_left
from gns3server.testing.port_blocks import claimed_ports
from gns3server.testing.server_process import ServerProcess, server_process

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from gns3server.app import MakeMachine, RunningServer
    from gns3server.http.client import Client
    from gns3server.settings.schema import Settings

RENEW = "--gns3-renew"
"""The option that writes snapshots anew."""


Offer = tuple[object, ...]
"""What servers have in common whose API documents are the same."""

CHECKS = pytest.StashKey[dict[Offer, ResponseCheck]]()
"""The checks of servers that differ, by the last that used them."""

MOST_CHECKS = 8
"""How many are kept: tests that write a plugin have a document that no other test has."""

SnapshotCheck = Callable[[Any], None]
ProcessFactory = Callable[..., AbstractAsyncContextManager[ServerProcess]]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Offer to renew snapshots."""
    parser.addoption(
        RENEW, action="store_true", help="gns3server: write snapshots of API documents anew"
    )


@pytest.fixture
def gns3_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """Settings of a server that shares nothing with any other; kills and reports what is left."""
    from gns3server.running.runtime import runtime_base
    from gns3server.settings.schema import Settings
    from gns3server.settings.server import ServerSettings

    test_id = uuid.uuid4().hex
    # Also inherited by what a plugin itself starts, in the process of the test.
    monkeypatch.setenv(TEST_VARIABLE, test_id)
    with claimed_ports() as ports, nothing_left(test_id):
        settings = Settings(
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
                # To know its processes by.
                environment=TEST_VARIABLE,
            ),
            environ={
                **os.environ,
                "HOME": str(tmp_path),
                "XDG_CONFIG_HOME": str(tmp_path / "config"),
                TEST_VARIABLE: test_id,
            },
        )
        yield settings
        # A server that was killed leaves files that the next one would have used again.
        user_runtime = settings.environ.get("XDG_RUNTIME_DIR")
        shutil.rmtree(runtime_base(settings.state_path, user_runtime), ignore_errors=True)


@pytest.fixture
def gns3_serving(gns3_settings: Settings, pytestconfig: pytest.Config) -> ServerFactory:
    """Make servers with other settings or plugins.

    Use it as::

        async with gns3_serving(local=False, plugins=[...]) as server:
            answer = await server.client.get("/v1/version")

    ``plugins`` are entry points; keywords replace ``[Server]`` settings;
    ``sections`` and ``environ`` add to the rest; ``plugin_seconds`` is how long
    one call into a plugin may take; ``machine`` makes the machine that nodes run on.
    """

    @asynccontextmanager
    async def serving(
        *,
        plugins: Iterable[EntryPoint] | None = None,
        sections: Mapping[str, Mapping[str, str]] | None = None,
        environ: Mapping[str, str] | None = None,
        plugin_seconds: float = 10.0,
        machine: MakeMachine | None = None,
        **server: Any,
    ) -> AsyncIterator[LabServer]:
        from gns3server import app
        from gns3server.http.client import Client
        from gns3server.settings.live import LiveSettings

        lab_server = LabServer(
            replace(
                gns3_settings,
                server=replace(gns3_settings.server, **server),
                said={Path("test"): sections or {}},
                environ={**gns3_settings.environ, **(environ or {})},
            )
        )
        plugins = None if plugins is None else tuple(plugins)
        async with app.serving(
            LiveSettings(lambda **_: lab_server.settings),
            found=plugins,
            plugin_seconds=plugin_seconds,
            machine=machine,
        ) as lab_server.running:
            # To write the API document takes longer than to start. Sections of settings and
            # variables may change what a plugin offers.
            usual = not sections and not environ
            checks = pytestconfig.stash.setdefault(CHECKS, {})
            offer = _offer(lab_server.running, plugins)
            check = checks.pop(offer, None) if usual else None
            if check is None:
                check = await _response_check(lab_server.url)
            if usual and check.knows_routes:
                checks[offer] = check
                if len(checks) > MOST_CHECKS:
                    del checks[next(iter(checks))]
            async with Client(lab_server.url, check) as lab_server.client:
                yield lab_server

    return serving


def _offer(running: RunningServer, plugins: Iterable[EntryPoint] | None) -> Offer:
    """The routes of a server, and the modules of its plugins: a test may write one anew."""
    modules = [sys.modules.get(plugin.module) for plugin in plugins or ()]
    routes = [(route.method, route.path, route.plugin) for route in running.routes]
    return (plugins is None, *modules, *routes)


async def _response_check(url: str) -> ResponseCheck:
    from gns3server.http.client import Client

    async with Client(url) as client:
        return ResponseCheck((await client.get("/v1/openapi.json")).json)


@pytest.fixture
async def gns3_server(gns3_serving: ServerFactory) -> AsyncIterator[LabServer]:
    """A real server on a free port with all installed plugins."""
    async with gns3_serving() as server:
        yield server


@pytest.fixture
def gns3_process(gns3_settings: Settings) -> ProcessFactory:
    """Make servers in separate processes, one after the other on the same directories.

    Use it as::

        async with gns3_process("--keep-nodes") as server:
            await server.client.get("/v1/version")
            await server.kill()

    ``environ`` adds to its environment; keywords replace ``[Server]`` settings; ``under`` is a
    command that it is run under, as ``("prlimit", "--nofile=64")``. Nodes outlive a server that
    was killed: if one is left at the end, the test fails and the node is killed.
    """
    return partial(server_process, gns3_settings)


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

    Every change of the contract thus shows as a difference. A plugin compares its
    own part of it::

        async def test_the_contract_is_the_reviewed_one(gns3_client, gns3_snapshot):
            document = (await gns3_client.get("/v1/openapi.json")).json
            gns3_snapshot(part_of(document, "myemulator"))

    The first time, and for every intended change, run pytest with ``--gns3-renew``.
    """
    path = request.path.with_name("openapi.json")
    renew = request.config.getoption(RENEW)
    return lambda value: check_snapshot(value, path, renew=renew)
