"""A virtual machine from its start to what it shows first, beside the same QEMU by itself."""

from __future__ import annotations

import asyncio
import struct
import subprocess
import time
from pathlib import Path
from typing import Any

import aiohttp
import psutil

from labbench.api import Lab, ask, new_lab
from labbench.box import Box
from labbench.report import Aim, Figure
from labbench.servers import Server, ours

SHOWN = b"benchmark"


def guest() -> bytes:
    """A boot sector that shows :data:`SHOWN` on the first serial port, and halts."""
    code = bytearray.fromhex("31c0 8ed8 be0000 ac 84c0 7406 baf803 ee ebf5 f4 ebfd")
    struct.pack_into("<H", code, 5, 0x7C00 + len(code))
    return bytes(code + SHOWN + b"\0").ljust(510, b"\0") + b"\x55\xaa"


def guests(box: Box, quick: bool) -> list[Figure]:
    """One guest, started again and again, and its memory."""
    samples: dict[str, list[float]] = {}
    with ours(box) as server:
        asyncio.run(_rounds(box, server, 2 if quick else 7, samples))
    return [
        Figure(
            benchmark="guests",
            what="guest of 512 bytes, start to what it shows",
            unit="s",
            ours=samples["start"],
            bare=samples["bare start"],
            aim=Aim("ratio", 2.0),
        ),
        Figure(
            benchmark="guests",
            what="memory of its QEMU",
            unit="MB",
            ours=samples["memory"],
            bare=samples["bare memory"],
            aim=Aim("ratio", 1.1),
        ),
    ]


async def _rounds(box: Box, server: Server, count: int, samples: dict[str, list[float]]) -> None:
    async with new_lab(server) as lab:
        await _upload(lab.session, guest())
        body = {"name": "G", "platform": "x86_64", "ram": 16, "hda_disk_image": "guest.img"}
        node = await ask(lab.session, "POST", f"{lab.path}/qemu/vms", body)
        path = f"{lab.path}/qemu/vms/{node['vm_id']}"
        for number in range(count + 1):
            begun = time.perf_counter()
            await ask(lab.session, "POST", f"{path}/start")
            await _shown(node["console"])
            took = time.perf_counter() - begun
            command = await command_line(lab, path)
            memory = _memory(server, node["vm_id"])
            await ask(lab.session, "POST", f"{path}/stop")
            bare = await asyncio.to_thread(_bare, box, command, node["vm_directory"])
            # The first one has made the disk, and has found out whether KVM works.
            if number:
                samples.setdefault("start", []).append(took)
                samples.setdefault("memory", []).append(memory)
                samples.setdefault("bare start", []).append(bare[0])
                samples.setdefault("bare memory", []).append(bare[1])


async def _upload(session: aiohttp.ClientSession, image: bytes) -> None:
    async with session.post("/v1/qemu/vms/guest.img", data=image) as answer:
        answer.raise_for_status()


async def _shown(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    await reader.readuntil(SHOWN)
    writer.close()


async def command_line(lab: Lab, path: str) -> list[str]:
    """How the server has started QEMU, but for what the server has started it by."""
    shown: dict[str, Any] = await ask(lab.session, "GET", f"{path}/emulator")
    words: list[str] = shown["command_line"]
    return words[words.index("-name") - 1 :]


def _memory(server: Server, node: str) -> float:
    for process in psutil.Process(server.process.pid).children(recursive=True):
        if process.name().startswith("qemu") and Path(process.cwd()).name == node:
            return float(process.memory_info().rss) / 2**20
    raise RuntimeError(f"no QEMU works in the directory of {node}")


def _bare(box: Box, command: list[str], directory: str) -> tuple[float, float]:
    """The same QEMU by itself, its serial port on its standard output."""
    argv, words = [], iter(word for word in command if word != "-S")
    for word in words:
        if word in ("-chardev", "-mon"):
            next(words)
        elif word == "-serial":
            argv += ["-serial", "stdio", "-monitor", "none"]
            next(words)
        else:
            argv.append(word)
    begun = time.perf_counter()
    with box.spawn(argv, Path(directory), stdout=subprocess.PIPE) as process:
        shown = b""
        while SHOWN not in shown and process.stdout is not None:
            shown += process.stdout.read1(4096)  # type: ignore[attr-defined]
        took = time.perf_counter() - begun
        memory = psutil.Process(process.pid).memory_info().rss / 2**20
        process.terminate()
        process.communicate()
    return took, memory
