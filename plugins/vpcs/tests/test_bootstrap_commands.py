"""The README's first two commands, for real, on a copy of the repository that was never set up.

They download packages, as the environment of these tests did. ``test`` is run with one of its
environments: all of them would include this very test.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from gns3server.testing import marks, processes_of

ROOT = Path(__file__).parents[3]
LEFT_OUT = shutil.ignore_patterns(".*", "build", "*.egg-info", "__pycache__", "_build")
REPLY = re.compile(r"icmp_seq=\d+ .*time=")
LIMIT = 280


@pytest.fixture
def fresh(tmp_path):
    """Runs a command line in the copy, outside of this test's own environment.

    What a command leaves is in the copy and in the caches of pip and uv: no process, and nothing
    in the temporary directory.
    """
    copy, temporary, test_id = tmp_path / "copy", tmp_path / "temporary", uuid.uuid4().hex
    temporary.mkdir()
    shutil.copytree(ROOT, copy, ignore=LEFT_OUT)
    own = {os.path.dirname(sys.executable), os.path.join(sys.prefix, "bin")}
    path = [entry for entry in os.environ["PATH"].split(":") if entry not in own]
    env = {
        **{
            name: os.environ[name] for name in os.environ if not name.startswith(("TOX", "VIRTUAL"))
        },
        "PATH": ":".join(path),
        "TMPDIR": str(temporary),
        **marks(test_id),
    }

    def run(command):
        return subprocess.run(
            command.split(),
            cwd=copy,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=LIMIT,
            check=False,
        )

    yield run
    assert not processes_of(test_id)
    assert not [*temporary.iterdir()]


def readme(command):
    """The command, which must stand in the README as it is."""
    assert f"\n   {command}\n" in (ROOT / "README.rst").read_text()
    return command


@pytest.mark.heavy
@pytest.mark.timeout(2 * LIMIT)
def test_demo_shows_two_pcs_that_ping_each_other(fresh, tmp_path):
    done = fresh(readme("python3 bootstrap.py demo"))
    assert done.returncode == 0, done.stdout
    assert "Creating .venv" in done.stdout
    assert len(REPLY.findall(done.stdout)) == 5, done.stdout
    assert len(re.findall(r"ICMP  192.168.1.1 > 192.168.1.2  echo reply, seq", done.stdout)) == 5
    assert any("What to try next" in line for line in done.stdout.splitlines()[-8:])
    # What bootstrap.py installs has its manual as well.
    assert (tmp_path / "copy" / "gns3server" / "manual" / "index.html").is_file()
    # The settings of a real server are not in its way.
    settings = "[Server]\nauth = yes\nuser = me\nssl = yes\nrecord = /nowhere/record\n"
    (tmp_path / "copy" / "gns3_server.conf").write_text(settings)
    again = fresh("python3 bootstrap.py demo")
    assert again.returncode == 0, again.stdout
    assert "Creating" not in again.stdout
    assert "Installing" not in again.stdout


@pytest.mark.long
@pytest.mark.timeout(2 * LIMIT)
def test_test_runs_an_environment_and_its_last_lines_say_what_failed(fresh, tmp_path):
    # Not lint: ruff leaves out what is below .tox, as the copy is.
    command = readme("python3 bootstrap.py test") + " -- -e dist"
    done = fresh(command)
    assert done.returncode == 0, done.stdout
    assert "dist: OK" in done.stdout
    with (tmp_path / "copy/plugins/udp/gns3server_udp/__init__.py").open("a") as module:
        module.write("raise RuntimeError('broken on purpose')\n")
    done = fresh(command)
    assert done.returncode == 1, done.stdout
    summary, _, last = done.stdout.rpartition("dist: gns3server plugins --strict-plugins failed:")
    assert "dist: FAIL" in summary
    assert "broken on purpose" in last
