"""The example of a plugin with fields and settings of its own, tested as its author would."""

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


@pytest.mark.heavy
@pytest.mark.timeout(180)
def test_its_tests_pass(example: Path) -> None:
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
