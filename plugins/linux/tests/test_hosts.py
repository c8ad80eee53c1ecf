"""Hosts: their shells, files and wires."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from pathlib import Path

import pytest
from linux_lab import Lab, run_inside
from traces import inhabitants
from unwritable import not_writable

from gns3server.testing import ConsoleClient, LabServer, free_udp_port

CARRIER = "cat /sys/class/net/eth0/carrier"
REPLY = "1 received"
CLASHING = "02:00:00:00:00:77"
LONG = "ip address add 10.0.0.{n}/24 dev eth0\nip link set eth0 mtu 9000\n"

FRAME = b"\xff" * 6 + b"\x02" + b"\0" * 5
SEND = """\
import socket
with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as interface:
    interface.bind(("eth0", 0))
    for text in {frames!r}:
        interface.send(bytes.fromhex(text))
"""


def ping(address: str, *options: str) -> str:
    """A command that sends one ping, and waits long for its answer."""
    return f"ping -c 1 -W 20 {' '.join(options)} {address}"


async def shows_carrier(console: ConsoleClient) -> bool:
    """Whether a host sees a carrier at this moment."""
    return "1" in (await console.run(CARRIER)).splitlines()[-2]


async def test_hosts_and_a_virtual_pc_ping_each_other(lab):
    router = await lab.node(
        name="between",
        adapters=2,
        sysctls={"net.ipv4.ip_forward": "1"},
        startup_script="ip address add 10.0.1.1/24 dev eth0\nip address add 10.0.2.1/24 dev eth1\n",
    )
    host = await lab.host("H2", "10.0.2.2", gateway="10.0.2.1")
    pc = await lab.node("vpcs", name="PC1", startup_script="ip 10.0.1.2/24 10.0.1.1\n")
    await lab.link((router, 0), (pc, 0))
    await lab.link((router, 1), (host, 0))
    for node in (router, host, pc):
        await node.start()
    assert REPLY in await host.runs(ping("10.0.1.2"))
    assert REPLY in await host.runs(ping("10.0.2.1"))
    assert "time=" in await pc.runs("ping 10.0.2.2 -c 1")


async def test_a_wire_is_a_carrier_at_once(lab):
    one, other = await lab.host("H1", "10.0.0.1"), await lab.host("H2", "10.0.0.2")
    for node in (one, other):
        await node.start()
    async with one.console() as console:
        assert not await shows_carrier(console)
        link = await lab.link((one, 0), (other, 0))
        assert await shows_carrier(console)
        assert REPLY in await console.run(ping("10.0.0.2"))
        assert (await lab.change(link, suspended=True)).status == 200
        assert not await shows_carrier(console)
        assert (await lab.change(link, suspended=False)).status == 200
        assert await shows_carrier(console)
        assert REPLY in await console.run(ping("10.0.0.2"))
        # Of a link that is relayed all the time, the nodes' own ends do not change.
        assert (await lab.change(link, path="relayed")).status == 200
        assert (await lab.change(link, suspended=True)).status == 200
        assert not await shows_carrier(console)
        assert (await lab.change(link, suspended=False)).status == 200
        assert REPLY in await console.run(ping("10.0.0.2"))
        assert (await lab.client.delete(link)).status == 204
        assert not await shows_carrier(console)


async def test_frames_may_be_long(lab):
    nodes = [await lab.node(name=f"H{n}", startup_script=LONG.format(n=n)) for n in (1, 2)]
    await lab.link((nodes[0], 0), (nodes[1], 0))
    for node in nodes:
        await node.start()
    async with nodes[0].console() as console:
        assert REPLY in await console.run(ping("10.0.0.2", "-M do", "-s 8972"))
    counted = (await lab.client.get(f"{nodes[0].path}/counters")).json[0]
    assert counted["received_frames"] > 0
    assert counted["sent_frames"] > 0
    assert counted["lost_frames"] == 0


def shells(server: LabServer) -> list[tuple[int, str]]:
    """The shells of hosts, with their process ids."""
    return [(pid, name) for pid, name in server.processes().items() if "bash --norc" in name]


@pytest.mark.parametrize(
    "types", [("8100000a",), ("88a80014", "8100000a"), ("8100000a", "")], ids=" then ".join
)
async def test_frames_keep_their_tags(lab, gns3_server, types):
    host, lport = await lab.node(), free_udp_port(gns3_server)
    # The first with all tags, one in the other, and the second without the last of them.
    frames = [
        FRAME + bytes.fromhex("".join(types[:count])) + b"\x88\xb5" + bytes([count]) * 60
        for count in range(len(types), -1, -1)
    ]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as wire:
        wire.bind(("127.0.0.1", 0))
        wire.settimeout(30)
        nio = {"type": "nio_udp", "lport": lport, "rhost": "127.0.0.1"}
        nio["rport"] = wire.getsockname()[1]
        answer = await lab.client.post(f"{host.path}/adapters/0/ports/0/nio", nio)
        assert answer.status == 201, answer
        await host.start()
        ((shell, _),) = shells(gns3_server)
        script = SEND.format(frames=[frame.hex() for frame in frames])
        await run_inside(shell, "--net", sys.executable, "-c", script)
        received: list[bytes] = []
        while len(received) < len(frames):
            # The host may also look for its neighbours.
            frame = await asyncio.to_thread(wire.recv, 2000)
            received += [frame] if frame.startswith(FRAME) else []
    assert received == frames


async def test_a_node_keeps_its_files_and_leaves_the_machines_alone(lab):
    host = await lab.node(startup_script="echo before the shell\n")
    await host.start()
    async with host.console() as console:
        assert "before the shell" in console.text
        await console.run("echo kept > note")
        assert "Read-only" in await console.run("touch /etc/gns3-was-here")
        await console.run("touch /tmp/gns3-was-here")
        # It comes back: a console without a shell would be of no use.
        await console.run("exit")
        assert "note" in await console.run("ls")
    await host.stop()
    assert (Path(host.folder) / "note").read_text() == "kept\n"
    assert "gns3-was-here" not in await asyncio.to_thread(os.listdir, "/tmp")
    await host.start()
    assert "kept" in await host.runs("cat note")


async def test_the_shell_has_its_terminal(lab):
    host = await lab.node()
    await host.start()
    reader, writer = await asyncio.open_connection("127.0.0.1", host.port)
    await reader.readuntil(b"# ")
    # Said by the command itself, once it is in the foreground.
    writer.write(b"sh -c 'echo beg\"\"un; exec sleep 1000'\r")
    await reader.readuntil(b"begun")
    # There is another prompt only once the command is interrupted.
    writer.write(b"\x03")
    await reader.readuntil(b"# ")
    writer.write(b"echo ag''ain $(tty)\r")
    await reader.readuntil(b"again /dev/pts/")
    writer.close()


@pytest.mark.parametrize(
    ("name", "shown"),
    [("R-1", "R-1"), ("Zürich 1", "Zurich-1"), ("路" * 64, "node"), ("x" * 64, "x" * 63)],
)
async def test_a_host_is_called_what_its_node_is_called(lab, name, shown):
    host = await lab.node(name=name)
    await host.start()
    assert shown in (await host.runs("hostname")).splitlines()


async def test_interfaces_are_always_the_same(lab):
    host, other = await lab.node(adapters=16), await lab.node(adapters=16)
    show = "cat /sys/class/net/eth*/address | sort -u | wc -l; cat /sys/class/net/eth15/address"
    await host.start()
    await other.start()
    shown, others = await host.runs(show), await other.runs(show)
    assert shown.splitlines()[-3] == "16"
    assert shown != others
    await host.stop()
    await host.start()
    assert await host.runs(show) == shown


# Bad input and faults ----------------------------------------------------------------


@pytest.mark.parametrize(
    "values",
    [
        {"adapters": 0},
        {"adapters": 17},
        {"memory_limit": -1},
        {"sysctls": {"kernel.pid_max": "9"}},
        {"sysctls": {"net.ipv4/../../x.y": "9"}},
        {"sysctls": {"net.ipv4.ip_forward": 1}},
        {"startup_script": 5},
        {"config": "hostname x\n"},
    ],
)
async def test_unfit_values_are_refused(lab, values):
    assert (await lab.create(**values)).status == 400


async def test_a_sysctl_that_the_kernel_refuses_is_named(lab, gns3_server):
    host = await lab.node(sysctls={"net.ipv4.no_such_value": "1"})
    answer = await lab.client.post(f"{host.path}/start")
    assert answer.status == 409
    assert "net.ipv4.no_such_value" in answer.json["message"]
    assert not gns3_server.processes()


async def test_interfaces_change_while_nothing_is_wired_and_the_host_is_stopped(lab):
    host, other = await lab.node(adapters=3), await lab.node()
    link = await lab.link((host, 2), (other, 0))
    answer = await lab.change(host.path, adapters=2)
    assert answer.status == 409
    assert "eth2" in answer.json["message"]
    assert (await lab.client.delete(link)).status == 204
    await host.start()
    assert (await lab.change(host.path, adapters=2)).status == 409
    assert (await lab.change(host.path, name="renamed", adapters=3)).status == 200
    await host.stop()
    assert (await lab.change(host.path, adapters=2)).status == 200
    await host.start()
    assert "eth2" not in await host.runs("ls /sys/class/net")


@pytest.mark.parametrize("which", [min, max], ids=["the holder", "process 1"])
async def test_the_end_of_either_process_is_the_end_of_the_node_and_told_once(
    lab, gns3_server, tmp_path, which
):
    host = await lab.node()
    async with lab.client.listen(f"{lab.project}/notifications") as events:
        await host.start()
        # What has no environment is known by its namespace alone.
        await host.runs("env -i sleep 1000 &")
        assert len(inhabitants(tmp_path)) == 3
        holders = [
            pid
            for pid, command in gns3_server.processes().items()
            if "gns3server_linux.holder" in command
        ]
        assert len(holders) == 2
        os.kill(which(holders), signal.SIGKILL)
        told = [await anext(events) for _ in range(4)]
        assert [event["action"] for event in told] == [
            "ping",
            "vm.started",
            "vm.stopped",
            "log.error",
        ]
    assert not gns3_server.processes()
    assert not inhabitants(tmp_path)
    await host.start()


async def test_one_mac_address_at_several_interfaces_hinders_no_start_and_no_wire(lab):
    clash = f"ip link set eth0 address {CLASHING}\nip link set eth1 address {CLASHING}\n"
    address = "ip address add 10.0.0.{}/24 dev eth0\n"
    one, other = [
        await lab.node(name=f"H{n}", adapters=2, startup_script=clash + address.format(n))
        for n in (1, 2)
    ]
    await lab.link((one, 0), (other, 0))
    for node in (one, other):
        await node.start()
    async with one.console() as console:
        assert (await console.run("cat /sys/class/net/eth*/address")).count(CLASHING) == 2
        assert REPLY in await console.run(ping("10.0.0.2"))
        await console.run("ip link set eth0 address 02:00:00:00:00:78")
        assert REPLY in await console.run(ping("10.0.0.2"))


async def test_a_folder_that_is_not_writable_is_named_and_nothing_is_lost(lab):
    host = await lab.node(startup_script="echo first\n")
    folder = Path(host.folder)
    with not_writable(folder):
        answer = await lab.client.post(f"{host.path}/start")
        assert answer.status in {409, 507}
        assert str(folder) in answer.json["message"]
        answer = await lab.change(host.path, startup_script="echo second\n")
        assert answer.status in {409, 507}
        assert str(folder) in answer.json["message"]
    assert (await lab.client.get(host.path)).json["startup_script"] == "echo first\n"
    await host.start()
    async with host.console() as console:
        assert "first" in console.text


async def test_a_node_has_no_more_memory_than_it_may_have(lab):
    host = await lab.node(memory_limit=48)
    answer = await lab.client.post(f"{host.path}/start")
    if answer.status == 409:
        # Only where no control group is ours to divide.
        assert "its memory cannot be limited" in answer.json["message"]
        return
    assert "Killed" in await host.runs("tail /dev/zero")
    assert "still there" in await host.runs("echo still there")
    await host.stop()
    await host.start()
    assert (await lab.client.delete(host.path)).status == 204
    left = await asyncio.to_thread(lambda: [*Path("/sys/fs/cgroup").rglob(f"*{host.id}*")])
    assert not left


@pytest.mark.heavy
async def test_a_fork_bomb_ends_at_the_nodes_own_limit(gns3_serving):
    async with gns3_serving(sections={"linux": {"most_processes": "301"}}) as server:
        lab = await Lab.open(server)
        host = await lab.node(startup_script="bomb() { bomb | bomb & }; bomb\n")
        await host.start()
        assert len(server.processes()) < 320
        # There may be no room for another shell: that ends nothing but the shell.
        for pid, _ in shells(server):
            os.kill(pid, signal.SIGKILL)
        assert (await lab.client.get(f"{host.path}/counters")).status == 200
        await host.stop()
        assert not server.processes()


@pytest.mark.heavy
async def test_twenty_nodes_are_deleted_while_they_start(lab, gns3_server):
    hosts = [await lab.node(name=f"H{number}") for number in range(20)]
    starts = [asyncio.create_task(lab.client.post(f"{host.path}/start")) for host in hosts]
    await asyncio.sleep(0)
    answers = await asyncio.gather(*(lab.client.delete(host.path) for host in hosts))
    assert {answer.status for answer in answers} == {204}
    await asyncio.gather(*starts)
    assert not gns3_server.processes()
