"""Fixtures of the tests of hosts and routers."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest
from linux_lab import Lab
from traces import no_traces

from gns3server.testing import TEST_VARIABLE


@pytest.fixture(scope="session", autouse=True)
def programs():
    """What all of these tests need; they fail where it is missing."""
    for program, package in (("ip", "iproute2"), ("vtysh", "frr"), ("ping", "iputils-ping")):
        if shutil.which(program, path="/usr/sbin:/sbin:/usr/bin:/bin") is None:
            pytest.fail(f"These tests need {program}: sudo apt-get install {package}")
    ip = shutil.which("ip", path="/usr/sbin:/sbin:/usr/bin:/bin")
    probe = [sys.executable, "-P", "-m", "gns3server_linux.holder.probe", str(ip)]
    said = subprocess.run(probe, capture_output=True, text=True, check=False).stdout
    if "cannot be had" in said:
        (pytest.fail if os.geteuid() == 0 else pytest.skip)(said)


@pytest.fixture(autouse=True)
def traces(gns3_settings, tmp_path):
    """Each test fails that leaves anything of a node on the machine."""
    with no_traces(gns3_settings.environ[TEST_VARIABLE], tmp_path):
        yield


@pytest.fixture
async def lab(gns3_server):
    """A project on a server."""
    return await Lab.open(gns3_server)
