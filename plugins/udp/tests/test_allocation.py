"""The route that hands out UDP ports."""

from __future__ import annotations

import asyncio
import socket
import uuid

import pytest


@pytest.fixture
def first(gns3_settings):
    """The first port of the test's range."""
    return gns3_settings.server.udp_start_port_range


@pytest.mark.statement("PORT-06", "PORT-08")
async def test_ports_are_handed_out_from_the_lowest_on(lab, first):
    assert [await lab.allocate() for _ in range(3)] == [first, first + 1, first + 2]
    assert await (await lab.another()).allocate() == first + 3


@pytest.mark.parametrize("body", [None, {}, {"any": "thing"}, [1]], ids=str)
async def test_the_body_does_not_matter(lab, first, body):
    answer = await lab.client.post(f"{lab.project}/ports/udp", body)
    assert (answer.status, answer.json) == (201, {"udp_port": first})
    assert answer.route == "/v1/projects/{project_id}/ports/udp"


async def test_all_who_ask_at_the_same_time_get_ports_of_their_own(lab, first):
    ports = await asyncio.gather(*(lab.allocate() for _ in range(40)))
    assert sorted(ports) == list(range(first, first + 40))


@pytest.mark.statement("PORT-10")
@pytest.mark.parametrize(("project_id", "status"), [(uuid.uuid4(), 404), ("no-id", 400)])
async def test_a_project_that_there_is_not(lab, project_id, status):
    answer = await lab.client.post(f"/v1/projects/{project_id}/ports/udp")
    assert answer.status == status
    assert len(lab.pool) == 0


async def test_malformed_json(lab):
    path = f"{lab.project}/ports/udp"
    assert (await lab.client.request("POST", path, data=b"{")).status == 400
    assert len(lab.pool) == 0


@pytest.mark.statement("PORT-09")
async def test_an_exhausted_range(make_lab, first):
    async with make_lab(udp_end_port_range=first + 1) as lab:
        assert [await lab.allocate() for _ in range(2)] == [first, first + 1]
        answer = await lab.client.post(f"{lab.project}/ports/udp")
        assert answer.status == 409
        assert str(first) in answer.json["message"]
        toy = await lab.toy()
        assert (await lab.plug(toy, first)).status == 201
        await lab.unplug(toy)
        assert await lab.allocate() == first


@pytest.mark.statement("PORT-08")
async def test_a_port_that_another_process_has_is_left_out(lab, first):
    with socket.socket(type=socket.SOCK_DGRAM) as taken:
        # Even if that process would share it.
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("0.0.0.0", first))
        assert await lab.allocate() == first + 1
    assert await lab.allocate() == first


@pytest.mark.statement("PORT-11")
@pytest.mark.parametrize("action", ["close", "delete"])
async def test_the_end_of_a_project_frees_its_ports_only(lab, first, action):
    other = await lab.another()
    assert [await lab.allocate(), await other.allocate()] == [first, first + 1]
    toy = await lab.toy()
    assert (await lab.plug(toy, 4242)).status == 201
    if action == "close":
        assert (await lab.client.post(f"{lab.project}/close")).status == 204
    else:
        assert (await lab.client.delete(lab.project)).status == 204
    assert len(lab.pool) == 1
    assert lab.pool.holders(first + 1)
    assert await other.allocate() == first


@pytest.mark.statement("PRJ-36")
async def test_a_closed_project_comes_back_with_its_tunnels(lab):
    toy, port = await lab.toy(), await lab.allocate()
    assert (await lab.plug(toy, port)).status == 201
    assert (await lab.client.post(f"{lab.project}/close")).status == 204
    assert len(lab.pool) == 0
    body = {"project_id": lab.project.rpartition("/")[2]}
    assert (await lab.client.post("/v1/projects", body)).status == 201
    assert lab.pool.holders(port)
    assert (await lab.client.post(f"{toy}/start")).status == 204
