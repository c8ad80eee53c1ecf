"""Fixtures of the core's tests: a server with the toy emulator and nothing else."""

from __future__ import annotations

from importlib.metadata import EntryPoint

import pytest

GROUP = "gns3server.plugins"


def entry_point(name: str, module: str) -> EntryPoint:
    """The entry point of a plugin in ``tests/toys``."""
    return EntryPoint(name=name, value=module, group=GROUP)


@pytest.fixture
def make_entry_point():
    """Makes entry points: ``make_entry_point("toy", "toy_emulator")``."""
    return entry_point


@pytest.fixture
async def server(gns3_serving):
    """A server whose only plugin is the toy emulator."""
    async with gns3_serving(plugins=[entry_point("toy", "toy_emulator")]) as running:
        yield running


@pytest.fixture
def client(server):
    """A client of ``server``."""
    return server.client


@pytest.fixture
async def project(client):
    """The path of a new project on ``server``."""
    answer = await client.post("/v1/projects", {"name": "test"})
    assert answer.status == 201, answer
    return f"/v1/projects/{answer.json['project_id']}"


@pytest.fixture
def make_toy(client, project):
    """A function that creates toys, as in ``await make_toy(mode="never")``, and tells their path."""

    async def make(**values):
        answer = await client.post(f"{project}/toy/vms", {"name": "toy", **values})
        assert answer.status == 201, answer
        return f"{project}/toy/vms/{answer.json['vm_id']}"

    return make
