"""A lab outlives the server that clients are connected to."""

from __future__ import annotations

import pytest
from v2_client import ends_of, v2_client


@pytest.mark.statement("V2-23")
async def test_a_client_finds_all_as_it_was_after_the_server_was_killed(gns3_process):
    async with gns3_process() as server, v2_client(server.client.url) as client:
        project = await client.project()
        nodes = [await client.vpcs(project, x=n, y=n) for n in range(2)]
        await client.post(f"{project}/links", {"nodes": ends_of(nodes)})
        await client.post(f"{project}/nodes/start", expect=204)
        before = [await client.get(f"{project}{part}") for part in ("", "/nodes", "/links")]
        async with client.listening(project) as stream:
            await server.kill()
            while await stream.next() is not None:
                pass
    async with gns3_process() as server, v2_client(server.client.url) as client:
        # What a desktop client does when the server is there again.
        await client.get("/version")
        await client.post(f"{project}/open")
        after = [await client.get(f"{project}{part}") for part in ("", "/nodes", "/links")]
        assert after == before
        assert {node["status"] for node in after[1]} == {"started"}
        async with client.listening(project):
            pass
        await client.delete(project)


@pytest.mark.statement("V2-06")
@pytest.mark.parametrize(("keeps", "then"), [("yes", "started"), ("no", "stopped")])
async def test_a_client_that_ends_its_server_leaves_the_nodes_running(gns3_process, keeps, then):
    environ = {"GNS3_V2_SHUTDOWN_KEEPS_NODES": keeps}
    async with gns3_process(environ=environ) as server, v2_client(server.client.url) as client:
        project = await client.project()
        nodes = [await client.vpcs(project) for _ in range(2)]
        await client.post(f"{project}/links", {"nodes": ends_of(nodes)})
        await client.post(f"{project}/nodes/start", expect=204)
        await client.post("/shutdown")
        await server.ended()
    async with gns3_process() as server, v2_client(server.client.url) as client:
        assert {node["status"] for node in await client.get(f"{project}/nodes")} == {then}
        await client.delete(project)


@pytest.mark.statement("V2-06")
async def test_a_server_for_others_as_well_is_not_ended_by_a_client(gns3_process):
    async with gns3_process(local=False) as server, v2_client(server.client.url) as client:
        await client.post("/shutdown", expect=403)
        assert (await client.get("/version"))["local"] is False
