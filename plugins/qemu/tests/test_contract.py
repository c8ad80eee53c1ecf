"""The part of the API that this plugin adds is the one that was reviewed."""

from __future__ import annotations

from gns3server.testing import part_of


async def test_the_contract_is_the_reviewed_one(gns3_client, gns3_snapshot):
    document = (await gns3_client.get("/v1/openapi.json")).json
    gns3_snapshot(part_of(document, "qemu"))
