"""Labs of virtual machines, driven through the API."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, Self

from gns3server.testing import TEST_VARIABLE, ConsoleClient, LabServer, ServerProcess, processes_of

GUEST = {"platform": "x86_64", "hda_disk_image": "echo.img", "ram": 16}
"""The least that boots."""

CONSOLE_SECONDS = 50.0

MOST_PRESSED = 6
"""How often Ctrl+B is pressed: the BIOS has room for 15 keys, and the first command needs some."""


class Vm:
    """A virtual machine as its clients see it."""

    def __init__(self, lab: Lab, node_id: str, console: int) -> None:
        self.lab = lab
        self.id = node_id
        self.console = console
        self.path = f"{lab.project}/qemu/vms/{node_id}"

    def on(self, lab: Lab) -> Vm:
        """The same node on another server."""
        return Vm(lab, self.id, self.console)

    async def get(self, what: str = "") -> Any:
        """Its object, or what one of its routes shows."""
        answer = await self.lab.client.get(f"{self.path}/{what}" if what else self.path)
        assert answer.status == 200, answer.body
        return answer.json

    async def status(self) -> str:
        """``started``, ``stopped`` or ``suspended``."""
        status: str = (await self.get("emulator"))["status"]
        return status

    async def command_line(self) -> list[str]:
        """What it was started with."""
        words: list[str] = (await self.get("emulator"))["command_line"]
        return words

    async def ask(self, action: str) -> Any:
        """Post to one of its routes; returns the answer."""
        return await self.lab.client.post(f"{self.path}/{action}")

    async def do(self, *actions: str) -> None:
        """Post to some of its routes, which must succeed."""
        for action in actions:
            answer = await self.ask(action)
            assert answer.status == 204, answer.body

    async def update(self, **values: Any) -> Any:
        """Ask for a change; returns the answer."""
        return await self.lab.client.put(self.path, values)

    async def plug(self, adapter: int = 0, **nio: Any) -> Any:
        """Plug a NIO in; returns the answer."""
        return await self.lab.client.post(f"{self.path}/adapters/{adapter}/ports/0/nio", nio)

    async def unplug(self, adapter: int = 0) -> Any:
        """Unplug what is there; returns the answer."""
        return await self.lab.client.delete(f"{self.path}/adapters/{adapter}/ports/0/nio")

    @property
    def node(self) -> Any:
        """The server's own object, if the server is one of this process."""
        assert isinstance(self.lab.server, LabServer)
        project_id = self.lab.project.rpartition("/")[2]
        return self.lab.server.running.server.projects.get(project_id).members.find(self.id)

    @property
    def pid(self) -> int:
        """Its process, as the kernel lists it."""
        test_id = self.lab.server.settings.environ[TEST_VARIABLE]
        (pid,) = (
            pid
            for pid in processes_of(test_id)
            if self.id in str(Path(f"/proc/{pid}/cwd").readlink())
        )
        return pid


class Lab:
    """A project on a test's server."""

    def __init__(self, server: LabServer | ServerProcess, project: str) -> None:
        self.server = server
        self.client = server.client
        self.project = project

    @classmethod
    async def open(cls, server: LabServer | ServerProcess, **values: Any) -> Self:
        """Make a project."""
        answer = await server.client.post("/v1/projects", {"name": "test", **values})
        assert answer.status == 201, answer.body
        return cls(server, f"/v1/projects/{answer.json['project_id']}")

    async def create(self, **values: Any) -> Any:
        """Ask for a virtual machine; returns the answer."""
        return await self.client.post(f"{self.project}/qemu/vms", {"name": "G", **values})

    async def vm(self, **values: Any) -> Vm:
        """Make a virtual machine that boots."""
        answer = await self.create(**{**GUEST, **values})
        assert answer.status == 201, answer.body
        return Vm(self, answer.json["vm_id"], answer.json["console"])

    async def pc(self) -> tuple[str, int]:
        """Make a virtual PC; tells its id and its console."""
        answer = await self.client.post(f"{self.project}/vpcs/vms", {"name": "PC"})
        assert answer.status == 201, answer.body
        return answer.json["vm_id"], answer.json["console"]

    async def host(self, address: str) -> tuple[str, int]:
        """Make a Linux host that has an address; tells its id and its console."""
        script = f"ip address add {address}/24 dev eth0\n"
        body = {"name": "H", "startup_script": script}
        answer = await self.client.post(f"{self.project}/linux/vms", body)
        assert answer.status == 201, answer.body
        return answer.json["vm_id"], answer.json["console"]

    async def link(self, *ends: tuple[str, int], **values: Any) -> str:
        """Join two nodes, each at one of its adapters; tells the path of the link."""
        body = {
            "ends": [
                {"vm_id": node_id, "adapter_number": adapter, "port_number": 0}
                for node_id, adapter in ends
            ],
            **values,
        }
        answer = await self.client.post(f"{self.project}/links", body)
        assert answer.status == 201, answer.body
        return f"{self.project}/links/{answer.json['link_id']}"

    async def udp_port(self) -> int:
        """Have a UDP port reserved."""
        answer = await self.client.post(f"{self.project}/ports/udp")
        assert answer.status == 201, answer.body
        port: int = answer.json["udp_port"]
        return port


class Screen:
    """A console, of which all that is shown is kept."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._read_to = 0
        self.text = ""

    async def until(self, text: str, *, pressing: str = "") -> str:
        """Wait until something is shown; tells what was shown since the last time.

        :param pressing: keys to press one by one, each when something else is shown.
        """
        keys = iter(pressing)
        async with asyncio.timeout(CONSOLE_SECONDS):
            while text not in self.text[self._read_to :]:
                data = await self._reader.read(65536)
                assert data, f"the console was closed; it had shown {self.text[-500:]!r}"
                self.text += data.decode("latin-1")
                self._writer.write(next(keys, "").encode())
        end = self.text.index(text, self._read_to) + len(text)
        shown, self._read_to = self.text[self._read_to : end], end
        return shown

    async def type(self, keys: str) -> None:
        """Press some keys."""
        self._writer.write(keys.encode())
        await self._writer.drain()

    async def run(self, command: str, prompt: str) -> str:
        """Type a command; tells what is shown up to the prompt after it."""
        await self.type(f"{command}\r")
        return await self.until(prompt)


@asynccontextmanager
async def screen_at(port: int) -> AsyncIterator[Screen]:
    """Look at a console."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield Screen(reader, writer)
    finally:
        writer.close()


class Ipxe:
    """A guest that runs what network cards boot from: a network stack with a command line.

    It answers to ARP and ping, asks for an address, and tells whether its link is up.
    """

    PROMPT = "iPXE> "

    def __init__(self, screen: Screen) -> None:
        self._screen = screen

    async def run(self, command: str) -> str:
        """Type a command; tells what it shows."""
        await self._type(command)
        return await self._screen.run("", self.PROMPT)

    async def begin(self, command: str) -> None:
        """Type a command that takes a while."""
        await self._type(command)
        await self._screen.type("\r")

    async def _type(self, command: str) -> None:
        """Type some text.

        It has room for 15 characters that it has not read yet, and loses what comes besides.
        """
        for part in re.findall(".{1,8}", command):
            await self._screen.type(part)
            await self._screen.until(part)

    async def link_is(self, state: str) -> None:
        """Wait until it sees its link ``up`` or ``down``."""
        async with asyncio.timeout(CONSOLE_SECONDS):
            # It looks at its card now and then, and nothing tells when.
            while f"Link:{state}" not in await self.run("ifstat net0"):
                continue

    async def take_address(self, address: str) -> None:
        """Give it an address, and switch its card on."""
        for command in (
            "ifopen net0",
            f"set net0/ip {address}",
            "set net0/netmask 255.255.255.0",
        ):
            await self.run(command)


@asynccontextmanager
async def ipxe_at(vm: Vm) -> AsyncIterator[Ipxe]:
    """The command line of a guest that has just been started, and has nothing to boot."""
    async with screen_at(vm.console) as screen:
        await screen.until("Ctrl-B")
        await screen.until(Ipxe.PROMPT, pressing="\x02" * MOST_PRESSED)
        yield Ipxe(screen)


def pc_at(port: int) -> AbstractAsyncContextManager[ConsoleClient]:
    """The command line of a virtual PC."""
    return ConsoleClient.open(port, "VPCS> ")
