"""Many at once: the seed promises that all requests may be sent at the same time."""

from __future__ import annotations

import asyncio
import resource
from contextlib import AsyncExitStack

import pytest
from vpcs_chaos import Chaos
from vpcs_console import open_console
from vpcs_kernel import is_bound
from vpcs_lab import Pc, Server

from gns3server.testing import TEST_VARIABLE, processes_of

pytestmark = [pytest.mark.heavy, pytest.mark.usefixtures("vpcs_program")]


@pytest.fixture
def many_files():
    """As many open files as this user may have: client and server share this process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.timeout(300)
@pytest.mark.statement("LOCK-02", "LOCK-05")
@pytest.mark.parametrize("seed", [1, 2])
async def test_fifty_clients_do_what_they_like(gns3_server, many_files, seed):
    chaos = Chaos(gns3_server.client, seed, projects=4, pcs=5)
    try:
        async with asyncio.timeout(240):
            await chaos.run(clients=50, requests=20)
            await check_truth(gns3_server, chaos)
    except BaseException:
        print(f"seed {seed}", *chaos.history, sep="\n")
        raise


async def check_truth(server, chaos):
    """What the server says is so, and nothing is left when all projects are deleted."""
    test_id = server.settings.environ[TEST_VARIABLE]
    manager = server.running.server.projects
    started = 0
    for place in chaos.places:
        if (await server.client.get(place.path)).status == 404:
            continue
        lab = Server(server, place.path)
        for created in (await server.client.get(f"{place.path}/vpcs/vms")).json:
            pc = Pc(lab, created)
            running = created["status"] == "started"
            if running:
                assert pc.pid
            assert is_bound("tcp", pc.console) is running, created
            started += running
        project = manager.get(place.id)
        assert len(project._node_locks) == 0
        assert project._lock.idle
    assert len(processes_of(test_id)) == started
    for place in chaos.places:
        assert (await server.client.delete(place.path)).status in {204, 404}
    assert processes_of(test_id) == {}
    assert len(server.ports.tcp) == len(server.ports.udp) == 0
    assert server.ports.udp.reserved == frozenset()
    async with AsyncExitStack() as gate:
        # No place was lost on the way.
        for _ in range(server.settings.server.max_starting):
            await gate.enter_async_context(manager.machine.gate.slot())


@pytest.mark.timeout(300)
async def test_two_hundred_pcs_start_at_the_same_time(lab, many_files):
    pcs = [await lab.wired() for _ in range(200)]
    starts = asyncio.gather(*(pc.ask("start") for pc in pcs))
    answered = 0
    while not starts.done():
        assert (await lab.client.get("/v1/version")).status == 200
        answered += 1
    assert {answer.status for answer in await starts} == {204}
    assert answered >= 20, "the server was as good as gone while the PCs came up"
    vms = (await lab.client.get(f"{lab.project}/vpcs/vms")).json
    assert [vm["status"] for vm in vms] == ["started"] * 200

    async def report_start(pc):
        async with open_console(pc.console) as console:
            assert "Welcome to Virtual PC Simulator, version" in console.text

    await asyncio.gather(*(report_start(pc) for pc in pcs))
    assert (await lab.client.post(f"{lab.project}/close")).status == 204
    assert len(lab.server.ports.tcp) == len(lab.server.ports.udp) == 0
