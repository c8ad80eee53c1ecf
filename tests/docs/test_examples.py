"""The tutorial's plugin, tested as the tutorial says."""

from __future__ import annotations

import configparser
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "gns3server-web"
TUTORIAL = EXAMPLE.parents[1] / "tutorial.rst"


@pytest.fixture
def example(install_plugins, tmp_path: Path) -> Path:
    """A copy of the plugin, installed as far as a server in this directory sees it.

    Not by pip: environments that tests run in need not have it.
    """
    folder = tmp_path / "web"
    shutil.copytree(EXAMPLE, folder)
    setup = configparser.ConfigParser()
    setup.read(folder / "setup.cfg")
    entry_points = setup["options.entry_points"]["gns3server.plugins"].strip().splitlines()
    plugins = dict(line.split(" = ") for line in entry_points)
    install_plugins(folder, setup["metadata"]["name"], setup["metadata"]["version"], **plugins)
    return folder


def test_the_tutorial_shows_every_file_of_its_plugin() -> None:
    text = TUTORIAL.read_text()
    shown = {"setup.cfg", "gns3server_web.py", "tests/test_web.py"}
    assert all(f"examples/gns3server-web/{name}" in text for name in shown)
    assert (EXAMPLE / "pyproject.toml").read_text().splitlines()[1] in text
    files = {
        str(path.relative_to(EXAMPLE))
        for path in EXAMPLE.rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    assert files == shown | {"pyproject.toml"}


@pytest.mark.heavy
@pytest.mark.timeout(180)
def test_the_tests_of_the_tutorial_pass(example: Path) -> None:
    (example / "tox.ini").write_text("[pytest]\nasyncio_mode = auto\n")
    argv = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", "tests"]
    env = {**os.environ, "PYTHONPATH": str(example), "PYTEST_ADDOPTS": ""}
    done = subprocess.run(argv, cwd=example, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"\b\d\d passed, \d skipped in ", done.stdout), done.stdout


def test_the_server_shows_the_plugin(example: Path, tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "gns3server", "plugins"]
    env = {**os.environ, "PYTHONPATH": str(example), "HOME": str(tmp_path)}
    done = subprocess.run(argv, env=env, capture_output=True, text=True, check=False)
    assert "web 0.1.0 (gns3server-web): ok" in done.stdout, done.stdout + done.stderr
