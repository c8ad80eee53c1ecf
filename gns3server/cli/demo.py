"""``gns3server demo``: two virtual PCs ping each other, every step shown.

It is the session that the README does by hand, against a server on free ports
with temporary directories. Everything is removed when it ends.
"""

from __future__ import annotations

import asyncio
import logging
import tempfile
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import TYPE_CHECKING

from gns3server.cli.demo_steps import (
    ANSWER_SECONDS,
    PROMPT,
    REPLY,
    DemoFailed,
    Session,
    check_plugins,
    run_command,
)
from gns3server.consoles.client import ConsoleClient
from gns3server.settings.errors import SettingsError
from gns3server.settings.server import SECTION, SERVER_SETTINGS

if TYPE_CHECKING:
    from gns3server.settings.schema import Settings

NAMES = ("vlans",)
"""The other demos."""

PLUGINS = ("udp", "vpcs")
CONSOLES = (5101, 5199)
UDP = (20101, 20299)
"""Ports that a server with the default settings does not give out."""

CHOSEN = ("host", "port", "ssl", "certfile", "certkey", "record", "state_path")
"""Settings that the demo chooses itself."""

UNUSED = ("log", "quiet", "debug", "keep_nodes")
"""Settings that mean nothing to it."""

PINGS = 5


async def build_lab(session: Session) -> list[int]:
    """Create two PCs, wire and start them; return their console ports."""
    await session.show_version()
    project = await session.post("/v1/projects", {"name": "test"})
    base = f"/v1/projects/{project['project_id']}"
    vms = [await session.post(f"{base}/vpcs/vms", {"name": f"VPCS {n}"}) for n in (1, 2)]
    ports = [(await session.post(f"{base}/ports/udp", {}))["udp_port"] for _ in vms]
    for vm, lport, rport in zip(vms, ports, reversed(ports), strict=True):
        nio = {"lport": lport, "rhost": "127.0.0.1", "rport": rport, "type": "nio_udp"}
        await session.post(f"{base}/vpcs/vms/{vm['vm_id']}/adapters/0/ports/0/nio", nio)
    for vm in vms:
        await session.post(f"{base}/vpcs/vms/{vm['vm_id']}/start", {})
    return [vm["console"] for vm in vms]


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
            ports = await build_lab(Session(client))
            opening = [ConsoleClient.open(port, PROMPT, ANSWER_SECONDS) for port in ports]
            return await ping([await stack.enter_async_context(one) for one in opening])


def run_demo(settings: Settings, name: str = "") -> int:
    """Run a demo; returns the exit code, 0 when all went as it must.

    :param name: which one; by default the one that is in this module.
    :raises SettingsError: there is no such demo, or an option means nothing to it.
    """
    if name and name not in NAMES:
        raise SettingsError(f"there is no demo {name!r}: leave it out, or write {NAMES[0]}")
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
            well, outcome = asyncio.run(_demo(name, in_directory(settings, directory)))
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
    return 0 if well else 1


async def _demo(name: str, settings: Settings) -> tuple[bool, str]:
    """Run a demo; returns whether all went as it must, and what to say of it."""
    if name:
        from gns3server.cli.demo_vlans import vlans

        wrong = await vlans(settings)
        return not wrong, "; ".join(wrong) or "All pings went as they must"
    replies = await session(settings)
    return replies == PINGS, f"{replies} of {PINGS} pings were answered"


def in_directory(settings: Settings, directory: str) -> Settings:
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
        console_start_port_range=CONSOLES[0],
        console_end_port_range=CONSOLES[1],
        udp_start_port_range=UDP[0],
        udp_end_port_range=UDP[1],
    )
    return replace(settings, server=server)
