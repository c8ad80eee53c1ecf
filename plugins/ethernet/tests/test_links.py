"""Links of switches are there, and gone, while frames pass."""

from __future__ import annotations

import pytest
from ethernet_lab import port, settled
from ethernet_program import EVERYBODY, Host, frame, mac


@pytest.fixture
async def hosts(lab):
    """Two switches, and a host at port 0 of each."""
    switches = [await lab.bridge(name=name) for name in ("one", "other")]
    hosts = [Host(0), Host(0)]
    for switch, host in zip(switches, hosts, strict=True):
        lport = await lab.udp_port()
        host.socket.connect(("127.0.0.1", lport))
        assert (await switch.wire(0, lport, host.port)).status == 201
    yield list(zip(switches, hosts, strict=True))
    for host in hosts:
        host.close()


async def link(lab, *ends):
    """Ask for a link between ports of switches; returns the answer."""
    body = [
        {"vm_id": switch.id, "adapter_number": 0, "port_number": number} for switch, number in ends
    ]
    return await lab.client.post(f"{lab.project}/links", {"ends": body})


async def test_a_link_of_two_switches_comes_and_goes_while_they_forward(lab, hosts):
    (one, here), (other, there) = hosts
    answer = await link(lab, (one, 7), (other, 3))
    assert answer.status == 201, answer.body
    assert answer.json["at_next_start"] == []
    here.send(frame(EVERYBODY, mac(0)))
    await settled(one, here)
    while (await other.counters(3))["received_frames"] < 1:
        pass
    assert there.received() == [frame(EVERYBODY, mac(0))]
    there.send(frame(mac(0), mac(1)))
    await settled(other, there)
    while (await one.counters(7))["received_frames"] < 1:
        pass
    assert here.received() == [frame(mac(0), mac(1))]
    path = f"{lab.project}/links/{answer.json['link_id']}"
    assert (await lab.client.delete(path)).status == 204
    assert not (await one.counters(7))["wired"]
    assert not (await other.counters(3))["wired"]
    assert (await one.counters(0))["wired"]


async def test_a_port_that_a_link_is_at_cannot_be_taken_away(lab, hosts):
    (one, _), (other, _) = hosts
    assert (await link(lab, (one, 7), (other, 3))).status == 201
    answer = await one.update(ports_mapping=[port(0)])
    assert (answer.status, "its ports 7 would go" in answer.json["message"]) == (409, True)


async def test_a_port_that_the_mapping_leaves_out_takes_no_link_and_nothing_is_left(lab, hosts):
    (one, _), (other, _) = hosts
    assert (await one.update(ports_mapping=[port(0), port(7)])).status == 200
    assert (await link(lab, (other, 1), (one, 3))).status == 409
    assert not (await other.counters(1))["wired"]
    assert len((await lab.client.get(f"{lab.project}/links")).json) == 0


async def test_the_switch_at_the_other_end_may_be_deleted(lab, hosts):
    (one, here), (other, _) = hosts
    assert (await link(lab, (one, 7), (other, 3))).status == 201
    assert (await lab.client.delete(other.path)).status == 204
    assert not (await one.counters(7))["wired"]
    here.send(frame(EVERYBODY, mac(0)))
    await settled(one, here)
