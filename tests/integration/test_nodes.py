"""Nodes through the API, with the toy emulator."""

from __future__ import annotations

import pytest


@pytest.mark.statement("VPCS-05", "VPCS-11", "VPCS-26")
async def test_a_node_starts_once_and_stops_once(client, make_toy):
    toy = await make_toy()
    for _ in range(2):
        assert (await client.post(f"{toy}/start")).status == 204
    assert (await client.get(toy)).json["status"] == "started"
    for _ in range(2):
        assert (await client.post(f"{toy}/stop")).status == 204
    assert (await client.get(toy)).json["status"] == "stopped"


async def test_a_start_that_fails_says_why_and_leaves_it_stopped(client, make_toy, server):
    toy = await make_toy(mode="exit")
    answer = await client.post(f"{toy}/start")
    assert answer.status == 409
    assert "the toy exits at once" in answer.json["message"]
    assert (await client.get(toy)).json["status"] == "stopped"


async def test_a_crash_is_told_to_listeners(client, make_toy, project):
    toy = await make_toy(mode="crash-on-connect")
    async with client.listen(f"{project}/notifications") as events:
        assert await anext(events) == {"action": "ping"}
        assert (await client.post(f"{toy}/start")).status == 204
        started = await anext(events)
        assert started["action"] == "vm.started"
        import asyncio

        _, writer = await asyncio.open_connection("127.0.0.1", started["event"]["console"])
        assert (await anext(events))["action"] == "vm.stopped"
        error = await anext(events)
        assert error["action"] == "log.error"
        assert "SIGSEGV" in error["event"]["message"] or "signal 11" in error["event"]["message"]
        writer.close()
