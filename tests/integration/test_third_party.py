"""An emulator from somewhere else: one file and a setup.cfg, installed with pip."""

from __future__ import annotations

import asyncio
import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.request import urlopen

import pytest

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "gns3server-web"


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A directory of installed packages with the tutorial's plugin in it."""
    for name in ("pip", "setuptools"):
        assert importlib.util.find_spec(name), f"this test needs {name}: pip install {name}"
    # A copy, because building leaves files behind.
    shutil.copytree(EXAMPLE, tmp_path / "source")
    site = tmp_path / "site"
    argv = [sys.executable, "-m", "pip", "install", "--no-index", "--no-build-isolation"]
    argv += ["--no-deps", "--quiet", "--disable-pip-version-check", "--target", str(site)]
    done = subprocess.run(
        [*argv, str(tmp_path / "source")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    monkeypatch.syspath_prepend(site)
    # Other tests have a module of the same name.
    sys.modules.pop("gns3server_web", None)
    yield site
    sys.modules.pop("gns3server_web", None)


def fetch(port):
    with urlopen(f"http://127.0.0.1:{port}/") as response:
        return response.read()


async def test_an_emulator_in_one_file_is_installed_and_runs(site, gns3_serving):
    assert [path.name for path in site.glob("*.py")] == ["gns3server_web.py"]
    async with gns3_serving() as server:
        client = server.client
        (found,) = [p for p in (await client.get("/v1/plugins")).json if p["name"] == "web"]
        assert (found["status"], found["distribution"]) == ("ok", "gns3server-web")
        project = (await client.post("/v1/projects", {"name": "x"})).json["project_id"]
        nodes = f"/v1/projects/{project}/web/vms"
        answer = await client.post(nodes, {"name": "W", "page": "Hello"})
        assert answer.status == 201
        node = f"{nodes}/{answer.json['vm_id']}"
        assert (await client.post(f"{node}/start")).status == 204
        assert (await client.get(node)).json["status"] == "started"
        assert await asyncio.to_thread(fetch, answer.json["console"]) == b"Hello"
    async with gns3_serving() as server:
        assert (await server.client.get(node)).json["page"] == "Hello"
