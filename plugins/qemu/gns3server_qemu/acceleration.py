"""Whether a machine's KVM really runs guests, found out by running one."""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import dataclass
from functools import partial

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


@dataclass(frozen=True, slots=True)
class Acceleration:
    """How a guest's instructions are carried out.

    :param name: ``kvm`` or ``tcg``.
    :param reason: why, for people.
    """

    name: str
    reason: str


class Accelerations:
    """Boots one guest with KVM for each program and machine, and remembers the outcome.

    It is there, can be opened and makes virtual machines on hosts that are virtual machines
    themselves, and guests do not boot all the same: so nothing less than a guest tells.
    """

    def __init__(self) -> None:
        self._tried: dict[tuple[Machine, str, FileStamp], asyncio.Task[str]] = {}

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
            self._tried[key] = asyncio.create_task(failure_of(program, machine, KVM))
            self._tried[key].add_done_callback(partial(self._forget_failed, key))
        failure = await asyncio.shield(self._tried[key])
        if failure:
            return Acceleration(TCG, f"a guest does not boot with KVM: {failure}")
        return Acceleration(KVM, "a guest has booted with it")

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
