"""NIO objects that a node does not take, and ones that are none."""

from __future__ import annotations

import pytest

SHAPES = {
    "nio_tap": {"tap_device": "tap0"},
    "nio_generic_ethernet": {"ethernet_device": "eth0"},
    "nio_linux_ethernet": {"ethernet_device": "eth0"},
    "nio_nat": {},
    "nio_unix": {"local_file": "/tmp/a", "remote_file": "/tmp/b"},
    "nio_vde": {"control_file": "/tmp/a", "local_file": "/tmp/b"},
    "nio_null": {},
}


@pytest.mark.statement("NIO-08")
@pytest.mark.parametrize("kind", SHAPES)
async def test_a_nio_that_the_node_does_not_take_is_a_conflict(client, make_toy, kind):
    toy = await make_toy()
    body = {"type": kind, **SHAPES[kind]}
    answer = await client.post(f"{toy}/adapters/0/ports/0/nio", body)
    assert answer.status == 409
    assert f"NIO of type {kind} is not supported" in answer.json["message"]


@pytest.mark.statement("NIO-08")
@pytest.mark.parametrize("kind", SHAPES)
async def test_a_nio_with_another_key_or_without_one_is_no_nio(client, make_toy, kind):
    toy = await make_toy()
    fields = SHAPES[kind]
    wrong = [{**fields, "more": 1}]
    wrong += [{k: v for k, v in fields.items() if k != left_out} for left_out in fields]
    wrong += [{**fields, emptied: ""} for emptied in fields]
    for body in wrong:
        answer = await client.post(f"{toy}/adapters/0/ports/0/nio", {"type": kind, **body})
        assert answer.status == 400


@pytest.mark.statement("NIO-08")
@pytest.mark.parametrize("kind", ["nio_unknown", "", None, 5, ["nio_tap"], "NIO_TAP"])
async def test_an_unknown_type_is_no_nio(client, make_toy, kind):
    toy = await make_toy()
    answer = await client.post(f"{toy}/adapters/0/ports/0/nio", {"type": kind, "tap_device": "x"})
    assert answer.status == 400


async def test_a_nio_that_the_node_takes_but_nobody_offers_is_a_conflict(
    gns3_serving, faulty_plugin
):
    takes = "MINE = __import__('dataclasses').replace(MINE, nio_types=('nio_udp',))"
    async with gns3_serving(plugins=[faulty_plugin(takes)]) as server:
        made = await server.client.post("/v1/projects", {"name": "one"})
        nodes = f"/v1/projects/{made.json['project_id']}/mine/vms"
        node = (await server.client.post(nodes, {"name": "one"})).json["vm_id"]
        nio = {"type": "nio_udp", "lport": 4242, "rhost": "127.0.0.1", "rport": 4343}
        answer = await server.client.post(f"{nodes}/{node}/adapters/0/ports/0/nio", nio)
        assert answer.status == 409
        assert "no plugin" in answer.json["message"]
