"""``gns3server demo``: two virtual PCs ping each other, every step shown.

It is the session that the README does by hand, against a server on free ports
with temporary directories. Everything is removed when it ends.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import shlex
import tempfile
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from gns3server.consoles.client import ConsoleClient
from gns3server.settings.errors import SettingsError
from gns3server.settings.server import SECTION, SERVER_SETTINGS

if TYPE_CHECKING:
    from gns3server.http.client import Client
    from gns3server.settings.schema import Settings

PLUGINS = ("udp", "vpcs")
CONSOLES = (5101, 5199)
UDP = (20101, 20299)
"""Ports that a server with the default settings does not give out."""

CHOSEN = ("host", "port", "ssl", "certfile", "certkey", "record", "state_path")
"""Settings that the demo chooses itself."""

UNUSED = ("log", "quiet", "debug", "keep_nodes")
"""Settings that mean nothing to it."""

PROMPT = "VPCS> "
REPLY = re.compile(r"icmp_seq=\d+ .*time=")
PINGS = 5
ANSWER_SECONDS = 20.0


class DemoFailed(Exception):
    """The demo cannot go on; the text says why and what to do."""


class Session:
    """Sends requests, and shows each as the curl command that a user would type."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def post(self, path: str, value: Any) -> Any:
        """POST and show; returns the answer's value, ``None`` if it is empty."""
        url, body = shlex.quote(self._client.url + path), shlex.quote(json.dumps(value))
        print(f"\n$ curl -X POST {url} -d {body}")
        answer = await self._client.post(path, value)
        if answer.body:
            print(answer.body.decode(), end="")
        if answer.status >= 400:
            raise DemoFailed(answer.json["message"])
        return answer.json if answer.body else None

    async def show_version(self) -> None:
        """GET the version and show it."""
        print(f"$ curl {self._client.url}/v1/version")
        print((await self._client.get("/v1/version")).body.decode(), end="")


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


async def run_command(console: ConsoleClient, line: str) -> list[str]:
    """Type a line on a console, and show it with what it prints."""
    shown = (await console.run(line)).removesuffix(PROMPT).replace("\r", "\n")
    lines = [text for text in shown.splitlines() if text.strip()]
    print(f"\n$ telnet 127.0.0.1 {console.port}\n{PROMPT}{line}")
    print("\n".join(lines))
    return lines


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
        missing = set(PLUGINS) - {p.name for p in server.plugins.plugins if p.usable}
        if missing:
            raise DemoFailed(
                f"the plugins {', '.join(sorted(missing))} are needed: "
                "pip install ./plugins/udp ./plugins/vpcs"
            )
        async with AsyncExitStack() as stack:
            ports = await build_lab(Session(client))
            opening = [ConsoleClient.open(port, PROMPT, ANSWER_SECONDS) for port in ports]
            return await ping([await stack.enter_async_context(one) for one in opening])


def run_demo(settings: Settings) -> int:
    """Run the demo; returns the exit code, 0 when all pings were answered.

    :raises SettingsError: an option means nothing to it.
    """
    given = settings.flags.get(SECTION, {})
    for setting in SERVER_SETTINGS:
        if setting.name in given and setting.name in (*CHOSEN, *UNUSED):
            raise SettingsError(
                f"{setting.flags[-1]} does not go with demo, which uses a free port of 127.0.0.1 "
                "and temporary directories: leave it out"
            )
    logging.basicConfig(level=logging.ERROR, format="%(message)s")
    with tempfile.TemporaryDirectory(prefix="gns3server-demo-") as directory:
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
        try:
            replies = asyncio.run(session(replace(settings, server=server)))
        except TimeoutError:
            print("\nThe demo has failed: a console did not answer in time.")
            return 1
        except (DemoFailed, OSError) as error:
            print(f"\nThe demo has failed: {error}")
            return 1
        except KeyboardInterrupt:
            print("\nThe demo was interrupted; everything it started is stopped.")
            return 130
    print(f"\n{replies} of {PINGS} pings were answered; everything the demo started is stopped.")
    return 0 if replies == PINGS else 1
