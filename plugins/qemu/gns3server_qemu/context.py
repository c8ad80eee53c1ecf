"""What all guests of a server share."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from weakref import WeakSet

from gns3server.plugin import Conflict, ImageKind, Images, Machine
from gns3server_qemu.acceleration import KVM, Acceleration, Accelerations
from gns3server_qemu.programs import (
    DISK_TOOLS,
    EMULATORS,
    INSTALL_HINT,
    Program,
    Programs,
    platform_of,
)

KIND = ImageKind(name="QEMU", directory="QEMU", title="QEMU")
NEWEST = "qemu-system-x86_64"

CHECKSUM_SECONDS = 2.0
"""How long an answer waits for the checksum of a large file; it is shown once it is known."""


@dataclass(frozen=True, slots=True)
class Launched:
    """What a guest was started with.

    :param need: megabytes of memory that it may take.
    :param hardware: its command line without wires: what a saved state is of.
    """

    version: str
    acceleration: Acceleration
    need: int
    hardware: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """As a dict of JSON types; :meth:`from_json` reads it back."""
        return {
            "version": self.version,
            "accelerator": self.acceleration.name,
            "reason": self.acceleration.reason,
            "need": self.need,
            "hardware": list(self.hardware),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Launched:
        """Make it from what :meth:`to_json` returned."""
        acceleration = Acceleration(data["accelerator"], data["reason"])
        hardware = tuple(data.get("hardware", ()))
        return cls(data["version"], acceleration, data["need"], hardware)


@dataclass(frozen=True, slots=True)
class QemuContext:
    """What all guests of a server share."""

    config: Mapping[str, Any]
    programs: Programs = field(default_factory=Programs)
    accelerations: Accelerations = field(default_factory=Accelerations)
    nodes: WeakSet[Any] = field(default_factory=WeakSet)
    checksums: dict[Path, asyncio.Task[str | None]] = field(default_factory=dict)

    async def describe(self, machine: Machine) -> str:
        """The programs of a machine, and how guests run there.

        :raises Conflict: there are none.
        """
        found = await self.programs.list_all(machine, EMULATORS)
        if not found:
            raise Conflict(f"No QEMU was found in the PATH of its machine. {INSTALL_HINT}")
        usual = next((each for each in found if each.path.endswith(f"/{NEWEST}")), found[0])
        platform = platform_of(usual.path) or ""
        best = await self.accelerations.best(
            usual, platform, machine, wanted=self.config["enable_kvm"]
        )
        others = f", and {len(found) - 1} more" if len(found) > 1 else ""
        return f"{usual.path}, version {usual.version}{others}; {best.name}: {best.reason}"

    async def list_emulators(self, machine: Machine) -> Sequence[Mapping[str, str]]:
        """The emulators of a machine, with their versions."""
        return shown(await self.programs.list_all(machine, EMULATORS))

    async def list_accelerated(self, machine: Machine) -> Sequence[str]:
        """The platforms whose guests a machine runs with KVM."""
        programs = await self.programs.list_all(machine, EMULATORS)
        platforms = [platform_of(program.path) or "" for program in programs]
        wanted = self.config["enable_kvm"]
        found = await asyncio.gather(
            *(
                self.accelerations.best(program, platform, machine, wanted=wanted)
                for program, platform in zip(programs, platforms, strict=True)
            )
        )
        named = zip(platforms, found, strict=True)
        return sorted({platform for platform, best in named if best.name == KVM})

    async def list_disk_tools(self, machine: Machine) -> Sequence[Mapping[str, str]]:
        """The programs of a machine that make disks, with their versions."""
        return shown(await self.programs.list_all(machine, DISK_TOOLS))

    async def md5(self, images: Images, path: Path) -> str | None:
        """The checksum of a file; ``None`` while it is not known, or if there is no such file."""
        if path not in self.checksums:
            self.checksums[path] = asyncio.create_task(images.md5(path))
            self.checksums[path].add_done_callback(lambda _: self.checksums.pop(path, None))
        task = self.checksums[path]
        await asyncio.wait({task}, timeout=CHECKSUM_SECONDS)
        return task.result() if task.done() else None

    async def end(self) -> None:
        """Give up what is still being worked out."""
        tasks = list(self.checksums.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def shown(programs: Sequence[Program]) -> Sequence[Mapping[str, str]]:
    """Programs as answers show them."""
    return [{"path": each.path, "version": each.version} for each in programs]
