"""Fixtures of the core's tests: a server with the toy emulator and nothing else, in this process
or as a program, and a client that sends bytes.
"""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
import uuid
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from importlib.metadata import EntryPoint
from itertools import starmap
from pathlib import Path
from typing import Any

import orjson
import pytest

from gns3server.testing.server_process import variables

GROUP = "gns3server.plugins"
TOYS = Path(__file__).parent / "toys"


def install_plugins(
    site: Path, distribution: str = "gns3server-toy", version: str = "1", **plugins: str
) -> str:
    """Have modules found as installed plugins; tells the PYTHONPATH that a server needs for it.

    :param site: a directory, made if need be, which the modules are in unless they are toys.
    :param distribution: what they are installed by; the toy keeps what it offers beside all
        plugins that are really installed, because this is named for it.
    :param plugins: the module of each plugin; those of an earlier call are forgotten.
    """
    info = site / f"{distribution.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True, exist_ok=True)
    metadata = f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n"
    (info / "METADATA").write_text(metadata)
    points = "".join(f"{name} = {module}\n" for name, module in plugins.items())
    (info / "entry_points.txt").write_text(f"[{GROUP}]\n{points}")
    return f"{site}{os.pathsep}{TOYS}"


def entry_point(name: str, module: str) -> EntryPoint:
    """The entry point of a plugin in ``tests/toys``."""
    return EntryPoint(name=name, value=module, group=GROUP)


@pytest.fixture
def make_entry_point():
    """Makes entry points: ``make_entry_point("toy", "toy_emulator")``."""
    return entry_point


@pytest.fixture(name="install_plugins")
def offer_install_plugins():
    """Makes plugins installed ones: see :func:`install_plugins`."""
    return install_plugins


@pytest.fixture
def faulty_plugin(tmp_path, monkeypatch):
    """Makes entry points of modules that are ``toy_plugin.py`` with a fault put at its end.

    ``faulty_plugin("raise RuntimeError")`` is called ``mine``, as its node type.
    """
    monkeypatch.syspath_prepend(tmp_path)

    def make(fault: str = "", *, name: str = "mine", source: str = "toy_plugin.py") -> EntryPoint:
        module = f"toy_{uuid.uuid4().hex}"
        text = (TOYS / source).read_text()
        (tmp_path / f"{module}.py").write_text(f"{text}\n\n{fault}\n")
        return entry_point(name, module)

    return make


@pytest.fixture
def plugins():
    """The plugins of ``server``, name and module: the toy emulator unless a test has others."""
    return {"toy": "toy_emulator"}


@pytest.fixture
async def server(gns3_serving, plugins):
    """A server with the test's plugins and no other."""
    async with gns3_serving(plugins=[*starmap(entry_point, plugins.items())]) as running:
        yield running


@pytest.fixture
def client(server):
    """A client of ``server``."""
    return server.client


@pytest.fixture
async def project(client):
    """The path of a new project on ``server``."""
    answer = await client.post("/v1/projects", {"name": "test"})
    assert answer.status == 201, answer
    return f"/v1/projects/{answer.json['project_id']}"


@pytest.fixture
def make_toy(client, project):
    """Creates toys, of a mode for instance, and tells their path."""

    async def make(**values):
        answer = await client.post(f"{project}/toy/vms", {"name": "toy", **values})
        assert answer.status == 201, answer
        return f"{project}/toy/vms/{answer.json['vm_id']}"

    return make


@pytest.fixture
def small_disk(tmp_path):
    """A file system of half a megabyte; the test is skipped where none can be mounted."""
    path = tmp_path / "small-disk"
    path.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(path)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no file system can be mounted here: {error}")
    yield path
    subprocess.run(["umount", "--lazy", str(path)], check=True)


@pytest.fixture
def lab(server):
    """The wired-up core behind ``server``."""
    return server.running.server


@pytest.fixture
def images(lab):
    """The image files of ``server``."""
    return lab.images


async def becomes_true(condition: Callable[[], Awaitable[bool]], limit: float = 30.0) -> None:
    """Look again and again at what tells nobody of its changes: a file, another process."""
    async with asyncio.timeout(limit):
        while True:
            if await condition():
                return
            await asyncio.sleep(0.05)


@pytest.fixture
def until():
    """Awaited with a condition that can be awaited, waits until it is true."""
    return becomes_true


# Bytes ------------------------------------------------------------------------------


@dataclass
class RawAnswer:
    """An answer, byte for byte."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)


async def read_answer(reader: asyncio.StreamReader, *, body: bool = True) -> RawAnswer:
    """Read one answer; without Content-Length, or if it tells of no ``body``, to the very end."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    first, *lines = head.removesuffix("\r\n\r\n").split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    size = int(headers["Content-Length"]) if body and "Content-Length" in headers else None
    content = await (reader.read() if size is None else reader.readexactly(size))
    return RawAnswer(int(first.split()[1]), headers, content)


class RawClient:
    """Sends bytes."""

    def __init__(self, port: int) -> None:
        self.port = port

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port)

    async def send(self, data: bytes) -> RawAnswer:
        """Send everything, read the answer, hang up."""
        reader, writer = await self.connect()
        try:
            writer.write(data)
            return await read_answer(reader, body=not data.startswith(b"HEAD"))
        finally:
            writer.close()

    async def talk(self, data: bytes) -> bytes:
        """Send everything, read until the server hangs up."""
        reader, writer = await self.connect()
        try:
            writer.write(data)
            return await reader.read()
        finally:
            writer.close()

    async def request(
        self, method: str, path: str, *headers: str, body: bytes = b"", host: str = "localhost"
    ) -> RawAnswer:
        """Send one request with exactly these headers besides the necessary ones."""
        lines = [f"{method} {path} HTTP/1.1", f"Host: {host}", "Connection: close", *headers]
        if body and not any(line.startswith("Transfer-Encoding") for line in headers):
            lines.append(f"Content-Length: {len(body)}")
        return await self.send("\r\n".join([*lines, "", ""]).encode() + body)


@pytest.fixture
def raw_client():
    """Makes clients that speak HTTP byte by byte, of a port."""
    return RawClient


@pytest.fixture
def raw(server) -> RawClient:
    """A client that speaks HTTP byte by byte."""
    return RawClient(server.running.port)


# The program ------------------------------------------------------------------------


@pytest.fixture
def environ(gns3_settings):
    """An environment in which the program shares nothing with any other."""
    server = replace(gns3_settings.server, local=False, strict_plugins=False)
    return {**gns3_settings.environ, "PYTHONPATH": "", **variables(server)}


@pytest.fixture
def run(environ, tmp_path):
    """Starts the program with arguments; ``limit`` is of its file descriptors."""

    async def run(*args: str, limit: int = 0, **more: str) -> asyncio.subprocess.Process:
        shell = ("sh", "-c", f'ulimit -n {limit}; exec "$@"', "sh") if limit else ()
        return await asyncio.create_subprocess_exec(
            *(*shell, sys.executable, "-m", "gns3server", *args),
            env={**environ, **more},
            cwd=tmp_path,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )

    return run


@pytest.fixture
def running(run):
    """A program that serves: gives the process, where it listens, and what it printed so far."""

    @asynccontextmanager
    async def running(*args: str, limit: int = 0, **more: str):
        process = await run(*args, limit=limit, **more)
        printed = ""
        while "listens on" not in printed or "consoles of emulators" not in printed:
            line = (await process.stdout.readline()).decode()
            assert line, printed + (await process.stderr.read()).decode()
            printed += line
        url = re.search(r"listens on (\S+)", printed)
        assert url is not None
        try:
            yield process, url[1], printed
        finally:
            if process.returncode is None:
                process.kill()
            await process.communicate()

    return running
