"""Fixtures of the tests of hosts and routers."""

from __future__ import annotations

import shutil

import pytest
from linux_lab import Lab


@pytest.fixture(scope="session", autouse=True)
def programs():
    """What all of these tests need; they fail where it is missing."""
    for program, package in (("ip", "iproute2"), ("vtysh", "frr"), ("ping", "iputils-ping")):
        if shutil.which(program, path="/usr/sbin:/sbin:/usr/bin:/bin") is None:
            pytest.fail(f"These tests need {program}: sudo apt-get install {package}")


@pytest.fixture
async def lab(gns3_server):
    """A project on a server."""
    return await Lab.open(gns3_server)
