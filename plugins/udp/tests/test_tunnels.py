"""``nio_udp``: which ports it reserves, for whom and for how long (D-25)."""

from __future__ import annotations

import asyncio
import socket
import threading

import pytest

STRANGE = 4242
"""A port that is in no test's range: clients may name any."""


@pytest.mark.statement("NIO-01", "NIO-04")
async def test_a_port_that_was_never_allocated_is_reserved(lab):
    toy = await lab.toy()
    answer = await lab.plug(toy, STRANGE)
    assert answer.status == 201
    assert answer.json == {
        "type": "nio_udp",
        "lport": STRANGE,
        "rhost": "127.0.0.1",
        "rport": 4343,
    }
    assert lab.pool.holders(STRANGE)


@pytest.mark.statement("NIO-06")
@pytest.mark.parametrize("allocated", [True, False])
async def test_removing_a_tunnel_frees_its_port(lab, allocated):
    toy = await lab.toy()
    port = await lab.allocate() if allocated else STRANGE
    assert (await lab.plug(toy, port)).status == 201
    await lab.unplug(toy)
    assert not lab.pool.holders(port)
    if allocated:
        assert await lab.allocate() == port
    await lab.unplug(toy)


@pytest.mark.parametrize("allocated", [True, False])
async def test_replacing_a_tunnel_frees_the_old_port(lab, allocated):
    toy = await lab.toy()
    port = await lab.allocate() if allocated else STRANGE
    assert (await lab.plug(toy, port)).status == 201
    assert (await lab.plug(toy, STRANGE + 1)).status == 201
    assert not lab.pool.holders(port)
    assert lab.pool.holders(STRANGE + 1)


async def test_replacing_a_tunnel_by_one_on_the_same_port_keeps_it(lab):
    toy, port = await lab.toy(), await lab.allocate()
    for rport in (1, 2):
        assert (await lab.plug(toy, port, rport=rport)).status == 201
    other = await lab.another()
    assert (await other.plug(await other.toy(), port)).status == 409
    await lab.unplug(toy)
    assert not lab.pool.holders(port)


async def test_another_projects_port_is_refused_and_stays_that_projects(lab):
    other, port = await lab.another(), await lab.allocate()
    stranger = await other.toy()
    assert (await other.plug(stranger, STRANGE)).status == 201
    answer = await other.plug(stranger, port)
    assert answer.status == 409
    assert f"UDP port {port}" in answer.json["message"]
    assert lab.project.rpartition("/")[2] in answer.json["message"]
    assert lab.pool.holders(STRANGE)
    await other.unplug(stranger)
    assert len(lab.pool) == 1
    assert (await lab.plug(await lab.toy(), port)).status == 201


async def test_one_project_may_name_a_port_twice_and_it_is_freed_with_the_last(lab):
    one, two, port = await lab.toy(), await lab.toy(), await lab.allocate()
    for toy in (one, two):
        assert (await lab.plug(toy, port)).status == 201
    await lab.unplug(one)
    assert lab.pool.holders(port)
    assert await lab.allocate() != port
    await lab.unplug(two)
    assert not lab.pool.holders(port)


async def test_one_toy_may_name_a_port_twice(lab):
    toy, port = await lab.toy(), await lab.allocate()
    for number in (0, 1):
        assert (await lab.plug(toy, port, port=number)).status == 201
    await lab.unplug(toy, 0)
    assert lab.pool.holders(port)
    await lab.unplug(toy, 1)
    assert not lab.pool.holders(port)


@pytest.mark.statement("VPCS-31")
@pytest.mark.parametrize("running", [True, False])
async def test_deleting_a_toy_frees_its_ports(lab, running):
    toy, port = await lab.toy(), await lab.allocate()
    assert (await lab.plug(toy, port)).status == 201
    assert (await lab.plug(toy, STRANGE, port=1)).status == 201
    if running:
        assert (await lab.client.post(f"{toy}/start")).status == 204
    assert (await lab.client.delete(toy)).status == 204
    assert len(lab.pool) == 0


async def test_a_running_toy_keeps_its_port_until_it_stops(lab):
    toy, port = await lab.toy(), await lab.allocate()
    assert (await lab.plug(toy, port)).status == 201
    assert (await lab.client.post(f"{toy}/start")).status == 204
    await lab.unplug(toy)
    assert lab.pool.holders(port)
    other = await lab.another()
    assert (await other.plug(await other.toy(), port)).status == 409
    assert (await lab.client.post(f"{toy}/stop")).status == 204
    assert not lab.pool.holders(port)


async def test_a_refused_tunnel_reserves_nothing(lab):
    toy = await lab.toy()
    for refused in ({"rhost": "a..b"}, {"rport": 0}, {"port": 2}):
        assert (await lab.plug(toy, STRANGE, **refused)).status in {400, 409}
    assert len(lab.pool) == 0


async def test_names_of_hosts_are_kept_as_given(lab):
    toy = await lab.toy()
    assert (await lab.plug(toy, STRANGE, rhost="localhost")).json["rhost"] == "localhost"
    answer = await lab.plug(toy, STRANGE, rhost="a..b")
    assert answer.status == 409
    assert "a..b" in answer.json["message"]


@pytest.fixture
def name_server(monkeypatch):
    """Name servers that do not answer for any name until an event is set.

    Returns the event, and a semaphore that is released by each lookup that has begun.
    """
    answers, begun = threading.Event(), threading.Semaphore(0)

    def look_up(*_, **__):
        begun.release()
        answers.wait()
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    yield answers, begun
    answers.set()


async def test_while_name_servers_do_not_answer_nobody_else_waits(make_lab, name_server):
    """Lookups have threads of their own: others notice nothing, and the stop waits for none."""
    answers, begun = name_server
    async with make_lab() as lab:
        toys = [await lab.toy() for _ in range(24)]
        plugging = [
            asyncio.ensure_future(lab.plug(toy, STRANGE + 20 * n, rhost=f"host{n}.lab.example"))
            for n, toy in enumerate(toys)
        ]
        for _ in toys:
            await asyncio.to_thread(begun.acquire)
        # Requests that need files, records and directories, on the same server.
        other = await lab.another()
        assert (await other.plug(await other.toy(), STRANGE - 1)).status == 201
        assert (await lab.client.get(f"{other.project}/files")).status == 200
        assert not any(each.done() for each in plugging)
    # The server has ended although no lookup has.
    assert not answers.is_set()
    await asyncio.gather(*plugging, return_exceptions=True)


async def test_a_name_that_no_server_answers_for_is_refused_in_time(lab, name_server, monkeypatch):
    monkeypatch.setattr("gns3server.running.network.LOOKUP_SECONDS", 0.1)
    answer = await lab.plug(await lab.toy(), STRANGE, rhost="other.lab.example")
    assert answer.status == 409
    assert (
        "'other.lab.example' was not found, because no name server has answered"
        in (answer.json["message"])
    )
    assert not lab.pool.holders(STRANGE)
