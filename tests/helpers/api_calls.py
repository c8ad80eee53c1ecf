"""The requests that most tests make."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from typing import Any

from gns3server.testing import Client

ID = "00010203-0405-0607-0809-0a0b0c0d0e0f"
"""A project id, for tests that need to know it beforehand, or need one that does not exist."""

PROJECT = f"/v1/projects/{ID}"


def later(work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
    """Begin now, and look at the result later."""
    return asyncio.ensure_future(work)


async def new_project(client: Client, **values: Any) -> str:
    """Create a project, or open it; return its path."""
    answer = await client.post("/v1/projects", {"name": "test", **values})
    assert answer.status == 201, answer.body
    return f"/v1/projects/{answer.json['project_id']}"


async def new_toy(client: Client, project: str, **values: Any) -> str:
    """Create a toy in a project; return its path."""
    answer = await client.post(f"{project}/toy/vms", {"name": "toy", **values})
    assert answer.status == 201, answer.body
    return f"{project}/toy/vms/{answer.json['vm_id']}"


async def status(client: Client, node: str) -> str:
    """A node's state: ``started``, ``stopped`` or another."""
    answer = await client.get(node)
    assert answer.status == 200, answer.body
    return str(answer.json["status"])


async def take(events: AsyncIterator[Any], count: int) -> list[Any]:
    """The next events of a stream, ``count`` of them."""
    return [await anext(events) for _ in range(count)]
