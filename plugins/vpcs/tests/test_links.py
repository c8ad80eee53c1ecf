"""Links between real virtual PCs: filtered and captured while they ping, through kills as well."""

from __future__ import annotations

import asyncio
import itertools
import re
import shutil
import struct
import subprocess
from contextlib import asynccontextmanager

import pytest
from vpcs_console import open_console
from vpcs_lab import Server

pytestmark = pytest.mark.usefixtures("vpcs_program")

TIME = re.compile(r"icmp_seq=\d+ .*time=([\d.]+) ms")
NANOSECONDS = 0xA1B23C4D


def end(pc):
    return {"vm_id": pc.id, "adapter_number": 0, "port_number": 0}


async def link(lab, *pcs, **values):
    """Link PCs; returns the link's path."""
    body = {"ends": [end(pc) for pc in pcs], **values}
    answer = await lab.client.post(f"{lab.project}/links", body)
    assert answer.status == 201, answer.body
    return f"{lab.project}/links/{answer.json['link_id']}"


async def put(lab, path, **values):
    answer = await lab.client.put(path, values)
    assert answer.status == 200, answer.body
    return answer.json


@asynccontextmanager
async def pinging(*pcs):
    """Give two started PCs addresses; yields the second one's console."""
    async with open_console(pcs[0].console) as here, open_console(pcs[1].console) as there:
        await asyncio.gather(here.run("ip 10.0.0.1/24"), there.run("ip 10.0.0.2/24"))
        assert await there.pings("10.0.0.1")
        yield there


async def times(console):
    """How long answered pings take, in milliseconds."""
    while True:
        found = [float(time) for time in TIME.findall(await console.run("ping 10.0.0.1 -c 2"))]
        if found:
            return found


async def capture_of(lab, name):
    answer = await lab.client.get(f"{lab.project}/files/captures/{name}.pcap")
    assert answer.status == 200
    return answer.body


def frames(data):
    """The frames of a capture, none of them cut off."""
    assert struct.unpack_from("=I", data)[0] == NANOSECONDS
    found, at = [], 24
    while at < len(data):
        size = struct.unpack_from("=I", data, at + 8)[0]
        found.append(data[at + 16 : at + 16 + size])
        at += 16 + size
    assert at == len(data)
    return found


async def test_one_request_is_a_wire(lab):
    one, other = await lab.pc(name="one"), await lab.pc(name="other")
    path = await link(lab, one, other)
    (made,) = (await lab.client.get(f"{lab.project}/links")).json
    assert (made["wanted_path"], made["path"]) == ("auto", "relayed")
    await asyncio.gather(one.do("start"), other.do("start"))
    assert (await lab.client.get(path)).json["at_next_start"] == []
    async with pinging(one, other):
        pass


async def test_a_direct_link_has_nothing_in_between(lab):
    one, other = await lab.pc(name="one"), await lab.pc(name="other")
    await link(lab, one, other, path="direct")
    await asyncio.gather(one.do("start"), other.do("start"))
    async with pinging(one, other):
        assert not any("links.panel" in command for command in lab.server.processes().values())


async def test_what_is_done_to_a_link_while_they_ping(lab):
    one, other = await lab.pc(name="one"), await lab.pc(name="other")
    path = await link(lab, one, other)
    await asyncio.gather(one.do("start"), other.do("start"))
    pids = (*one.node.pids, *other.node.pids)
    async with pinging(one, other) as console:
        await put(lab, path, filters={"delay": {"latency": 10}})
        assert min(await times(console)) >= 20
        await put(lab, path, suspended=True)
        assert not TIME.search(await console.run("ping 10.0.0.1 -c 1"))
        await put(lab, path, suspended=False, filters={"delay": None})
        assert (await lab.client.post(f"{path}/capture", {"file": "ping"})).status == 201
        assert await console.pings("10.0.0.1")
        assert (await lab.client.delete(f"{path}/capture")).status == 204
    assert len(frames(await capture_of(lab, "ping"))) >= 2
    assert pids == (*one.node.pids, *other.node.pids)


async def test_tshark_reads_a_capture_of_pings(lab, tmp_path):
    if shutil.which("tshark") is None:
        pytest.skip("no tshark here")
    one, other = await lab.pc(name="one"), await lab.pc(name="other")
    path = await link(lab, one, other)
    assert (await lab.client.post(f"{path}/capture", {"file": "ping"})).status == 201
    await asyncio.gather(one.do("start"), other.do("start"))
    async with pinging(one, other):
        assert (await lab.client.delete(f"{path}/capture")).status == 204
    (tmp_path / "ping.pcap").write_bytes(await capture_of(lab, "ping"))
    read = ["tshark", "-n", "-r", str(tmp_path / "ping.pcap"), "-Y", "icmp", "-T", "fields"]
    fields = ["-e", "ip.src", "-e", "icmp.type"]
    done = await asyncio.to_thread(subprocess.run, [*read, *fields], capture_output=True, text=True)
    assert "10.0.0.2\t8" in done.stdout, done
    assert "10.0.0.1\t0" in done.stdout, done


async def test_a_wire_of_two_nios_is_read_back(lab):
    one, other = await lab.pair()
    (found,) = (await lab.client.get(f"{lab.project}/links")).json
    assert found["made_as"] == "nios"
    assert sorted(found["ends"], key=str) == sorted([end(one), end(other)], key=str)


@pytest.mark.timeout(180)
async def test_a_kill_of_the_server_interrupts_nothing(gns3_process):
    async with gns3_process() as server:
        answer = await server.client.post("/v1/projects", {"name": "test"})
        lab = Server(server, f"/v1/projects/{answer.json['project_id']}")
        pcs = [await lab.pc(name=name) for name in ("one", "other")]
        path = await link(lab, *pcs)
        for pc in pcs:
            await pc.do("start")
        async with pinging(*pcs) as console:
            await put(lab, path, filters={"delay": {"latency": 10}})
            assert (await lab.client.post(f"{path}/capture", {"file": "ping"})).status == 201
            shown = (await lab.client.get(path)).json
            assert min(await times(console)) >= 20
            await server.kill()
            assert min(await times(console)) >= 20
            async with gns3_process() as second:
                lab = Server(second, lab.project)
                assert (await lab.client.get(path)).json == shown
                assert min(await times(console)) >= 20
                await put(lab, path, filters={"delay": None})
                assert min(await times(console)) < 20
                assert (await lab.client.delete(f"{path}/capture")).status == 204
                sequence = [
                    int.from_bytes(frame[40:42], "big")
                    for frame in frames(await capture_of(lab, "ping"))
                    if frame[12:14] == b"\x08\x00" and frame[23] == 1 and frame[34] == 8
                ]
                # Each ping begins with 1: no request is missing in between.
                assert sequence.count(1) >= 4
                for before, after in itertools.pairwise(sequence):
                    assert after in (before + 1, 1)
                for pc in pcs:
                    await lab.client.post(f"{pc.path}/stop")
