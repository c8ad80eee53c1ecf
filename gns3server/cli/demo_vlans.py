"""``gns3server demo vlans``: three virtual PCs in two VLANs of a switch, which outlives the server.

Pings pass within a VLAN and not between the two; a capture shows them; the server is killed, and
the same pings go on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

from gns3server.cli.demo_server import DemoServer
from gns3server.cli.demo_steps import (
    ANSWER_SECONDS,
    PROMPT,
    REPLY,
    Session,
    check_plugins,
    run_command,
    say,
)
from gns3server.cli.frames import lines_of
from gns3server.consoles.client import ConsoleClient

if TYPE_CHECKING:
    from gns3server.settings.schema import Settings

PLUGINS = ("ethernet", "udp", "vpcs")
VLANS = {"PC1": 10, "PC2": 10, "PC3": 20}
ADDRESSES = {"PC1": "10.0.0.1", "PC2": "10.0.0.2", "PC3": "10.0.0.3"}

CAPTURE = "PC2.pcap"

Consoles = Mapping[str, ConsoleClient]


async def vlans(settings: Settings) -> list[str]:
    """Run the whole demo; returns what did not go as it must."""
    from gns3server.http.client import Client

    server, outcome = DemoServer(settings), Outcome()
    try:
        await server.start()
        print(f"$ gns3server &\n[1] {server.pid}")
        async with AsyncExitStack() as stack:
            async with Client(server.url) as client:
                plugins = (await client.get("/v1/plugins")).json
                check_plugins({each["name"] for each in plugins if each["status"] == "ok"}, PLUGINS)
                session = Session(client)
                lab = await build(session)
                consoles = await open_consoles(stack, lab.consoles)
                await outcome.ping(consoles)
                await capture(session, lab, consoles, outcome)
            say("The server is killed. The PCs and the switch are processes of their own.")
            print(f"$ kill -9 {server.pid}")
            await server.kill()
            await outcome.ping(consoles)
            say("Another server finds the lab as it was, with all that runs in it.")
            await server.start()
            print(f"$ gns3server &\n[2] {server.pid}")
            async with Client(server.url) as client:
                await Session(client).get(f"{lab.switch}/mac_table")
            await outcome.ping(consoles)
    finally:
        await server.end()
    return outcome.wrong


class Outcome:
    """What has gone wrong so far."""

    def __init__(self) -> None:
        self.wrong: list[str] = []

    def expect(self, well: bool, otherwise: str) -> None:
        """Note that something has gone wrong, unless all is well."""
        if not well:
            self.wrong.append(otherwise)

    async def ping(self, consoles: Consoles) -> None:
        """Ping within a VLAN, and between two."""
        for to in ("PC2", "PC3"):
            one = VLANS["PC1"] == VLANS[to]
            say(f"PC1 and {to} are in {'one VLAN' if one else 'two VLANs'}:")
            shown = await run_command(consoles["PC1"], f"ping {ADDRESSES[to]} -c 3")
            answered = any(REPLY.search(line) for line in shown)
            was = "was" if answered else "was not"
            self.expect(answered is one, f"A ping from PC1 to {to} {was} answered")


class SwitchedPcs:
    """What was built: the paths of its objects, and the consoles and links of PCs by name."""

    def __init__(self, project: str, switch: str) -> None:
        self.project = project
        self.switch = switch
        self.consoles: dict[str, int] = {}
        self.links: dict[str, str] = {}


async def build(session: Session) -> SwitchedPcs:
    """Create a switch with a port for each PC in its VLAN, then link and start the PCs."""
    say("A switch with an access port for each PC: two VLANs.")
    answer = await session.post("/v1/projects", {"name": "vlans"})
    project = f"/v1/projects/{answer['project_id']}"
    ports = [
        {"port_number": number, "type": "access", "vlan": vlan}
        for number, vlan in enumerate(VLANS.values())
    ]
    switches = f"{project}/ethernet_switch/vms"
    switch = await session.post(switches, {"name": "SW1", "ports_mapping": ports})
    lab = SwitchedPcs(project, f"{switches}/{switch['vm_id']}")
    say("Three PCs, each linked to its port.")
    for number, name in enumerate(VLANS):
        pc = await session.post(f"{project}/vpcs/vms", {"name": name})
        lab.consoles[name] = pc["console"]
        ends = [end(pc["vm_id"], 0), end(switch["vm_id"], number)]
        link = await session.post(f"{project}/links", {"ends": ends})
        lab.links[name] = f"{project}/links/{link['link_id']}"
    await session.post(f"{project}/start", {})
    return lab


def end(node_id: str, port: int) -> dict[str, Any]:
    """One end of a link."""
    return {"vm_id": node_id, "adapter_number": 0, "port_number": port}


async def open_consoles(stack: AsyncExitStack, ports: Mapping[str, int]) -> Consoles:
    """Connect to the PCs' consoles, and give each PC its address."""
    consoles = {
        name: await stack.enter_async_context(ConsoleClient.open(port, PROMPT, ANSWER_SECONDS))
        for name, port in ports.items()
    }
    say("Each PC takes an address, after checking that it is free (3 seconds).")
    await asyncio.gather(
        *(run_command(consoles[name], f"ip {address}/24") for name, address in ADDRESSES.items())
    )
    return consoles


async def capture(session: Session, lab: SwitchedPcs, consoles: Consoles, outcome: Outcome) -> None:
    """Capture what passes the link of PC2 during the same pings, and show it."""
    say("The same once more, and what passes the link of PC2 is captured meanwhile.")
    path = f"{lab.links['PC2']}/capture"
    await session.post(path, {"file": CAPTURE})
    await outcome.ping(consoles)
    await session.delete(path)
    data = await session.download(f"{lab.project}/files/captures/{CAPTURE}")
    shown = "\n".join(lines_of(data))
    print(shown)
    say("PC2 hears that PC1 looks for PC3. PC3 is in another VLAN, and does not.")
    outcome.expect("request" in shown and "reply" in shown, "The capture shows no ping")
