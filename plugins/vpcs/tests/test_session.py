"""The seed's session through the API, with the real emulator."""

from __future__ import annotations

import pytest


@pytest.mark.statement("PORT-06", "NIO-01", "VPCS-05")
async def test_two_pcs_are_wired_and_started(gns3_client, gns3_project):
    vms = []
    for name in ("VPCS 1", "VPCS 2"):
        answer = await gns3_client.post(f"{gns3_project}/vpcs/vms", {"name": name})
        assert answer.status == 201
        vms.append(f"{gns3_project}/vpcs/vms/{answer.json['vm_id']}")
    ports = [
        (await gns3_client.post(f"{gns3_project}/ports/udp", {})).json["udp_port"] for _ in vms
    ]
    assert ports[1] == ports[0] + 1
    for vm, lport, rport in ((vms[0], *ports), (vms[1], *reversed(ports))):
        nio = {"type": "nio_udp", "lport": lport, "rhost": "127.0.0.1", "rport": rport}
        answer = await gns3_client.post(f"{vm}/adapters/0/ports/0/nio", nio)
        assert (answer.status, answer.json) == (201, nio)
    for vm in vms:
        assert (await gns3_client.post(f"{vm}/start")).status == 204
        assert (await gns3_client.get(vm)).json["status"] == "started"
