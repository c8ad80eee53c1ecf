"""A real operating system: it boots, pings, is frozen, outlives its server and is shut down."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest
from qemu_lab import Lab, Screen, pc_at, screen_at
from qemu_linux import guest_files

from gns3server.testing import ConsoleClient

PROMPT = "guest> "
LINUX = {
    "platform": "x86_64",
    "ram": 128,
    "hda_disk_image": "",
    "adapter_type": "virtio-net-pci",
    "kernel_image": "vmlinuz",
    "initrd": "initrd.gz",
    "kernel_command_line": "console=ttyS0 quiet",
}


@pytest.fixture
def linux_images(gns3_settings, tmp_path):
    """The files that a Linux guest begins with, among the images of the test's server."""
    folder = tmp_path / "linux"
    folder.mkdir()
    images = Path(gns3_settings.server.images_path) / "QEMU"
    for name, content in zip(("vmlinuz", "initrd.gz"), guest_files(folder), strict=True):
        (images / name).write_bytes(content)


async def command(screen: Screen, text: str) -> str:
    """Have the guest's shell do something; tells what it shows."""
    await screen.type(f"{text}; echo DO''NE\r")
    shown = await screen.until("DONE")
    await screen.until(PROMPT)
    return shown


async def carrier_is(screen: Screen, state: str) -> None:
    """Wait until the guest sees its carrier (1), or that it is gone (0)."""
    while f"carrier:{state}" not in await command(screen, "echo carrier:$(cat $C)"):
        continue


ECHO_REQUEST, ECHO_REPLY = b"\x08\x00", b"\x00\x00"


def check_pings(capture: bytes, address: int) -> None:
    """Check that a capture has pings between two hosts of a network, both ways, and answers."""
    own, other = bytes([10, 0, address, 1]), bytes([10, 0, address, 2])
    for source, target in ((own, other), (other, own)):
        assert capture.count(source + target + ECHO_REQUEST) >= 2
        assert capture.count(target + source + ECHO_REPLY) >= 2


async def capture_of(lab: Lab, *ends: tuple[str, int]) -> str:
    """Join two nodes by a link that is captured; tells the path of the capture."""
    link = await lab.link(*ends)
    started = await lab.client.post(f"{link}/capture", {"file": f"to-{ends[1][0]}"})
    assert started.status == 201, started
    return f"{lab.project}/files/{started.json['capture']['file']}"


@pytest.mark.timeout(300)
async def test_linux_pings_a_host_and_a_pc_and_they_ping_it(lab, linux_images):
    plugins = (await lab.client.get("/v1/plugins")).json
    (hosts,) = (plugin["types"][0] for plugin in plugins if plugin["name"] == "linux")
    if not hosts["runs"]:
        (pytest.fail if os.geteuid() == 0 else pytest.skip)(hosts["text"])
    vm = await lab.vm(**LINUX, adapters=2)
    (host, shell), (pc, console) = await lab.host("10.0.1.2"), await lab.pc()
    files = [
        await capture_of(lab, (vm.id, 0), (host, 0)),
        await capture_of(lab, (vm.id, 1), (pc, 0)),
    ]
    for path in (f"linux/vms/{host}", f"vpcs/vms/{pc}"):
        assert (await lab.client.post(f"{lab.project}/{path}/start")).status == 204
    await vm.do("start")
    async with screen_at(vm.console) as screen:
        await screen.until(PROMPT)
        for card, network in (("eth0", 1), ("eth1", 2)):
            await command(screen, f"C=/sys/class/net/{card}/carrier; ip link set {card} up")
            await command(screen, f"ip addr add 10.0.{network}.1/24 dev {card}")
            await carrier_is(screen, "1")
        async with pc_at(console) as other:
            await other.run("ip 10.0.2.2/24")
            assert "2 packets received" in await command(screen, "ping -c 2 -W 5 10.0.2.2")
            assert "10.0.2.1 icmp_seq=2" in await other.run("ping 10.0.2.1 -c 2 -w 5000")
        async with ConsoleClient.open(shell, "# ") as other:
            assert "2 packets received" in await command(screen, "ping -c 2 -W 5 10.0.1.2")
            assert " 2 received" in await other.run("ping -c 2 -W 5 10.0.1.1")
    for network, file in enumerate(files, start=1):
        check_pings((await lab.client.get(file)).body, network)


@pytest.mark.long
@pytest.mark.timeout(600)
async def test_linux_boots_pings_and_outlives_its_server(gns3_process, linux_images, qemu_program):
    async with gns3_process() as server:
        lab = await Lab.open(server)
        vm, (pc, console) = await lab.vm(**LINUX), await lab.pc()
        link = await lab.link((vm.id, 0), (pc, 0))
        capture = await server.client.post(f"{link}/capture", {"file": "linux"})
        assert capture.status == 201, capture
        await vm.do("start")
        assert (await server.client.post(f"{lab.project}/vpcs/vms/{pc}/start")).status == 204
        async with screen_at(vm.console) as screen, pc_at(console) as other:
            await screen.until(PROMPT)
            await command(screen, "C=/sys/class/net/eth0/carrier; ip link set eth0 up")
            await command(screen, "ip addr add 10.0.0.1/24 dev eth0")
            await carrier_is(screen, "1")
            await other.run("ip 10.0.0.2/24")
            assert "3 packets received" in await command(screen, "ping -c 3 -W 5 10.0.0.2")
            file = f"{lab.project}/files/{capture.json['capture']['file']}"
            # An echo request, and its answer.
            seen = (await server.client.get(file)).body
            assert seen.count(bytes([10, 0, 0, 1, 10, 0, 0, 2, 8, 0])) >= 3
            assert seen.count(bytes([10, 0, 0, 2, 10, 0, 0, 1, 0, 0])) >= 3

            await vm.do("suspend")
            await server.kill()
            async with gns3_process() as successor:
                later = vm.on(Lab(successor, lab.project))
                assert await later.status() == "suspended"
                await later.do("resume")
                assert "2 packets received" in await command(screen, "ping -c 2 -W 5 10.0.0.2")
                assert (await successor.client.delete(link)).status == 204
                await carrier_is(screen, "0")
                await later.lab.link((vm.id, 0), (pc, 0))
                await carrier_is(screen, "1")
                # The PC takes a wire up when it is started.
                restarted = await successor.client.post(f"{lab.project}/vpcs/vms/{pc}/reload")
                assert restarted.status == 204
                async with pc_at(console) as again:
                    await again.run("ip 10.0.0.2/24")
                assert "2 packets received" in await command(screen, "ping -c 2 -W 5 10.0.0.2")

                await later.do("reload")
                await screen.until(PROMPT)
                async with successor.client.listen(f"{lab.project}/notifications") as events:
                    await screen.type("poweroff -f\r")
                    async with asyncio.timeout(60):
                        while (await anext(events))["action"] != "vm.stopped":
                            pass
                assert await later.status() == "stopped"
                assert (await successor.client.delete(lab.project)).status == 204
