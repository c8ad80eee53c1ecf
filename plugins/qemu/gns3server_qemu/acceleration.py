"""Whether a machine's KVM really runs guests, found out by running one."""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from gns3server.plugin import FileStamp, LabError, Machine, ToolFailed
from gns3server_qemu.programs import Program

PROBE_SECONDS = 3.0
"""How long the guest may take, which needs a tenth of a second where KVM works."""

EXIT_PORT = 0xF4
DONE = 33
"""The exit code of QEMU once 16 is written to its exit device: twice that, and one."""

PROBE = bytes.fromhex(f"b010 e6{EXIT_PORT:02x} f4 ebfd").ljust(510, b"\0") + b"\x55\xaa"
"""A boot sector: mov al, 16; out EXIT_PORT, al; hlt, for ever."""

PLATFORMS = ("x86_64", "i386")
"""What the probe runs on."""

KVM, TCG = "kvm", "tcg"

STORED = "kvm"
"""The key in the server's store: what has become of guests, by program and boot of the machine."""

MOST_KEPT = 32


@dataclass(frozen=True, slots=True)
class Acceleration:
    """How a guest's instructions are carried out.

    :param name: ``kvm`` or ``tcg``.
    :param reason: why, for people.
    """

    name: str
    reason: str


class Outcomes(Protocol):
    """Where outcomes are kept: the part of a :class:`gns3server.plugin.Store` that is used."""

    async def get(self, key: str, default: Any = None) -> Any:
        """What is kept."""

    async def set(self, key: str, value: Any) -> None:
        """Keep something."""


class Accelerations:
    """Boots one guest with KVM for each program and machine, and remembers the outcome.

    It is there, can be opened and makes virtual machines on hosts that are virtual machines
    themselves, and guests do not boot all the same: so nothing less than a guest tells.
    """

    def __init__(self) -> None:
        self._tried: dict[tuple[Machine, str, FileStamp], asyncio.Task[str]] = {}
        self._store: Outcomes | None = None
        self._noting = asyncio.Lock()

    def remember_in(self, store: Outcomes) -> None:
        """Remember outcomes for later servers, until the machine boots again."""
        self._store = store

    async def best(
        self, program: Program, platform: str, machine: Machine, *, wanted: bool
    ) -> Acceleration:
        """What a program's guests run with on a machine.

        :param wanted: whether the settings allow KVM.
        """
        if not wanted:
            return Acceleration(TCG, "the setting enable_kvm is off")
        if platform not in PLATFORMS:
            return Acceleration(TCG, f"KVM is not tried for {platform}")
        try:
            await machine.stamp_file("/dev/kvm")
        except OSError:
            return Acceleration(TCG, "the machine has no /dev/kvm")
        key = (machine, program.path, await machine.stamp_file(program.path))
        if key not in self._tried:
            self._tried[key] = asyncio.create_task(self._try(program, machine, key[2]))
            self._tried[key].add_done_callback(partial(self._forget_failed, key))
        failure = await asyncio.shield(self._tried[key])
        if failure:
            return Acceleration(TCG, f"a guest does not boot with KVM: {failure}")
        return Acceleration(KVM, "a guest has booted with it")

    async def _try(self, program: Program, machine: Machine, stamp: FileStamp) -> str:
        boot = await machine.read_file("/proc/sys/kernel/random/boot_id", Path("/proc"))
        known = {
            "path": program.path,
            "size": stamp.size,
            "modified": stamp.modified,
            "machine": machine.address,
            "boot": (boot or b"").decode().strip(),
        }
        kept = [] if self._store is None else await self._store.get(STORED, [])
        for outcome in kept:
            if {**outcome, "failure": ""} == {**known, "failure": ""}:
                return str(outcome["failure"])
        failure = await failure_of(program, machine, KVM)
        await self._note({**known, "failure": failure})
        return failure

    async def _note(self, outcome: dict[str, Any]) -> None:
        if self._store is None:
            return
        async with self._noting:
            kept = await self._store.get(STORED, [])
            kept = [other for other in kept if other["boot"] == outcome["boot"]]
            await self._store.set(STORED, [*kept, outcome][-MOST_KEPT:])

    def _forget_failed(self, key: tuple[Machine, str, FileStamp], tried: asyncio.Task[str]) -> None:
        if tried.cancelled() or tried.exception() is not None:
            del self._tried[key]


async def failure_of(program: Program, machine: Machine, accelerator: str) -> str:
    """Boot a guest of 512 bytes; tells what went wrong, nothing if it has run."""
    directory = machine.runtime / f"probe-{uuid.uuid4().hex[:8]}"
    try:
        await machine.make_runtime_directory(directory)
        try:
            await machine.place_files(directory, directory, {"probe.img": PROBE})
            result = await machine.run_tool(
                [
                    program.path,
                    *("-accel", accelerator, "-m", "16", "-nodefaults", "-display", "none"),
                    *("-drive", f"file={directory}/probe.img,format=raw,index=0"),
                    *("-device", f"isa-debug-exit,iobase={EXIT_PORT},iosize=4"),
                ],
                limit=PROBE_SECONDS,
            )
        finally:
            await machine.remove_runtime_directory(directory)
    except ToolFailed as error:
        return error.reason
    except (LabError, OSError) as error:
        return f"it could not be tried: {error}"
    last = result.output.strip().splitlines()[-1:] or [f"QEMU ended with code {result.code}"]
    return "" if result.code == DONE else last[0]
