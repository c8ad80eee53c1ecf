"""Consoles other than the serial one, whose conformance is tested elsewhere."""

from __future__ import annotations

import asyncio
import socket

import psutil
import pytest
from gns3server_qemu.command_line import vnc_display
from qemu_lab import Lab


async def greets(host, port):
    """Whether VNC answers at a port."""
    reader, writer = await asyncio.open_connection(host, port)
    try:
        return (await reader.readexactly(4)) == b"RFB "
    finally:
        writer.close()


def listening_at(pid, port):
    """The addresses at which a process listens at a TCP port."""
    found = psutil.Process(pid).net_connections("tcp")
    return [each.laddr.ip for each in found if each.status == "LISTEN" and each.laddr.port == port]


async def test_vnc_has_a_port_of_the_pool_on_the_loopback_address(lab):
    vm = await lab.vm(console_type="vnc")
    await vm.do("start")
    assert await greets("127.0.0.1", vm.console)
    assert listening_at(vm.pid, vm.console) == ["127.0.0.1"]
    await vm.do("suspend", "resume")
    port = vm.console + 60
    assert (await vm.update(console=port)).json["console"] == port
    assert await greets("127.0.0.1", port)
    assert listening_at(vm.pid, vm.console) == []
    await vm.do("stop")


async def test_vnc_says_which_port_it_cannot_have(lab):
    vm = await lab.vm(console_type="vnc")
    with socket.create_server(("127.0.0.1", vm.console)):
        answer = await vm.ask("start")
        assert answer.status == 409
        assert f"cannot listen at port {vm.console}" in answer.json["message"]
        assert not lab.server.processes()
    await vm.do("start", "stop")


async def test_vnc_of_an_outlived_server_stays_where_it_is(gns3_process, qemu_program):
    assert qemu_program
    async with gns3_process() as server:
        lab = await Lab.open(server)
        vm = await lab.vm(console_type="vnc")
        await vm.do("start")
        await server.kill()
        async with gns3_process() as successor:
            later = vm.on(Lab(successor, lab.project))
            assert await later.status() == "started"
            assert await greets("127.0.0.1", vm.console)
            assert (await successor.client.delete(lab.project)).status == 204


def test_older_versions_have_ports_of_their_own():
    assert vnc_display("127.0.0.1", 2000, (7, 1)) == "none"
    assert vnc_display("127.0.0.1", 5907, (7, 0)) == "127.0.0.1:7"
    with pytest.raises(ValueError, match="2000"):
        vnc_display("127.0.0.1", 2000, (6, 2))


async def test_a_guest_needs_no_console(lab):
    vm = await lab.vm(console_type="none")
    await vm.do("start", "suspend", "resume")
    assert (await vm.get())["console_type"] == "none"
    await vm.do("stop")
