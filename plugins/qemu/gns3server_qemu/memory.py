"""How much memory guests may take together, so that a start is refused before the kernel kills."""

from __future__ import annotations

import re
from pathlib import Path

from gns3server.plugin import Conflict, Machine

OVERHEAD = 64
"""Megabytes that QEMU takes besides its guest's memory: 50 to 70 were measured with 7.2."""

LEAST_CODE, MOST_CODE = 16, 256
"""Megabytes for translated code. By itself QEMU would take up to a gigabyte for that."""

FIELDS = re.compile(r"^(MemTotal|MemAvailable):\s+(\d+) kB$", re.MULTILINE)


def code_buffer(ram: int) -> int:
    """Megabytes that a guest without KVM gets for translated code."""
    return max(LEAST_CODE, min(MOST_CODE, ram // 4))


def need_of(ram: int) -> int:
    """Megabytes that a guest may take at most, with what QEMU needs for it."""
    return ram + code_buffer(ram) + OVERHEAD


async def check(title: str, ram: int, others: int, reserve: int, machine: Machine) -> None:
    """Refuse a guest that the machine has no memory for.

    :param title: the guest, for the message.
    :param ram: its memory in MB.
    :param others: what the other guests of this server may take, in MB.
    :param reserve: what guests must leave to the machine, in MB.
    :raises Conflict: there is not enough.
    """
    content = await machine.read_file("/proc/meminfo", Path("/proc"))
    if content is None:
        return
    found = {name: int(size) // 1024 for name, size in FIELDS.findall(content.decode())}
    total, available = found.get("MemTotal", 0), found.get("MemAvailable", 0)
    need = need_of(ram)
    if need + others + reserve > total:
        raise Conflict(
            f"{title} was not started: it may take {need} MB of memory, the other guests {others} "
            f"MB, and {reserve} MB are kept for the machine, which has {total} MB. Stop other "
            "guests, give it less ram, or lower memory_reserve in the settings of qemu."
        )
    if need > available:
        raise Conflict(
            f"{title} was not started: it may take {need} MB of memory, and the machine has "
            f"{available} MB left. Stop something, or give it less ram."
        )
