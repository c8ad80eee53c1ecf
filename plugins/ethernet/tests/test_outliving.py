"""A switch outlives its server, and is the next one's."""

from __future__ import annotations

from contextlib import closing

import pytest
from ethernet_lab import Lab, port, received, settled
from ethernet_program import EVERYBODY, Host, frame, mac


@pytest.mark.parametrize("how", ["killed", "upgraded"])
async def test_frames_pass_while_no_server_runs_and_the_next_one_changes_the_switch(
    gns3_process, how
):
    with closing(Host(0)) as one, closing(Host(1)) as other:
        async with gns3_process(*(["--keep-nodes"] if how == "upgraded" else [])) as server:
            lab = await Lab.open(server)
            switch = await lab.bridge()
            for host in (one, other):
                lport = await lab.udp_port()
                host.socket.connect(("127.0.0.1", lport))
                assert (await switch.wire(host.number, lport, host.port)).status == 201
            one.send(frame(EVERYBODY, mac(0)))
            assert [len(frames) for frames in await received(switch, [one, other])] == [0, 1]
            await (server.kill() if how == "killed" else server.end())
            other.socket.settimeout(30)
            one.socket.settimeout(30)
            other.send(frame(mac(0), mac(1)))
            assert one.socket.recv(2000) == frame(mac(0), mac(1))
            for host in (one, other):
                host.socket.setblocking(False)
        async with gns3_process() as server:
            switch = switch.on(Lab(server, lab.project))
            known = await switch.get("mac_table")
            assert [entry["port_number"] for entry in known] == [0, 1]
            mapping = [port(0, vlan=10), port(1), port(2, vlan=10)]
            assert (await switch.update(ports_mapping=mapping)).status == 200
            one.send(frame(mac(1), mac(0)))
            assert await received(switch, [one, other]) == [[], []]
            with closing(Host(2)) as third:
                lport = await switch.lab.udp_port()
                third.socket.connect(("127.0.0.1", lport))
                assert (await switch.wire(2, lport, third.port)).status == 201
                one.send(frame(mac(1), mac(0)))
                assert [len(got) for got in await received(switch, [one, other, third])] == [
                    0,
                    0,
                    1,
                ]
                assert (await switch.unwire(2)).status == 204
                assert not (await switch.counters(2))["wired"]
            assert (await switch.lab.client.delete(switch.path)).status == 204


async def test_an_adopted_switch_has_the_settings_of_its_new_server(gns3_process):
    with closing(Host(0)) as host:
        async with gns3_process() as server:
            lab = await Lab.open(server)
            switch, lport = await lab.bridge(), await lab.udp_port()
            host.socket.connect(("127.0.0.1", lport))
            assert (await switch.wire(0, lport, host.port)).status == 201
            await server.kill()
        async with gns3_process(environ={"GNS3_ETHERNET_FLOOD_LIMIT": "1"}) as server:
            switch = switch.on(Lab(server, lab.project))
            # Its turn comes once the switch is adopted.
            assert (await switch.counters(0))["limited"] == 0
            host.send(frame(EVERYBODY, mac(0)), frame(EVERYBODY, mac(0)))
            await settled(switch, host)
            assert (await switch.counters(0))["limited"] == 1
