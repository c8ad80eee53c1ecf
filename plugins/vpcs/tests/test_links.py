"""Links between real virtual PCs."""

from __future__ import annotations

import asyncio

import pytest
from vpcs_console import open_console

pytestmark = pytest.mark.usefixtures("vpcs_program")


def end(pc):
    return {"vm_id": pc.id, "adapter_number": 0, "port_number": 0}


async def link(lab, *pcs):
    answer = await lab.client.post(f"{lab.project}/links", {"ends": [end(pc) for pc in pcs]})
    assert answer.status == 201, answer.body
    return answer.json


async def test_one_request_is_a_wire(lab):
    one, other = await lab.pc(name="one"), await lab.pc(name="other")
    made = await link(lab, one, other)
    assert (await lab.client.get(f"{lab.project}/links")).json == [made]
    await asyncio.gather(one.do("start"), other.do("start"))
    async with open_console(one.console) as here, open_console(other.console) as there:
        await asyncio.gather(here.run("ip 10.0.0.1/24"), there.run("ip 10.0.0.2/24"))
        assert all(await asyncio.gather(here.pings("10.0.0.2"), there.pings("10.0.0.1")))


async def test_a_wire_of_two_nios_is_read_back(lab):
    one, other = await lab.pair()
    (found,) = (await lab.client.get(f"{lab.project}/links")).json
    assert found["made_as"] == "nios"
    assert sorted(found["ends"], key=str) == sorted([end(one), end(other)], key=str)
