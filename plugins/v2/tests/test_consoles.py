"""Consoles for web pages."""

from __future__ import annotations

import asyncio

import pytest
from v2_client import ends_of


@pytest.mark.statement("V2-28")
async def test_a_web_page_types_at_a_terminal(client, project):
    nodes = [await client.vpcs(project) for _ in range(2)]
    await client.post(f"{project}/links", {"nodes": ends_of(nodes)})
    path = f"{project}/nodes/{nodes[0]['node_id']}"
    url = f"{client.url}/v2{path}/console/ws"
    await client.get(f"{path}/console/ws", expect=426)
    started = await client.post(f"{path}/start", expect=200)
    async with client.session.ws_connect(url) as console:
        shown = b""
        while b"PC1>" not in shown:
            shown += (await console.receive()).data
        await console.send_str("echo it works\r")
        while b"it works\r" not in shown.replace(b"echo it works", b""):
            shown += (await console.receive()).data
        assert b"\xff" not in shown
        # The desktop client's own terminal sees the same.
        reader, writer = await asyncio.open_connection(started["console_host"], started["console"])
        await reader.readuntil(b"it works")
        writer.close()
        await writer.wait_closed()
    await client.post(f"{path}/console/reset", expect=204)
    await client.post(f"{project}/nodes/console/reset", expect=204)
