"""The examples of the API document work, up to a virtual PC that runs."""

from __future__ import annotations

import pytest
from documented_examples import try_out


@pytest.mark.usefixtures("vpcs_program")
async def test_every_example_works(gns3_serving):
    async with gns3_serving(local=True) as server:
        # They need a file: a form, and images of a plugin that may be there.
        images = ("POST", "/v1/qemu/vms/{filename}")
        assert await try_out(server, but="/v2/") - {images} == {("POST", "/upload")}


async def test_the_first_wire_is_one_that_a_pc_takes(gns3_client):
    document = (await gns3_client.get("/v1/openapi.json")).json
    path = (
        "/v1/projects/{project_id}/vpcs/vms/{vm_id}/adapters/{adapter_number}/ports/{port_number}"
    )
    body = document["paths"][f"{path}/nio"]["post"]["requestBody"]["content"]["application/json"]
    wire = {"type": "nio_udp", "lport": 30000, "rhost": "127.0.0.1", "rport": 30001}
    assert body["example"] == wire
