"""Three virtual PCs in two VLANs talk through a switch that outlives its server."""

from __future__ import annotations

import asyncio
import re

import pytest
from ethernet_lab import Lab, port

from gns3server.testing import ConsoleClient

REPLY = re.compile(r"icmp_seq=\d+ .*time=")


async def pings(console, address, *, expected=True):
    """Whether somebody answers at an address; asks again while packets may be on their way."""
    for _ in range(5 if expected else 1):
        if REPLY.search(await console.run(f"ping {address} -c 2")):
            return True
    return False


async def pc(lab, switch, number):
    """Make a virtual PC at a port of the switch, and start it; returns its console."""
    vms = f"{lab.project}/vpcs/vms"
    answer = await lab.client.post(vms, {"name": f"PC{number}"})
    assert answer.status == 201, answer.body
    here, there = await lab.udp_port(), await lab.udp_port()
    assert (await switch.wire(number, there, here)).status == 201
    node = f"{vms}/{answer.json['vm_id']}"
    nio = {"type": "nio_udp", "lport": here, "rhost": "127.0.0.1", "rport": there}
    assert (await lab.client.post(f"{node}/adapters/0/ports/0/nio", nio)).status == 201
    assert (await lab.client.post(f"{node}/start")).status == 204
    return answer.json["console"]


@pytest.mark.timeout(180)
@pytest.mark.usefixtures("vpcs_program")
async def test_pings_pass_in_a_vlan_and_not_between_two_whatever_becomes_of_the_server(
    gns3_process,
):
    async with gns3_process() as server:
        lab = await Lab.open(server)
        mapping = [port(0), port(1, vlan=10), port(2, vlan=10), port(3, vlan=20)]
        switch = await lab.bridge(ports_mapping=mapping)
        ports = [await pc(lab, switch, number) for number in (1, 2, 3)]
        async with (
            ConsoleClient.open(ports[0], prompt="VPCS> ") as one,
            ConsoleClient.open(ports[1], prompt="VPCS> ") as two,
            ConsoleClient.open(ports[2], prompt="VPCS> ") as three,
        ):
            await asyncio.gather(
                *(each.run(f"ip 10.0.0.{n}/24") for n, each in enumerate((one, two, three), 1))
            )
            assert await pings(one, "10.0.0.2")
            assert not await pings(one, "10.0.0.3", expected=False)
            known = {(each["vlan"], each["port_number"]) for each in await switch.get("mac_table")}
            assert {(10, 1), (10, 2), (20, 3)} <= known
            await server.kill()
            assert await pings(two, "10.0.0.1")
            assert not await pings(three, "10.0.0.1", expected=False)
            async with gns3_process() as successor:
                switch = switch.on(Lab(successor, lab.project))
                assert await pings(one, "10.0.0.2")
                # The third joins the first, and the second is left alone.
                mapping = [port(0), port(1, vlan=20), port(2, vlan=10), port(3, vlan=20)]
                assert (await switch.update(ports_mapping=mapping)).status == 200
                assert await pings(three, "10.0.0.1")
                assert not await pings(two, "10.0.0.1", expected=False)
