"""PCs of projects from before 1.3, whose ids are integers (contract 4.4)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from gns3server.testing import Client


@pytest.mark.statement("LEG-01", "LEG-02")
async def test_an_old_pc_keeps_its_script(gns3_client: Client) -> None:
    made = (await gns3_client.post("/v1/projects", {"name": "old"})).json
    path = Path(made["path"])
    pc = path / "old-files" / "vpcs" / "pc-1"
    pc.mkdir(parents=True)
    (pc / "startup.vpc").write_text("echo hello\n")
    pcs = f"/v1/projects/{made['project_id']}/vpcs/vms"
    answer = await gns3_client.post(pcs, {"name": "PC1", "vm_id": 1})
    assert answer.status == 201, answer
    vm = answer.json
    assert vm["startup_script"] == "echo hello\n"
    assert vm["vm_directory"] == str(path / "project-files" / "vpcs" / vm["vm_id"])
    assert {name for name in os.listdir(path) if name.endswith("files")} == {"project-files"}


async def test_the_same_integer_twice_makes_two_pcs_and_zero_is_none(gns3_client: Client) -> None:
    made = (await gns3_client.post("/v1/projects", {"name": "old"})).json
    pcs = f"/v1/projects/{made['project_id']}/vpcs/vms"
    answers = [await gns3_client.post(pcs, {"name": "PC", "vm_id": n}) for n in (1, 1, 0)]
    assert [answer.status for answer in answers] == [201] * 3
    ids = {answer.json["vm_id"] for answer in answers}
    assert len(ids) == 3
    assert all(len(node_id) == 36 for node_id in ids)
