"""What a wire between two Linux guests carries, beside the same guests on QEMU's own sockets."""

from __future__ import annotations

import asyncio
import re
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from labbench.api import Lab, ask, new_lab
from labbench.box import Box
from labbench.guests import command_line
from labbench.report import Aim, Figure
from labbench.servers import ours

HELPERS = Path(__file__).resolve().parents[2] / "plugins" / "qemu" / "tests" / "helpers"
PROMPT = b"guest> "
BOOT_SECONDS = 120.0
BLOCK = 64 * 1024

GUEST = {
    "platform": "x86_64",
    "ram": 128,
    "adapter_type": "virtio-net-pci",
    "kernel_image": "vmlinuz",
    "initrd": "initrd.gz",
    "kernel_command_line": "console=ttyS0 quiet",
}


class Shell:
    """The shell of a guest, on its serial port."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def prompt(self) -> None:
        """Wait for the prompt."""
        async with asyncio.timeout(BOOT_SECONDS):
            await self._reader.readuntil(PROMPT)

    async def begin(self, command: str) -> None:
        """Type a command."""
        self._writer.write(command.encode() + b"\r")
        await self._writer.drain()

    async def run(self, command: str) -> None:
        """Type a command, and wait until it has ended."""
        await self.begin(command)
        await self.prompt()


@asynccontextmanager
async def shell_at(port: int) -> AsyncIterator[Shell]:
    """The shell of a guest that boots."""
    async with asyncio.timeout(BOOT_SECONDS):
        while True:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                break
            except ConnectionRefusedError:
                await asyncio.sleep(0.05)
    try:
        shell = Shell(reader, writer)
        await shell.prompt()
        yield shell
    finally:
        writer.close()


def wires(box: Box, quick: bool) -> list[Figure]:
    """Two guests, and what goes from one to the other by TCP."""
    sys.path.append(str(HELPERS))
    from qemu_linux import guest_files

    files = dict(zip(("vmlinuz", "initrd.gz"), guest_files(box.directory("linux")), strict=True))
    megabytes, count = (4, 2) if quick else (16, 7)
    with ours(box) as server:
        own, bare = asyncio.run(_measure(box, server, files, megabytes, count))
    return [
        Figure(
            benchmark="wires",
            what="between two Linux guests, by TCP",
            unit="MB/s",
            ours=own,
            bare=bare,
            paired=False,
            aim=Aim("ratio", 0.8, at_least=True),
        )
    ]


async def _measure(
    box: Box, server: Any, files: dict[str, bytes], megabytes: int, count: int
) -> tuple[list[float], list[float]]:
    async with new_lab(server) as lab:
        for name, content in files.items():
            await _upload(lab.session, name, content)
        nodes = [
            await ask(lab.session, "POST", f"{lab.path}/qemu/vms", {**GUEST, "name": name})
            for name in ("A", "B")
        ]
        ends = [{"vm_id": node["vm_id"], "adapter_number": 0, "port_number": 0} for node in nodes]
        await ask(lab.session, "POST", f"{lab.path}/links", {"ends": ends, "path": "direct"})
        paths = [f"{lab.path}/qemu/vms/{node['vm_id']}" for node in nodes]
        for path in paths:
            await ask(lab.session, "POST", f"{path}/start")
        own = await _rates([node["console"] for node in nodes], megabytes, count)
        commands = [await command_line(lab, path) for path in paths]
        await _stop(lab, paths)
        ports = [node["console"] for node in nodes]
        bare = []
        for port, command, node in zip(ports, commands, nodes, strict=True):
            argv, home = bare_command(command, port), Path(node["vm_directory"])
            bare.append(await asyncio.to_thread(box.spawn, argv, home))
        rates = await _rates(ports, megabytes, count)
        for process in bare:
            process.terminate()
            await asyncio.to_thread(process.wait)
    return own, rates


async def _upload(session: aiohttp.ClientSession, name: str, content: bytes) -> None:
    async with session.post(f"/v1/qemu/vms/{name}", data=content) as answer:
        answer.raise_for_status()


async def _stop(lab: Lab, paths: Sequence[str]) -> None:
    for path in paths:
        await ask(lab.session, "POST", f"{path}/stop")


async def _rates(consoles: Sequence[int], megabytes: int, count: int) -> list[float]:
    """Megabytes a second from the first guest to the second, a number of times."""
    async with AsyncExitStack() as stack:
        first, second = [await stack.enter_async_context(shell_at(port)) for port in consoles]
        for number, shell in enumerate((first, second), start=1):
            await shell.run(f"ip addr add 10.0.0.{number}/24 dev eth0; ip link set eth0 up")
        await first.run("until ping -c 1 -W 1 10.0.0.2 > /dev/null; do :; done")
        rates = []
        for _ in range(count + 1):
            await second.begin("nc -l -p 9 > /dev/null")
            begun = time.perf_counter()
            blocks = megabytes * 2**20 // BLOCK
            send = f"dd if=/dev/zero bs={BLOCK} count={blocks} 2> /dev/null | nc 10.0.0.2 9"
            await first.run(f"until {send}; do :; done")
            await second.prompt()
            rates.append(megabytes / (time.perf_counter() - begun))
        # The first one has found out the addresses.
        return rates[1:]


def bare_command(command: Sequence[str], console: int) -> list[str]:
    """How the same guest is started by itself: its card on a socket, with nothing between them.

    :param console: the TCP port of its serial port.
    """
    argv, words = [], iter(word for word in command if word != "-S")
    for word in words:
        value = next(words) if word in ("-chardev", "-mon", "-netdev", "-device") else ""
        if word == "-mon" or value.startswith(("hubport,", "socket,id=qmp,")):
            continue
        if value.startswith("socket,id=serial,"):
            value = f"socket,id=serial,host=127.0.0.1,port={console},server=on,wait=off"
        elif value.startswith("dgram,"):
            local, remote = re.findall(r"\.port=(\d+)", value)
            value = f"socket,id=gns3-0,udp=127.0.0.1:{remote},localaddr=127.0.0.1:{local}"
        value = value.replace("netdev=hub-0", "netdev=gns3-0")
        argv += [word, value] if value else [word]
    return argv
