"""Virtual PCs that are plugged into a TAP interface."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest


@pytest.fixture
async def pc(gns3_client, gns3_project):
    """The path of a virtual PC."""
    answer = await gns3_client.post(f"{gns3_project}/vpcs/vms", {"name": "PC"})
    assert answer.status == 201
    return f"{gns3_project}/vpcs/vms/{answer.json['vm_id']}"


@pytest.fixture
def node(gns3_server, pc):
    """The node behind it."""
    project, vms = pc.split("/")[3], pc.rsplit("/", 1)
    return gns3_server.running.server.projects.get(project).members.get("vpcs", vms[1])


def tap(device):
    return {"type": "nio_tap", "tap_device": device}


@pytest.mark.statement("NIO-02", "NIO-03", "NIO-04")
async def test_a_tap_is_plugged_in_kept_and_unplugged(gns3_client, pc, node):
    # Any interface that is up will do for that (contract 2.8), and each machine has this one.
    nio = f"{pc}/adapters/0/ports/0/nio"
    answer = await gns3_client.post(nio, tap("lo"))
    assert (answer.status, answer.json) == (201, tap("lo"))
    assert node.nio().wire() == tap("lo")
    assert (await gns3_client.delete(nio)).status == 204
    assert node.nio() is None


@pytest.mark.statement("NIO-09")
async def test_a_tap_that_is_missing_is_refused(gns3_client, pc, node):
    answer = await gns3_client.post(f"{pc}/adapters/0/ports/0/nio", tap("no-such-tap"))
    assert answer.status == 409
    assert "no-such-tap" in answer.json["message"]
    assert node.nio() is None


@pytest.mark.parametrize("body", [tap(""), tap(None), tap(5), {"type": "nio_tap"}])
async def test_a_tap_without_a_name_is_no_tap(gns3_client, pc, body):
    assert (await gns3_client.post(f"{pc}/adapters/0/ports/0/nio", body)).status == 400


@pytest.mark.statement("VPCS-34")
async def test_with_a_tap_there_is_no_udp_port(gns3_client, pc, node):
    await gns3_client.post(f"{pc}/adapters/0/ports/0/nio", tap("lo"))
    spec = await node.launch_spec()
    options = [option for option in spec.argv[1:] if option != "-R"]
    assert options == [
        *("-m", "0", "-i", "1"),
        *("-e", "-d", "lo"),
    ]
    assert spec.ports == ()
    assert spec.may_bind == ()


async def test_a_tap_that_is_not_there_any_more_keeps_a_pc_from_starting(
    gns3_client, gns3_project, pc
):
    await gns3_client.post(f"{pc}/adapters/0/ports/0/nio", tap("lo"))
    shown = (await gns3_client.get(gns3_project)).json
    assert (await gns3_client.post(f"{gns3_project}/close")).status == 204
    # As where a lab comes to another machine, or the interface has gone since.
    with closing(sqlite3.connect(Path(shown["path"]) / "project.db")) as records, records:
        records.execute("UPDATE nio SET fields = replace(fields, 'lo', 'gone-tap')")
    body = {"project_id": shown["project_id"]}
    assert (await gns3_client.post("/v1/projects", body)).status == 201
    answer = await gns3_client.post(f"{pc}/start")
    assert answer.status == 409
    assert "TAP interface 'gone-tap' is down" in answer.json["message"]
    assert (await gns3_client.get(pc)).json["status"] == "stopped"
