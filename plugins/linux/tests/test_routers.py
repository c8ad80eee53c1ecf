"""Routers: FRR's daemons, and their configuration."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest
from linux_lab import ROUTERS, Lab, LabNode, run_inside

BROKEN = "interface eth0\n ip address 10.0.0.1/24\nrouter ospf\n netwerk 10.0.0.0/8 area 0\n"


async def route(router: LabNode, network: str) -> None:
    """Wait until a router has learnt the way to a network."""
    async with router.console() as console:
        while f"O>* {network}" not in await console.run("show ip route ospf"):
            pass


async def configuration(router: LabNode) -> str:
    """What a router's configuration is."""
    answer = await router.lab.client.get(f"{router.path}/config")
    assert answer.status == 200, answer.body
    text: str = answer.json["config"]
    return text


def daemons(server) -> dict[str, int]:
    """The process ids of FRR's daemons, by name."""
    found = server.processes().items()
    return {
        command.split()[0].rpartition("/")[2]: pid
        for pid, command in found
        if command.startswith("/usr/lib/frr/")
    }


@pytest.mark.timeout(120)
async def test_routers_learn_the_way_to_each_others_hosts_and_keep_it(gns3_process):
    async with gns3_process() as server:
        lab = await Lab.open(server)
        routers = [
            await lab.node("frr", name=f"R{n}", config=text) for n, text in enumerate(ROUTERS, 1)
        ]
        hosts = [await lab.host(f"H{n}", f"10.{n}.0.2", gateway=f"10.{n}.0.1") for n in (1, 2)]
        link = await lab.link((routers[0], 1), (routers[1], 1))
        for host, router in zip(hosts, routers, strict=True):
            await lab.link((host, 0), (router, 0))
        for node in (*routers, *hosts):
            await node.start()
        await route(routers[0], "10.2.0.0/24")
        await route(routers[1], "10.1.0.0/24")
        async with hosts[0].console() as console:
            assert "1 received" in await console.run("ping -c 1 -W 20 10.2.0.2")
            # The server is killed while these are on their way.
            await console.enter("ping -c 40 -i 0.05 -W 20 10.2.0.2")
            await console.shows("icmp_seq=3 ")
            await server.kill()
            assert "40 received, 0% packet loss" in await console.prompt()
        async with gns3_process() as successor:
            lab.client = successor.client
            assert "10.2.0.0/24" in await routers[0].runs("show ip route ospf")
            assert (await lab.change(link, suspended=True)).status == 200
            async with routers[0].console() as console:
                while "line protocol is down" not in await console.run("show interface eth1"):
                    pass
            assert (await lab.change(link, suspended=False)).status == 200
            await route(routers[0], "10.2.0.0/24")
            assert " ip ospf dead-interval 3" in await configuration(routers[0])
            assert (await lab.client.delete(lab.project)).status == 204


async def test_what_is_typed_is_kept(lab):
    router = await lab.node("frr", name="R1")
    assert (await lab.client.get(f"{router.path}/config")).json == {"config": None}
    await router.start()
    async with router.console() as console:
        for line in ("configure terminal", "interface eth3", "description typed", "end"):
            await console.run(line)
        assert " description typed" in await configuration(router)
        for line in ("configure terminal", "interface eth3", "description again", "end"):
            await console.run(line)
    await router.stop()
    stored = await configuration(router)
    assert " description again" in stored
    assert (Path(router.folder) / "frr.conf").read_text() == stored
    assert stored.startswith("frr version")
    await router.start()
    assert "description again" in await router.runs("show running-config")


def shells(server) -> list[int]:
    """The process ids of vtysh, of the routers that have one."""
    return [pid for pid, line in server.processes().items() if line.split()[0].endswith("/vtysh")]


async def test_vtysh_takes_memory_only_while_somebody_uses_it(lab, gns3_server):
    router = await lab.node("frr", name="R1")
    await router.start()
    reader, writer = await asyncio.open_connection("127.0.0.1", router.port)
    invitation = b"Press RETURN to get started.\r\n"
    try:
        async with asyncio.timeout(60):
            await reader.readuntil(invitation)
            assert shells(gns3_server) == []
            writer.write(b"\r")
            await reader.readuntil(b"R1# ")
            assert len(shells(gns3_server)) == 1
            writer.write(b"exit\r")
            await reader.readuntil(invitation)
            assert shells(gns3_server) == []
            # What is typed instead of Enter is not lost: it is vtysh's first line.
            writer.write(b"show version\r")
            await reader.readuntil(b"R1# ")
            await reader.readuntil(b"FRRouting ")
            await reader.readuntil(b"R1# ")
    finally:
        writer.close()


async def test_a_router_forwards_unless_it_is_told_not_to(lab):
    forwarding, other = (
        await lab.node("frr"),
        await lab.node("frr", sysctls={"net.ipv4.ip_forward": "0"}),
    )
    for node, shown in ((forwarding, "on"), (other, "off")):
        await node.start()
        assert f"IP forwarding is {shown}" in await node.runs("show ip forwarding")


# Bad input and faults ----------------------------------------------------------------


async def test_what_is_missing_is_said_with_the_command_that_helps(lab, monkeypatch):
    monkeypatch.setattr("gns3server_linux.programs.FRR_PROGRAMS", "/nowhere")
    router = await lab.node("frr")
    answer = await lab.client.post(f"{router.path}/start")
    assert answer.status == 409
    assert "sudo apt-get install frr" in answer.json["message"]
    plugins = (await lab.client.get("/v1/plugins")).json
    (found,) = (each for each in plugins if each["name"] == "linux")
    said = {each["name"]: each for each in found["types"]}
    assert "sudo apt-get install frr" in str(said["frr"])
    assert "in namespaces of" in str(said["linux"])


async def test_other_clients_draw_a_router_and_a_computer(lab):
    templates = (await lab.client.get("/v2/templates")).json
    symbols = {each["name"]: each["symbol"] for each in templates}
    assert "router" in symbols["FRR router"]
    assert "computer" in symbols["Linux host"]


async def test_a_configuration_with_a_mistake_is_refused_with_its_line(lab):
    answer = await lab.create("frr", config=BROKEN)
    assert answer.status == 409
    assert "line 4: " in answer.json["message"]
    assert "netwerk" in answer.json["message"]
    router = await lab.node("frr", config=ROUTERS[0])
    answer = await lab.change(f"{router.path}/config", config=BROKEN)
    assert answer.status == 409
    assert await configuration(router) == ROUTERS[0]
    answer = await lab.change(f"{router.path}/config", config=ROUTERS[1])
    assert (answer.status, answer.json) == (200, {"config": ROUTERS[1]})


async def test_a_router_that_runs_keeps_its_configuration(lab):
    router = await lab.node("frr", config=ROUTERS[0])
    await router.start()
    answer = await lab.change(f"{router.path}/config", config=ROUTERS[1])
    assert answer.status == 409
    assert "Stop it first" in answer.json["message"]


async def test_a_stored_mistake_is_told_when_the_router_starts(lab):
    router = await lab.node("frr", config=ROUTERS[0])
    (Path(router.folder) / "frr.conf").write_text(BROKEN)
    async with lab.client.listen(f"{lab.project}/notifications") as events:
        await router.start()
        told = [await anext(events) for _ in range(3)]
    assert [event["action"] for event in told] == [
        "ping",
        "vm.started",
        "linux.configuration_refused",
    ]
    assert "netwerk" in told[2]["event"]["lines"][0]
    assert "10.0.0.1/24" in await router.runs("show running-config")


@pytest.mark.parametrize(("wanted", "reason"), [(["ospfd", "nosuchd"], 400), (["ospfd"], 201)])
async def test_daemons_are_those_of_frr(lab, wanted, reason):
    assert (await lab.create("frr", daemons=wanted)).status == reason


async def test_a_daemon_that_ends_is_told_and_started_again(lab, gns3_server):
    router = await lab.node("frr", config=ROUTERS[0])
    await router.start()
    before = daemons(gns3_server)
    assert before.keys() == {"zebra", "staticd", "ospfd"}
    async with lab.client.listen(f"{lab.project}/notifications") as events:
        assert (await anext(events))["action"] == "ping"
        os.kill(before["ospfd"], signal.SIGKILL)
        told = await anext(events)
    assert told["action"] == "linux.daemon_ended"
    assert told["event"] == {
        "vm_id": router.id,
        "name": "H1",
        "daemon": "ospfd",
        "code": -9,
        "restarted": True,
    }
    # Nothing of it is lost meanwhile.
    while (answer := await lab.client.get(f"{router.path}/config")).status == 503:
        assert "ospfd has ended" in answer.json["message"]
    assert "router ospf" in answer.json["config"]
    async with router.console() as console:
        while "ospfd" not in await console.run("show daemons"):
            pass
    after = daemons(gns3_server)
    assert after.pop("ospfd") != before.pop("ospfd")
    assert after == before


async def test_a_daemon_that_ends_stays_so_if_the_settings_say_that(gns3_serving):
    async with gns3_serving(sections={"linux": {"restart_daemons": "no"}}) as server:
        lab = await Lab.open(server)
        router = await lab.node("frr")
        await router.start()
        async with lab.client.listen(f"{lab.project}/notifications") as events:
            assert (await anext(events))["action"] == "ping"
            os.kill(daemons(server)["staticd"], signal.SIGKILL)
            assert not (await anext(events))["event"]["restarted"]
            await router.stop()
            told = [await anext(events) for _ in range(2)]
            assert [event["action"] for event in told] == [
                "linux.configuration_not_stored",
                "vm.stopped",
            ]
            assert "staticd has ended" in told[0]["event"]["message"]


async def test_a_router_whose_folder_takes_nothing_runs_on_and_says_so(lab, gns3_server):
    router = await lab.node("frr", config=ROUTERS[0])
    await router.start()
    zebra = daemons(gns3_server)["zebra"]
    await run_inside(zebra, "--mount", "mount", "-o", "remount,bind,ro", "/etc/frr")
    answer = await lab.client.get(f"{router.path}/config")
    assert answer.status == 503
    assert "Read-only file system" in answer.json["message"]
    assert "ospfd" in await router.runs("show daemons")
    async with lab.client.listen(f"{lab.project}/notifications") as events:
        await router.stop()
        told = [await anext(events) for _ in range(3)]
    assert told[1]["action"] == "linux.configuration_not_stored"
    assert (Path(router.folder) / "frr.conf").read_text() == ROUTERS[0]
