"""Templates."""

from __future__ import annotations

import pytest
from v2_client import SWITCH, VPCS


@pytest.mark.statement("V2-16")
async def test_the_seven_built_in_templates_have_fixed_ids(client):
    listed = {each["name"]: each for each in await client.get("/templates")}
    assert set(listed) >= {
        "Cloud",
        "NAT",
        "VPCS",
        "Ethernet switch",
        "Ethernet hub",
        "Frame Relay switch",
        "ATM switch",
    }
    assert listed["VPCS"]["template_id"] == VPCS
    assert listed["VPCS"]["default_name_format"] == "PC{0}"
    assert listed["Ethernet switch"]["template_id"] == SWITCH
    assert listed["Ethernet switch"]["compute_id"] is None
    await client.delete(f"/templates/{VPCS}", expect=409)
    await client.put(f"/templates/{VPCS}", {"name": "mine"}, expect=409)


async def test_a_template_that_a_client_has_is_not_sent_again(gns3_client):
    path = f"/v2/templates/{VPCS}"
    sent = await gns3_client.get(path)
    tag = {"If-None-Match": sent.headers["ETag"]}
    again = await gns3_client.request("GET", path, headers=tag)
    assert (again.status, again.body) == (304, b"")
    other = await gns3_client.request("GET", f"/v2/templates/{SWITCH}", headers=tag)
    assert other.status == 200


async def test_a_template_of_a_user_is_kept_and_told(client, gns3_server):
    async with client.listening() as stream:
        made = await client.post(
            "/templates",
            {"name": "Desk", "template_type": "vpcs", "compute_id": "local", "usage": "as is"},
        )
        assert await stream.wait_for("template.created") == made
        path = f"/templates/{made['template_id']}"
        changed = await client.put(path, {**made, "default_name_format": "Desk{0}"})
        assert await stream.wait_for("template.updated") == changed
    assert made["category"] == "guest"
    assert made["symbol"] == ":/symbols/vpcs_guest.svg"
    assert made["usage"] == "as is"
    assert await client.get(path) == changed
    project = await client.project()
    node = await client.post(f"{project}/templates/{made['template_id']}", {"x": 0, "y": 0})
    assert node["name"] == "Desk1"
    copy = await client.post(f"{path}/duplicate")
    assert copy["template_id"] != made["template_id"]
    await client.delete(path)
    await client.get(path, expect=404)
