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
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from importlib.metadata import EntryPoint, entry_points
from itertools import starmap
from pathlib import Path

import pytest
from api_calls import new_project, new_toy
from clean_environment import make_clean_environment
from raw_http import RawClient
from waiting import until

from gns3server import __version__
from gns3server.testing.server_process import variables

GROUP = "gns3server.plugins"
TOY_DISTRIBUTION = "gns3server-toy"
TOYS = Path(__file__).parent / "toys"


INSTALLED = ",".join(point.name for point in entry_points(group=GROUP))
"""The plugins that happen to be installed: the core's tests are to be the same without them."""


def write_metadata(site: Path, name: str, version: str, more: str = "") -> Path:
    """Have a distribution found as an installed one; tells the directory of its metadata."""
    info = site / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True, exist_ok=True)
    text = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{more}"
    (info / "METADATA").write_text(text)
    return info


def install_plugins(
    site: Path, distribution: str = TOY_DISTRIBUTION, version: str = "1", **plugins: str
) -> str:
    """Have modules found as installed plugins; tells the PYTHONPATH that a server needs for it.

    :param site: a directory, made if need be, which the modules are in unless they are toys.
    :param distribution: what they are installed by. Toys keep what they offer beside all plugins
        that are really installed, because the server is said to come with them.
    :param plugins: the module of each plugin; those of an earlier call are forgotten.
    """
    info = write_metadata(site, distribution, version)
    if distribution == TOY_DISTRIBUTION:
        shipped = (
            f'Provides-Extra: plugins\nRequires-Dist: {TOY_DISTRIBUTION}; extra == "plugins"\n'
        )
        write_metadata(site, "gns3server", __version__, shipped)
    points = "".join(f"{name} = {module}\n" for name, module in plugins.items())
    (info / "entry_points.txt").write_text(f"[{GROUP}]\n{points}")
    return f"{site}{os.pathsep}{TOYS}"


def entry_point(name: str, module: str) -> EntryPoint:
    """The entry point of a plugin in ``tests/toys``."""
    return EntryPoint(name=name, value=module, group=GROUP)


def pytest_configure():
    """Have programs of tests react to signals, even if the tests run in the background."""
    from gns3server.running.launching import catch_ignored_signals

    catch_ignored_signals()


@pytest.fixture
def installed():
    """The names of the plugins that are installed, as the setting ``disabled_plugins`` has them."""
    return INSTALLED


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


@pytest.fixture(scope="session")
def clean_environment(tmp_path_factory):
    """An environment in which nothing is installed yet, and pip needs no package server."""
    return make_clean_environment(tmp_path_factory.mktemp("clean"))


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
    return await new_project(client)


@pytest.fixture
def make_toy(client, project):
    """Creates toys, of a mode for instance, and tells their path."""
    return partial(new_toy, client, project)


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
    return lab.machine.images


@pytest.fixture(name="until")
def offer_until():
    """Awaited with a condition that can be awaited, waits until it is true."""
    return until


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
    server = replace(
        gns3_settings.server, local=False, strict_plugins=False, disabled_plugins=INSTALLED
    )
    return {**gns3_settings.environ, "PYTHONPATH": "", **variables(server)}


@pytest.fixture
def run(environ, tmp_path):
    """Starts the program with arguments, from a shell that first runs ``shell``."""

    async def run(
        *args: str, shell: str = "", out: int = asyncio.subprocess.PIPE, **more: str
    ) -> asyncio.subprocess.Process:
        begin = ("sh", "-c", f'{shell}; exec "$@"', "sh") if shell else ()
        return await asyncio.create_subprocess_exec(
            *(*begin, sys.executable, "-m", "gns3server", *args),
            env={**environ, **more},
            cwd=tmp_path,
            stdout=out,
            stderr=asyncio.subprocess.PIPE,
        )

    return run


@pytest.fixture
def running(run):
    """A program that serves: gives the process, where it listens, and what it printed so far."""

    @asynccontextmanager
    async def running(*args: str, shell: str = "", **more: str):
        process = await run(*args, shell=shell, **more)
        printed = ""
        while "listens on" not in printed or "consoles listen on" not in printed:
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
