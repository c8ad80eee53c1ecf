"""Fixtures of the /v2 tests: clients of a server with all installed plugins."""

from __future__ import annotations

import pytest
from v2_client import v2_client


@pytest.fixture
async def client(gns3_server):
    """A desktop client."""
    async with v2_client(gns3_server.url) as client:
        yield client


@pytest.fixture
async def project(client):
    """The path of a project, which is open."""
    return await client.project()
