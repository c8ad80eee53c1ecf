"""Wires of guests that run: what is plugged in and out, and what the guest sees of it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from typing import Any

import aiohttp
import pytest
from qemu_lab import Lab, ipxe_at, pc_at

from gns3server.testing import free_udp_port

NET = {"hda_disk_image": "", "ram": 32}
"""A guest that has nothing to boot, and so runs what is in its network card."""

PINGED = "10.0.0.2 icmp_seq="


@contextlib.contextmanager
def bound_wire(port: int):
    """The other end of a wire, for a test to hold."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as wire:
        wire.setblocking(False)
        wire.bind(("127.0.0.1", port))
        yield wire


async def test_a_wire_is_plugged_in_and_out_while_the_guest_runs(lab):
    vm = await lab.vm(**NET)
    pc, console = await lab.pc()
    await vm.do("start")
    async with ipxe_at(vm) as guest:
        await guest.take_address("10.0.0.2")
        await guest.link_is("down")
        link = await lab.link((vm.id, 0), (pc, 0))
        assert (await lab.client.get(link)).json["at_next_start"] == []
        started = await lab.client.post(f"{link}/capture", {"file": "guest"})
        assert started.status == 201, started
        await guest.link_is("up")
        assert (await lab.client.post(f"{lab.project}/vpcs/vms/{pc}/start")).status == 204
        async with pc_at(console) as screen:
            await screen.run("ip 10.0.0.1/24")
            assert PINGED in await screen.run("ping 10.0.0.2 -c 3 -w 5000")
        file = f"{lab.project}/files/{started.json['capture']['file']}"
        # An ARP request of the PC, or the answer of the guest.
        assert b"\x08\x06\x00\x01\x08\x00" in (await lab.client.get(file)).body
        assert (await lab.client.delete(link)).status == 204
        await guest.link_is("down")
        await lab.link((vm.id, 0), (pc, 0))
        await guest.link_is("up")
        async with pc_at(console) as screen:
            assert PINGED in await screen.run("ping 10.0.0.2 -c 3 -w 5000")


async def test_a_wire_is_exchanged_while_the_guest_is_frozen(lab):
    vm = await lab.vm(**NET)
    first, second, third = (free_udp_port(lab.server) + step for step in (0, 40, 80))
    nio = {"type": "nio_udp", "rhost": "127.0.0.1"}
    await vm.plug(lport=first, rport=third, **nio)
    await vm.do("start")
    async with ipxe_at(vm) as guest:
        await vm.do("suspend")
        assert (await vm.plug(lport=second, rport=third, **nio)).status == 201
        await vm.do("resume")
        with bound_wire(third) as wire:
            await guest.take_address("10.0.0.2")
            assert await first_sender(wire) == ("127.0.0.1", second)


async def first_sender(wire: socket.socket) -> tuple[str, int]:
    """Who sends the next frame."""
    _, (host, port) = await asyncio.get_running_loop().sock_recvfrom(wire, 65536)
    return host, port


async def test_its_own_network_gives_a_guest_an_address(lab):
    vm = await lab.vm(**NET)
    await vm.do("start")
    async with ipxe_at(vm) as guest:
        await guest.run("ifopen net0")
        assert (await vm.plug(type="nio_nat")).status == 201
        await guest.link_is("up")
        assert "ok" in await guest.run("dhcp net0")
        assert (await vm.unplug()).status == 204
        await guest.link_is("down")


async def test_a_guest_sees_that_its_link_is_suspended(lab):
    vm = await lab.vm(**NET)
    pc, _ = await lab.pc()
    link = await lab.link((vm.id, 0), (pc, 0))
    await vm.do("start")
    async with ipxe_at(vm) as guest:
        await guest.run("ifopen net0")
        for suspended, state in ((True, "down"), (False, "up")):
            answer = await lab.client.put(link, {"suspended": suspended})
            assert answer.status == 200, answer
            await guest.link_is(state)


async def test_a_link_that_is_not_shown_stays_up(lab):
    vm = await lab.vm(**NET, replicate_network_connection_state=False)
    await vm.do("start")
    async with ipxe_at(vm) as guest:
        await guest.run("ifopen net0")
        await guest.link_is("up")


async def test_all_adapters_have_their_wires(lab):
    vm = await lab.vm(adapters=32)
    ports = range(free_udp_port(lab.server) + 100, free_udp_port(lab.server) + 132)
    for adapter, port in enumerate(ports):
        nio = {"type": "nio_udp", "lport": port, "rhost": "127.0.0.1", "rport": 9}
        assert (await vm.plug(adapter, **nio)).status == 201
    await vm.do("start")
    assert {port.number for port in vm.node.run.spec.ports} == set(ports)
    assert (await vm.unplug(31)).status == 204
    nio = {"type": "nio_udp", "lport": ports[31], "rhost": "127.0.0.1", "rport": 9}
    assert (await vm.plug(31, **nio)).status == 201


async def test_a_udp_port_has_one_user(lab):
    vm = await lab.vm(adapters=2)
    port = free_udp_port(lab.server)
    nio = {"type": "nio_udp", "lport": port, "rhost": "127.0.0.1", "rport": 9}
    await vm.plug(0, **nio)
    answer = await vm.plug(1, **nio)
    assert answer.status == 409
    assert "in use by adapter 0" in answer.json["message"]
    await vm.do("start")
    with bound_wire(port + 1):
        answer = await vm.plug(1, **{**nio, "lport": port + 1})
        assert answer.status == 409
        assert "by another process" in answer.json["message"]


async def test_a_guest_that_has_outlived_its_server_gets_wires(gns3_process, qemu_program):
    assert qemu_program
    async with gns3_process() as server:
        lab = await Lab.open(server)
        vm, (pc, console) = await lab.vm(**NET), await lab.pc()
        await vm.do("start")
        async with ipxe_at(vm) as guest:
            await server.kill()
            async with gns3_process() as successor:
                later = vm.on(Lab(successor, lab.project))
                assert await later.status() == "started"
                await guest.take_address("10.0.0.2")
                await later.lab.link((vm.id, 0), (pc, 0))
                await guest.link_is("up")
                started = await successor.client.post(f"{lab.project}/vpcs/vms/{pc}/start")
                assert started.status == 204
                async with pc_at(console) as screen:
                    await screen.run("ip 10.0.0.1/24")
                    assert PINGED in await screen.run("ping 10.0.0.2 -c 3 -w 5000")
                assert (await successor.client.delete(lab.project)).status == 204


async def unread_bytes(path: str) -> int:
    """How much a program has not read yet of what it was sent at a unix socket."""
    ss = await asyncio.create_subprocess_exec("ss", "-xH", stdout=asyncio.subprocess.PIPE)
    said, _ = await ss.communicate()
    rows = [row.split() for row in said.decode().splitlines()]
    return sum(int(row[2]) for row in rows if row[1] == "ESTAB" and row[4] == path)


@pytest.mark.parametrize("way", ["exchanged", "unplugged", "plugged in"])
async def test_a_wire_that_its_server_could_not_tell_is_set_right(gns3_process, qemu_program, way):
    """The server is killed between the commit of a wire and its plugging."""
    assert qemu_program
    async with gns3_process() as server:
        lab = await Lab.open(server)
        vm = await lab.vm(**NET)
        first, second, third = [await lab.udp_port() for _ in range(3)]
        nio: dict[str, Any] = {"type": "nio_udp", "rhost": "127.0.0.1", "rport": third}
        if way != "plugged in":
            assert (await vm.plug(lport=first, **nio)).status == 201
        await vm.do("start")
        words = ",".join(await vm.command_line()).split(",")
        control = words[words.index("id=qmp") + 1].removeprefix("path=")
        async with ipxe_at(vm) as guest:
            await guest.take_address("10.0.0.2")
            pid = vm.pid
            os.kill(pid, signal.SIGSTOP)
            change = vm.unplug() if way == "unplugged" else vm.plug(lport=second, **nio)
            coming = asyncio.create_task(change)
            while not await unread_bytes(control):
                pass
            await server.kill()
            with pytest.raises(aiohttp.ClientError):
                await coming
            os.kill(pid, signal.SIGCONT)
            async with gns3_process() as successor:
                later = vm.on(Lab(successor, lab.project))
                assert await later.status() == "started"
                await guest.link_is("down" if way == "unplugged" else "up")
                with bound_wire(third) as wire:
                    if way == "unplugged":
                        assert (await later.plug(lport=second, **nio)).status == 201
                    await guest.begin("dhcp net0")
                    assert await first_sender(wire) == ("127.0.0.1", second)
                assert (await successor.client.delete(lab.project)).status == 204
