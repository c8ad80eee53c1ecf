"""Who waits for whom: one PC at a time, different PCs together, starts through the gate."""

from __future__ import annotations

import asyncio

import pytest
from vpcs_fakes import open_gate


@pytest.fixture
async def gate():
    """Where the fakes of ``slow`` ask before they come up."""
    async with open_gate() as gate:
        yield gate


@pytest.fixture
async def slow(lab_with, make_fake, gate):
    """A lab whose PCs come up when the test says so, three at a time."""
    async with lab_with(make_fake("0.8.3", knows_r=True, gate=gate.name), max_starting=3) as lab:
        # Fakes that wait for the test keep their places for as long as it takes.
        start_gate(lab).hold_limit = 600
        yield lab


def start_gate(lab):
    return lab.server.running.server.projects.machine.gate


async def until(lab, condition):
    """Wait for something that only shows inside the server, which must stay answered."""
    async with asyncio.timeout(30):
        while not condition():
            assert (await lab.client.get("/v1/version")).status == 200


def queue(pc):
    """How many requests wait for a PC, besides the one that is being carried out."""
    return len(pc.node.project._node_locks._lines[pc.id]) - 1


@pytest.mark.statement("LOCK-01", "LOCK-05")
async def test_requests_on_one_pc_are_served_one_at_a_time_in_order(slow, gate):
    pc = await slow.wired(name="0")
    project = pc.node.project
    requests = [
        slow.client.get(pc.path),
        slow.client.put(pc.path, {"name": "1"}),
        slow.client.get(pc.path),
        pc.ask("stop"),
        slow.client.put(pc.path, {"name": "2"}),
        slow.client.get(pc.path),
        slow.client.delete(pc.path),
        slow.client.get(pc.path),
    ]
    start = asyncio.create_task(pc.ask("start"))
    arrival = await gate.next()
    waiters = []
    for request in requests:
        waiters.append(asyncio.create_task(request))
        await until(slow, lambda: queue(pc) == len(waiters))
    assert not any(request.done() for request in [start, *waiters])
    arrival.let_run()
    assert (await start).status == 204
    # Each shows what the ones before it have done, and nothing of those behind it.
    assert [seen(await waiter) for waiter in waiters] == [
        *((200, "0", "started"), (200, "1", "started"), (200, "1", "started"), (204,)),
        *((200, "2", "stopped"), (200, "2", "stopped"), (204,), (404,)),
    ]
    assert len(project._node_locks) == 0


def seen(answer):
    if answer.status != 200:
        return (answer.status,)
    return answer.status, answer.json["name"], answer.json["status"]


@pytest.mark.statement("LOCK-02")
async def test_requests_on_other_pcs_do_not_wait(slow, gate):
    held, other = await slow.wired(), await slow.wired()
    start = asyncio.create_task(held.ask("start"))
    arrival = await gate.next()
    assert arrival.number == held.node.number
    start_other = asyncio.create_task(other.ask("start"))
    (await gate.next()).let_run()
    assert (await start_other).status == 204
    assert await other.status() == "started"
    await other.do("stop")
    await other.update(name="changed")
    assert (await slow.client.delete(other.path)).status == 204
    assert (await slow.client.put(slow.project, {"name": "changed"})).status == 200
    assert len((await slow.client.get(f"{slow.project}/vpcs/vms")).json) == 1
    assert not start.done()
    arrival.let_run()
    assert (await start).status == 204


@pytest.mark.statement("LOCK-03")
async def test_a_request_that_fails_lets_the_next_one_in(slow, gate):
    pc = await slow.wired()
    start = asyncio.create_task(pc.ask("start"))
    arrival = await gate.next()
    again = asyncio.create_task(pc.ask("start"))
    await until(slow, lambda: queue(pc) == 1)
    arrival.let_fail()
    refused = await start
    assert refused.status == 409
    assert "told to fail" in refused.json["message"]
    (await gate.next()).let_run()
    assert (await again).status == 204


async def test_the_gate_lets_in_so_many_at_a_time_and_in_order(slow, gate):
    pcs = [await slow.wired() for _ in range(9)]
    machine_gate = start_gate(slow)
    starts = []
    for number, pc in enumerate(pcs):
        starts.append(asyncio.create_task(pc.ask("start")))
        if number < 3:
            await until(slow, lambda: gate.arrivals.qsize() == number + 1)  # noqa: B023
        else:
            await until(slow, lambda: machine_gate.waiting == number - 2)  # noqa: B023
    order = []
    for released in range(9):
        assert gate.arrivals.qsize() == min(3, 9 - released)
        arrival = await gate.next()
        order.append(arrival.number)
        arrival.let_run()
        assert (await starts[released]).status == 204
        await until(slow, lambda: gate.arrivals.qsize() == min(3, 8 - released))  # noqa: B023
    assert order == [pc.node.number for pc in pcs]
    assert machine_gate.waiting == 0


async def test_a_failed_start_gives_its_place_to_the_next(slow, gate):
    pcs = [await slow.wired() for _ in range(4)]
    starts = [asyncio.create_task(pc.ask("start")) for pc in pcs]
    await until(slow, lambda: start_gate(slow).waiting == 1 and gate.arrivals.qsize() == 3)
    for arrival in [await gate.next() for _ in range(3)]:
        arrival.let_fail()
    (await gate.next()).let_run()
    assert sorted([(await start).status for start in starts]) == [204, 409, 409, 409]


@pytest.mark.parametrize("action", ["close", "delete"])
async def test_the_end_of_a_project_ends_the_starts_in_it(slow, gate, action):
    pcs = [await slow.wired() for _ in range(5)]
    starts = [asyncio.create_task(pc.ask("start")) for pc in pcs]
    await until(slow, lambda: start_gate(slow).waiting == 2 and gate.arrivals.qsize() == 3)
    waiters = [asyncio.create_task(pc.ask("stop")) for pc in pcs]
    await until(slow, lambda: all(queue(pc) == 1 for pc in pcs))
    if action == "close":
        end = slow.client.post(f"{slow.project}/close")
    else:
        end = slow.client.delete(slow.project)
    assert (await end).status == 204
    for answer in [await start for start in starts]:
        assert answer.status == 409
        assert "closed or deleted" in answer.json["message"]
    assert {(await waiter).status for waiter in waiters} <= {204, 404}
    assert (await slow.client.get(slow.project)).status == 404
    assert len(slow.server.ports.tcp) == len(slow.server.ports.udp) == 0
    assert start_gate(slow).waiting == 0
    while not gate.arrivals.empty():
        (await gate.next()).let_fail()
