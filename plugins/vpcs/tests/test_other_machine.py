"""Virtual PCs on a machine that is not the server's, and wired across to one that is."""

from __future__ import annotations

import asyncio

import pytest
from other_machine import (
    THERE,
    forbid_the_local_machine,
    network_of,
    other_host,
    rerun_as_its_own_root,
)
from vpcs_console import open_console
from vpcs_kernel import is_bound
from vpcs_lab import PORT, Server

pytestmark = pytest.mark.usefixtures("vpcs_program")


@pytest.fixture
def host(gns3_settings):
    """Another machine."""
    with other_host() as there:
        yield there


@pytest.fixture
def nothing_local(monkeypatch):
    """Whatever is asked of the server's own machine fails."""
    forbid_the_local_machine(monkeypatch)


@pytest.fixture
async def there(gns3_serving, host, tmp_path):
    """A lab whose PCs run there. No program can be found by what its server knows."""
    places = {name: str(tmp_path / "there" / name) for name in ("projects_path", "state_path")}
    nowhere = {"PATH": str(tmp_path / "no-programs")}
    async with gns3_serving(machine=host.machine, environ=nowhere, **places) as server:
        yield await Server.open(server)


@pytest.mark.usefixtures("nothing_local")
async def test_a_pc_runs_there_alone(there, host):
    pcs = await there.pair()
    for pc in pcs:
        await pc.do("start")
    pids = [pc.pid for pc in pcs]
    assert {network_of(pid) for pid in pids} == {host.network} != {network_of("self")}
    assert not any(is_bound("tcp", pc.console) for pc in pcs)
    async with (
        open_console(pcs[0].console, host=host.address) as one,
        open_console(pcs[1].console, host=host.address) as other,
    ):
        await asyncio.gather(one.run("ip 10.0.0.1/24"), other.run("ip 10.0.0.2/24"))
        assert await one.pings("10.0.0.2")
        await one.run("save")
    assert "ip 10.0.0.1" in (await pcs[0].get())["startup_script"]
    await pcs[0].do("reload", "stop")
    await pcs[1].do("stop")
    assert there.server.processes() == {}


@pytest.mark.usefixtures("nothing_local")
async def test_a_tap_interface_is_looked_for_there(there):
    pc = await there.pc()
    for name, status in ((THERE, 201), ("no-such-tap", 409)):
        nio = {"type": "nio_tap", "tap_device": name}
        assert (await there.client.post(f"{pc.path}/{PORT}", nio)).status == status


async def test_pcs_of_two_machines_ping_each_other(gns3_serving, there, host):
    async with gns3_serving() as server:
        here = await Server.open(server)
        ours, theirs = await here.pc(name="ours"), await there.pc(name="theirs")
        # Each machine has ports of its own, so both begin with the same.
        assert ours.console == theirs.console
        near, far = await here.udp_port(), await there.udp_port()
        assert near == far
        await ours.wire(near, far, host.address)
        await theirs.wire(far, near, host.here)
        await asyncio.gather(ours.do("start"), theirs.do("start"))
        async with (
            open_console(ours.console) as one,
            open_console(theirs.console, host=host.address) as other,
        ):
            await asyncio.gather(one.run("ip 10.0.0.1/24"), other.run("ip 10.0.0.2/24"))
            assert all(await asyncio.gather(one.pings("10.0.0.2"), other.pings("10.0.0.1")))
        await theirs.do("stop")
        assert await ours.status() == "started"


@pytest.mark.heavy
@pytest.mark.timeout(600)
def test_all_of_this_holds_for_an_ordinary_user():
    rerun_as_its_own_root(__file__, "-k", "not ordinary_user")
