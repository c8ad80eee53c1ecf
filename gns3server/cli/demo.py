"""``gns3server demo``: two virtual PCs ping each other, every step shown.

It links them with one request and captures the link, against a server on free ports
with temporary directories. Everything is removed when it ends.
"""

from __future__ import annotations

import asyncio
import logging
import tempfile
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from gns3server.cli.demo_ports import DemoPorts, claimed_ports
from gns3server.cli.demo_steps import (
    ANSWER_SECONDS,
    PROMPT,
    REPLY,
    DemoFailed,
    Session,
    check_plugins,
    run_command,
)
from gns3server.cli.frames import lines_of
from gns3server.consoles.client import ConsoleClient
from gns3server.settings.errors import SettingsError
from gns3server.settings.server import SECTION, SERVER_SETTINGS

if TYPE_CHECKING:
    from gns3server.settings.schema import Settings

NAMES = ("vlans",)
"""The other demos of the server's own; plugins may bring more."""

PLUGINS = ("udp", "vpcs")
CHOSEN = ("host", "port", "ssl", "certfile", "certkey", "record", "state_path")
"""Settings that the demo chooses itself."""

UNUSED = ("log", "quiet", "debug", "keep_nodes")
"""Settings that mean nothing to it."""

CAPTURE = "ping.pcap"

NEXT = """
What to try next: start a server that stays, with "gns3server". Its page http://127.0.0.1:8000 leads
to the manual, where "The session" builds this lab by hand, and "Links" delays the pings and shows
them live in Wireshark. Or see a switch with VLANs: "gns3server demo vlans". Desktop clients of the
2.2 series draw such labs: start "gns3server --port 3080", and connect them to that port."""

PINGS = 5


@dataclass(frozen=True, slots=True)
class LinkedPcs:
    """Two linked PCs that run, and a capture of their link.

    :param project: the path of the project.
    :param link: the path of the link.
    :param consoles: the console ports.
    """

    project: str
    link: str
    consoles: list[int]


async def build_lab(session: Session) -> LinkedPcs:
    """Create two PCs, link and start them, and capture the link."""
    await session.show_version()
    project = await session.post("/v1/projects", {"name": "test"})
    base = f"/v1/projects/{project['project_id']}"
    vms = [await session.post(f"{base}/vpcs/vms", {"name": f"VPCS {n}"}) for n in (1, 2)]
    ends = [{"vm_id": vm["vm_id"], "adapter_number": 0, "port_number": 0} for vm in vms]
    link = f"{base}/links/{(await session.post(f'{base}/links', {'ends': ends}))['link_id']}"
    await session.post(f"{link}/capture", {"file": CAPTURE})
    for vm in vms:
        await session.post(f"{base}/vpcs/vms/{vm['vm_id']}/start", {})
    return LinkedPcs(base, link, [vm["console"] for vm in vms])


async def show_capture(session: Session, lab: LinkedPcs) -> None:
    """End the capture, and show what is in its file."""
    await session.delete(f"{lab.link}/capture")
    data = await session.download(f"{lab.project}/files/captures/{CAPTURE}")
    for line in lines_of(data):
        print(line)


async def ping(consoles: list[ConsoleClient]) -> int:
    """Give both PCs an address and ping the first from the second; return the replies."""
    addresses = ("192.168.1.1", "192.168.1.2")
    print("\nEach PC takes an address, after checking that it is free (3 seconds) ...")
    await asyncio.gather(
        *(
            run_command(console, f"ip {address}")
            for console, address in zip(consoles, addresses, strict=True)
        )
    )
    lines = await run_command(consoles[1], f"ping {addresses[0]}")
    return sum(REPLY.search(line) is not None for line in lines)


async def session(settings: Settings) -> int:
    """Run the whole session; returns the number of ping replies."""
    # Imported late: it would slow down --help.
    from gns3server.app import serving
    from gns3server.http.client import Client
    from gns3server.settings.live import LiveSettings

    async with (
        serving(LiveSettings(lambda **_: settings)) as server,
        Client(server.url) as client,
    ):
        check_plugins({p.name for p in server.plugins.plugins if p.usable}, PLUGINS)
        async with AsyncExitStack() as stack:
            requests = Session(client)
            lab = await build_lab(requests)
            opening = [ConsoleClient.open(port, PROMPT, ANSWER_SECONDS) for port in lab.consoles]
            replies = await ping([await stack.enter_async_context(one) for one in opening])
            await show_capture(requests, lab)
            return replies


def run_demo(settings: Settings, name: str = "") -> int:
    """Run a demo; returns the exit code, 0 when all went as it must.

    :param name: which one; by default the one that is in this module.
    :raises SettingsError: there is no such demo, or an option means nothing to it.
    """
    if name and name not in NAMES:
        from gns3server.cli.demo_stage import demos_of_plugins

        others = demos_of_plugins()
        if name not in others:
            there = " or ".join((*NAMES, *sorted(others)))
            raise SettingsError(f"there is no demo {name!r}: leave it out, or write {there}")
    given = settings.flags.get(SECTION, {})
    for setting in SERVER_SETTINGS:
        if setting.name in given and setting.name in (*CHOSEN, *UNUSED):
            raise SettingsError(
                f"{setting.flags[-1]} does not go with demo, which uses a free port of 127.0.0.1 "
                "and temporary directories: leave it out"
            )
    logging.basicConfig(level=logging.ERROR, format="%(message)s")
    with tempfile.TemporaryDirectory(prefix="gns3server-demo-") as directory:
        try:
            with claimed_ports() as ports:
                own = in_directory(settings, directory, ports)
                well, outcome = asyncio.run(_demo(name, own))
        except TimeoutError:
            print("\nThe demo has failed: a console did not answer in time.")
            return 1
        except (DemoFailed, OSError) as error:
            print(f"\nThe demo has failed: {error}")
            return 1
        except KeyboardInterrupt:
            print("\nThe demo was interrupted; everything it started is stopped.")
            return 130
    print(f"\n{outcome}; everything the demo started is stopped.")
    if not name:
        print(NEXT)
    return 0 if well else 1


async def _demo(name: str, settings: Settings) -> tuple[bool, str]:
    """Run a demo; returns whether all went as it must, and what to say of it."""
    if name:
        wrong = await _named(name, settings)
        return not wrong, "; ".join(wrong) or "All pings went as they must"
    replies = await session(settings)
    return replies == PINGS, f"{replies} of {PINGS} pings were answered"


async def _named(name: str, settings: Settings) -> list[str]:
    """Run another demo than this module's; returns what did not go as it must."""
    if name in NAMES:
        from gns3server.cli.demo_vlans import vlans

        return await vlans(settings)
    from gns3server.cli.demo_stage import play

    return await play(name, settings)


def in_directory(settings: Settings, directory: str, ports: DemoPorts) -> Settings:
    """The settings of a demo's server, which keeps everything in a directory."""
    server = replace(
        settings.server,
        host="127.0.0.1",
        port=0,
        # Settings that guard or record this user's real server do not apply to the demo.
        ssl=False,
        auth=False,
        record="",
        projects_path=f"{directory}/projects",
        project_directory="",
        images_path=f"{directory}/images",
        state_path=f"{directory}/state",
        console_start_port_range=ports.consoles[0],
        console_end_port_range=ports.consoles[1],
        udp_start_port_range=ports.udp[0],
        udp_end_port_range=ports.udp[1],
    )
    return replace(settings, server=server)
