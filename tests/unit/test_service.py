"""The unit file for systemd that comes with the server."""

from __future__ import annotations

import configparser
import shutil
import subprocess
from pathlib import Path

import pytest

import gns3server
from gns3server.cli.arguments import make_parser

UNIT = Path(gns3server.__file__).parent / "systemd" / "gns3server.service"
PROGRAM = "/opt/gns3server/bin/gns3server"

HIDING = ("Private", "Dynamic", "RuntimeDir", "ProcSubset")
"""How the names of settings begin that hide from a server what the one before has left."""


def test_it_leaves_nodes_running_for_the_next_server():
    unit = configparser.ConfigParser(interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read_string(UNIT.read_text())
    service = unit["Service"]
    program, *flags = service["ExecStart"].split()
    assert program == PROGRAM
    assert make_parser().parse_args(flags).keep_nodes
    # Anything else ends the nodes together with the server.
    assert service["KillMode"] == "process"
    # What the server tells, and only the server.
    assert service["Type"] == "notify"
    assert "NotifyAccess" not in service
    assert service["OOMPolicy"] == "continue"
    assert not [name for name in service if name.startswith(HIDING)]
    assert service["Environment"] == f"HOME=/var/lib/{service['StateDirectory']}"


def test_systemd_understands_it(tmp_path):
    if shutil.which("systemd-analyze") is None:
        pytest.skip("this machine has no systemd to ask")
    # Program and user of a real installation are not here.
    text = UNIT.read_text().replace(PROGRAM, "/bin/true").replace("User=gns3server", "User=root")
    copy = tmp_path / UNIT.name
    copy.write_text(text)
    done = subprocess.run(
        ["systemd-analyze", "verify", str(copy)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
