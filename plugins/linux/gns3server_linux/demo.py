"""``gns3server demo ospf``: three routers with OSPF, two switches and three virtual PCs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gns3server.plugin import DemoStage

LINE = """\
interface {name}
 ip address {address}/24
"""
BETWEEN = """\
 ip ospf network point-to-point
 ip ospf hello-interval 1
 ip ospf dead-interval 4
"""
OSPF = """\
router ospf
 network 10.0.0.0/8 area 0
"""

ROUTERS: Mapping[str, Mapping[str, str]] = {
    "R1": {"eth0": "10.1.0.1", "eth1": "10.12.0.1", "eth2": "10.13.0.1"},
    "R2": {"eth1": "10.12.0.2", "eth2": "10.23.0.2"},
    "R3": {"eth0": "10.3.0.1", "eth1": "10.23.0.3", "eth2": "10.13.0.3"},
}
"""The addresses of their interfaces. ``eth0`` is where a switch is."""

PCS = {"PC1": ("10.1.0.11", "10.1.0.1"), "PC2": ("10.1.0.12", "10.1.0.1")}
PCS["PC3"] = ("10.3.0.13", "10.3.0.1")
"""The addresses of the PCs, and their gateways."""

LINKS = (
    (("SW1", 0, 0), ("R1", 0, 0)),
    (("SW1", 0, 1), ("PC1", 0, 0)),
    (("SW1", 0, 2), ("PC2", 0, 0)),
    (("SW2", 0, 0), ("R3", 0, 0)),
    (("SW2", 0, 1), ("PC3", 0, 0)),
    (("R1", 1, 0), ("R2", 1, 0)),
    (("R2", 2, 0), ("R3", 1, 0)),
    (("R1", 2, 0), ("R3", 2, 0)),
)
"""Node, adapter and port of both ends. The last one is the short way between PC1 and PC3."""

PINGS = 60


def configuration(addresses: Mapping[str, str]) -> str:
    """The configuration of a router."""
    lines = [
        LINE.format(name=name, address=address) + ("" if name == "eth0" else BETWEEN)
        for name, address in addresses.items()
    ]
    return "".join((*lines, OSPF))


async def ospf(stage: DemoStage) -> None:
    """The demo."""
    project, link = await build(stage)
    stage.say("Each router becomes the neighbour of both others.")
    for name, addresses in ROUTERS.items():
        for interface in addresses:
            if interface != "eth0":
                await stage.run_until(name, f"show ip ospf neighbor {interface}", "Full/")
    stage.say("PC1 reaches PC3 through two routers, R1 and R3.")
    await stage.run_until("R1", "show ip route 10.3.0.0/24", "10.13.0.3")
    await stage.run_until("R3", "show ip route 10.1.0.0/24", "10.13.0.1")
    await ping(stage, "PC1", "10.3.0.13")
    await trace(stage, "10.1.0.1", "10.13.0.3", "10.3.0.13")
    stage.say("The link between R1 and R3 is suspended: both see that its carrier is gone.")
    await stage.put(link, {"suspended": True})
    await stage.run_until("R1", "show ip route 10.3.0.0/24", "10.12.0.2")
    await stage.run_until("R3", "show ip route 10.1.0.0/24", "10.23.0.2")
    await trace(stage, "10.1.0.1", "10.12.0.2", "10.23.0.3", "10.3.0.13")
    await stage.put(link, {"suspended": False})
    await stage.run_until("R1", "show ip route 10.3.0.0/24", "10.13.0.3")
    await stage.run_until("R3", "show ip route 10.1.0.0/24", "10.13.0.1")
    stage.say("While PC1 pings PC3, the server is killed. Everything in the lab goes on.")
    await stage.begin("PC1", f"ping 10.3.0.13 -c {PINGS} -i 100", "icmp_seq=5 ")
    await stage.kill_server()
    shown = await stage.finish("PC1")
    replies = sum("time=" in line for line in shown)
    stage.expect(replies == PINGS, f"{replies} of {PINGS} pings were answered")
    stage.say("Another server finds all of it: the routers, their routes and their shells.")
    await stage.start_server()
    nodes = await stage.get(f"{project}/nodes")
    stage.expect(
        {each["status"] for each in nodes} == {"started"}, "Some nodes are not started any more"
    )
    await stage.run_until("R1", "show ip route ospf", "10.3.0.0/24", "10.23.0.0/24")
    await ping(stage, "PC2", "10.3.0.13")


async def build(stage: DemoStage) -> tuple[str, str]:
    """Build the lab; returns the paths of the project, and of the link that is suspended."""
    stage.say("Three routers, each with a configuration.")
    answer = await stage.post("/v1/projects", {"name": "ospf"})
    project = f"/v1/projects/{answer['project_id']}"
    nodes: dict[str, Any] = {}
    for name, addresses in ROUTERS.items():
        body = {"name": name, "adapters": 3, "config": configuration(addresses)}
        nodes[name] = await stage.post(f"{project}/frr/vms", body)
    stage.say("Two switches, and three PCs.")
    for name in ("SW1", "SW2"):
        nodes[name] = await stage.post(f"{project}/ethernet_switch/vms", {"name": name})
    for name, (address, gateway) in PCS.items():
        body = {"name": name, "startup_script": f"ip {address}/24 {gateway}\n"}
        nodes[name] = await stage.post(f"{project}/vpcs/vms", body)
    link = ""
    for ends in LINKS:
        body = {
            "ends": [
                {"vm_id": nodes[name]["vm_id"], "adapter_number": adapter, "port_number": port}
                for name, adapter, port in ends
            ]
        }
        link = f"{project}/links/{(await stage.post(f'{project}/links', body))['link_id']}"
    await stage.post(f"{project}/start")
    for name in ROUTERS:
        await stage.open_console(name, nodes[name]["console"], f"{name}# ")
    for name in PCS:
        await stage.open_console(name, nodes[name]["console"], "VPCS> ")
    return project, link


async def ping(stage: DemoStage, name: str, address: str) -> None:
    """Ping from a PC."""
    await stage.run_until(name, f"ping {address} -c 3", "icmp_seq=1 ", "icmp_seq=3 ", "time=")


async def trace(stage: DemoStage, *hops: str) -> None:
    """Show the way from PC1, which must be this one."""
    shown = await stage.run_until("PC1", f"trace {hops[-1]} -P 1", *hops)
    stage.expect(
        sum(line.strip()[:1].isdigit() for line in shown) == len(hops),
        f"The way to {hops[-1]} is not {' '.join(hops)}",
    )
