"""Consoles other than the serial one, whose conformance is tested elsewhere."""

from __future__ import annotations

import asyncio

from gns3server.testing import free_udp_port


async def test_vnc_is_served_by_qemu_on_the_loopback_address(lab):
    port = 5900 + free_udp_port(lab.server) % 1000
    while not await lab.server.running.server.machine.can_bind("TCP", port):
        port += 1
    vm = await lab.vm(console_type="vnc", console=port)
    await vm.do("start")
    words = await vm.command_line()
    assert words[words.index("-vnc") + 1] == f"127.0.0.1:{port - 5900}"
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    assert (await reader.readexactly(4)) == b"RFB "
    writer.close()
    await vm.do("suspend", "resume", "stop")


async def test_vnc_needs_a_port_that_it_can_have(lab):
    vm = await lab.vm(console_type="vnc", console=3999)
    answer = await vm.ask("start")
    assert answer.status == 409
    assert "which has ports from 5900 on" in answer.json["message"]


async def test_a_guest_needs_no_console(lab):
    vm = await lab.vm(console_type="none")
    await vm.do("start", "suspend", "resume")
    assert (await vm.get())["console_type"] == "none"
    await vm.do("stop")
