"""Fixtures of the VPCS tests: labs with the real program, and programs that only seem to be it."""

from __future__ import annotations

import shutil
from contextlib import asynccontextmanager

import pytest
from vpcs_fakes import FakeMaker
from vpcs_lab import Server
from vpcs_newcomer import newcomer_at


@pytest.fixture(scope="session")
def vpcs_program():
    """The path of the real VPCS; the test fails where there is none."""
    found = shutil.which("vpcs")
    if found is None:
        pytest.fail("This test needs VPCS: sudo apt-get install vpcs")
    return found


@pytest.fixture
async def lab(gns3_server):
    """A lab with the VPCS of this machine. Tests that start one need ``vpcs_program`` as well."""
    return await Server.open(gns3_server)


@pytest.fixture
def make_fake(tmp_path):
    """Makes programs that seem to be VPCS: ``make_fake("0.8.3", knows_r=True)``."""
    return FakeMaker(tmp_path / "fakes")


@pytest.fixture
def lab_with(gns3_serving):
    """Makes labs that run another program as VPCS; an asynchronous context manager."""

    @asynccontextmanager
    async def make(path, **settings):
        async with gns3_serving(sections={"vpcs": {"vpcs_path": str(path)}}, **settings) as server:
            yield await Server.open(server)

    return make


@pytest.fixture
def newcomer(tmp_path):
    """A newcomer, whose home is the test's directory."""
    with newcomer_at(tmp_path) as newcomer:
        yield newcomer
