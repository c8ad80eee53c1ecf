"""Fixtures of the core's tests: a server with the toy emulator and nothing else."""

from __future__ import annotations

import subprocess
import uuid
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

GROUP = "gns3server.plugins"
TOYS = Path(__file__).parent / "toys"


def entry_point(name: str, module: str) -> EntryPoint:
    """The entry point of a plugin in ``tests/toys``."""
    return EntryPoint(name=name, value=module, group=GROUP)


@pytest.fixture
def make_entry_point():
    """Makes entry points: ``make_entry_point("toy", "toy_emulator")``."""
    return entry_point


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
async def server(gns3_serving):
    """A server whose only plugin is the toy emulator."""
    async with gns3_serving(plugins=[entry_point("toy", "toy_emulator")]) as running:
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
