"""Ways to see and to hold up what a server does, without a sleep."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from api_calls import new_project
from console_process import ConsoleProcess, Controller, console_process
from faults import held, read_only

from gns3server.projects.project import Project
from gns3server.testing import processes_of
from gns3server.testing.port_blocks import claimed_ports

TOYS = Path(__file__).parents[1] / "toys"


class Gate:
    """Where toys made with ``mode=gate.mode`` wait, their processes alive, until it opens."""

    def __init__(self) -> None:
        self.mode = ""
        self._waiting: asyncio.Queue[asyncio.StreamWriter] = asyncio.Queue()
        self._writers: list[asyncio.StreamWriter] = []
        self._open = False

    async def listen(self) -> asyncio.Server:
        server = await asyncio.start_server(self._reached, "127.0.0.1", 0)
        self.mode = f"gated:{server.sockets[0].getsockname()[1]}"
        return server

    async def _reached(self, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        self._waiting.put_nowait(writer)
        if self._open:
            writer.close()

    async def reached(self, count: int = 1) -> None:
        """Wait until so many more toys wait."""
        for _ in range(count):
            await self._waiting.get()

    def open(self) -> None:
        """Let everybody in, now and later."""
        self._open = True
        for writer in self._writers:
            writer.close()


@pytest.fixture
async def gate(server) -> AsyncIterator[Gate]:
    """A gate for toys that are coming up."""
    gate = Gate()
    async with await gate.listen():
        yield gate
        gate.open()


@pytest.fixture
def arrived(server, monkeypatch):
    """Awaited, waits until one more request has joined the queue of its project."""
    arrivals: asyncio.Queue[tuple[str, ...]] = asyncio.Queue()
    enter = Project.enter

    def spy(project: Project, *node_ids: str, **how: bool) -> Any:
        entry = enter(project, *node_ids, **how)
        arrivals.put_nowait(node_ids)
        return entry

    monkeypatch.setattr(Project, "enter", spy)
    return arrivals.get


@pytest.fixture
def build():
    """Makes a project of a given id with two nodes, the first wired and started."""

    async def build(client, project_id, **values):
        project = await new_project(client, name="lab", project_id=project_id, **values)
        nodes = []
        for number in range(2):
            body = {"name": f"PC{number}", "note": f"note {number}"}
            answer = await client.post(f"{project}/toy/vms", body)
            assert answer.status == 201
            nodes.append(answer.json)
        port = (await client.post(f"{project}/ports/toy")).json["udp_port"]
        nio = {"type": "nio_udp", "lport": port, "rhost": "127.0.0.1", "rport": port + 1}
        toy = f"{project}/toy/vms/{nodes[0]['vm_id']}"
        assert (await client.post(f"{toy}/adapters/1/ports/1/nio", nio)).status == 201
        assert (await client.post(f"{toy}/start")).status == 204
        return nodes

    return build


@pytest.fixture
def check_wire():
    """Checks that a node has the NIO of ``build``: its port is reserved, and freed with it."""

    async def check(client, server, node):
        port = server.settings.server.udp_start_port_range
        assert server.ports.udp.holders(port)
        toy = f"/v1/projects/{node['project_id']}/toy/vms/{node['vm_id']}"
        assert (await client.delete(f"{toy}/adapters/1/ports/1/nio")).status == 204
        assert not server.ports.udp.holders(port)

    return check


@pytest.fixture
def hold_disk(lab):
    """A context in which no change gets to the disk, as on one that is very slow."""
    return partial(held, lab.projects.databases)


@pytest.fixture
def read_only_records(lab):
    """A context in which the records of a project, or without one the server's, do not take any
    change: ``async with read_only_records(project):``.
    """

    def switch(project: str = "") -> AbstractAsyncContextManager[None]:
        manager = lab.projects
        if not project:
            return read_only(manager.databases, lab.live_settings.current.state_path / "server.db")
        path = manager.get(project.rpartition("/")[2]).path
        return read_only(manager.databases, path / "project.db")

    return switch


NOTES = """
async def prepare(self, values, plain=ToyNode.prepare):
    change, note = await plain(self, values), values.get("note")
    return Change(
        properties=change.properties, files={} if note is None else {"note": note.encode()}
    )
from gns3server.plugin import Change
ToyNode.prepare = prepare
"""
"""What makes toys keep their note in a file."""


@pytest.fixture
def toys_at(install_plugins, tmp_path):
    """A directory in which a server of its own finds the toy, as one that keeps files."""
    site = tmp_path / "site"
    install_plugins(site, toy="own_toy")
    (site / "own_toy.py").write_text((TOYS / "toy_emulator.py").read_text() + NOTES)
    return site


@pytest.fixture
def toy_process(gns3_process, toys_at, installed):
    """Makes servers that are processes of their own, as ``gns3_process`` does, with toys that
    keep files, and no other plugin.
    """
    return partial(
        gns3_process,
        environ={"PYTHONPATH": str(toys_at)},
        strict_plugins=False,
        disabled_plugins=installed,
    )


@pytest.fixture
def serving(gns3_serving, make_entry_point):
    """Makes servers with the toy emulator, in this process and one after the other on the same
    directories.
    """
    return partial(gns3_serving, plugins=[make_entry_point("toy", "toy_emulator")])


@pytest.fixture
def serve(gns3_process, install_plugins, installed, tmp_path):
    """Starts servers with the toy emulator, one after the other on the same directories, that
    are processes of their own.

    The source of one more plugin can be given, and what they are run under.
    """
    site = tmp_path / "site"

    def serve(
        *args: str, plugin: str = "", environ: Mapping[str, str] | None = None, **options: Any
    ) -> Any:
        more = {"more": "one_more"} if plugin else {}
        found_at = install_plugins(site, toy="toy_emulator", **more)
        (site / "one_more.py").write_text(plugin)
        options.setdefault("strict_plugins", False)
        options.setdefault("disabled_plugins", installed)
        return gns3_process(*args, environ={"PYTHONPATH": found_at, **(environ or {})}, **options)

    return serve


@pytest.fixture
def nodes(gns3_settings):
    """Tells the processes of nodes by pid: those of the test's servers left out."""

    def nodes() -> set[int]:
        found = processes_of(gns3_settings.environ["GNS3_TEST_ID"])
        return {pid for pid, command in found.items() if "-m gns3server" not in command}

    return nodes


# The console server -----------------------------------------------------------------


@pytest.fixture
async def consoles() -> AsyncIterator[ConsoleProcess]:
    """A console server, with nobody who controls it yet."""
    with claimed_ports() as ports:
        async with console_process(ports.first) as running:
            yield running


@pytest.fixture
async def controller(consoles: ConsoleProcess) -> Controller:
    """Whoever controls it."""
    return await consoles.controller()
