"""Fixtures of the tests of switches and hubs."""

from __future__ import annotations

import shutil
import tempfile
from contextlib import ExitStack
from pathlib import Path

import pytest
from ethernet_lab import Lab
from ethernet_program import running


@pytest.fixture
def run():
    """Runs the program of a switch or hub by itself, with hosts; see ``running``."""
    # Not the test's directory: the path of a unix socket has to be short.
    with tempfile.TemporaryDirectory() as directory, ExitStack() as stack:
        yield lambda *args, **kwargs: stack.enter_context(running(Path(directory), *args, **kwargs))


@pytest.fixture(scope="session")
def vpcs_program():
    """The path of the real VPCS; the test fails where there is none."""
    found = shutil.which("vpcs")
    if found is None:
        pytest.fail("This test needs VPCS: sudo apt-get install vpcs")
    return found


@pytest.fixture
async def lab(gns3_server):
    """A project on a server."""
    return await Lab.open(gns3_server)
