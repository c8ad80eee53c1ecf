"""A virtual machine."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from gns3server.plugin import Conflict, Console, LabError, LaunchSpec, NodeState, Port
from gns3server_qemu import firmware, memory, saved_state, tpm
from gns3server_qemu.acceleration import Acceleration
from gns3server_qemu.command_line import (
    NOWHERE,
    VNC_BASE,
    VNC_PORTS_SINCE,
    Drive,
    Firmware,
    Guest,
    vnc_display,
)
from gns3server_qemu.context import KIND, Launched
from gns3server_qemu.disks import Disks
from gns3server_qemu.monitor import Monitor, Refused
from gns3server_qemu.programs import Program
from gns3server_qemu.schemas import DISKS, FILES, MORE_FILES, NICENESS
from gns3server_qemu.wired import WiredGuest
from gns3server_qemu.wires import backend

log = logging.getLogger(__name__)

LOG = "qemu.log"
VARIABLES = "uefi_vars.fd"

SAVED = "saved"
"""The key in its store: the machine whose state was saved when it was stopped."""

QUIT_SECONDS = 2.0
"""What is left of the time of a stop for QEMU to end, once the guest has had its own."""


RUNNING, PAUSED, WAITING = "running", "paused", "prelaunch"
"""What QEMU calls the states of a guest that are of interest here."""


NOTHING_RUNS = ("version", "accelerator", "reason", "command_line")
"""What is null of a guest that does not run."""


class QemuNode(WiredGuest):
    """A virtual machine, controlled by QMP."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.context.nodes.add(self)

    # What runs ----------------------------------------------------------------------

    async def emulator(self) -> dict[str, Any]:
        """What runs for it."""
        launched = await self._what_was_launched()
        if self.run is None or launched is None:
            return {"status": self.state.value, **dict.fromkeys(NOTHING_RUNS)}
        return {
            "status": self.state.value,
            "version": launched.version,
            "accelerator": launched.acceleration.name,
            "reason": launched.acceleration.reason,
            "command_line": list(self.run.spec.argv),
        }

    @property
    def runs_with(self) -> dict[str, Any]:
        """Its accelerator, and which of its settings change nothing."""
        launched = self._launched
        return {
            "accelerator": None if launched is None else launched.acceleration.name,
            "ignored": self.ignored,
        }

    @property
    def needs(self) -> int:
        """Megabytes of memory that it may take, or may be about to."""
        if self.run is not None and self._launched is not None:
            return self._launched.need
        return memory.need_of(self.values["ram"])

    # Its life --------------------------------------------------------------------------

    async def launch_spec(self) -> LaunchSpec:
        """The command line of contract 2.7, for what is wired and wanted now."""
        values = self.values
        path = await self.machine.find_program(values["qemu_path"])
        program = await self.context.programs.examine(path or values["qemu_path"], self.machine)
        await memory.check(
            self.title,
            values["ram"],
            self._needed_by_others(),
            self.settings["memory_reserve"],
            self.machine,
        )
        acceleration = await self.context.accelerations.best(
            program, values["platform"], self.machine, wanted=self.settings["enable_kvm"]
        )
        guest = await self._guest(program, acceleration)
        if self.ignored:
            where = f"project {self.project.id}, VM {self.id}"
            log.warning("%s: what it says of %s changes nothing", where, ", ".join(self.ignored))
        self._launched = Launched(
            program.version,
            acceleration,
            memory.need_of(values["ram"]),
            replace(guest, wires={}).argv(),
        )
        await self.store.set("launched", self._launched.to_json())
        around, children = await self._around(guest)
        console = None
        if guest.serial:
            console = Console(port=self.console, source="unix", path=guest.serial)
        vnc = () if guest.vnc in ("", NOWHERE) else (Port("tcp", self.console),)
        return LaunchSpec(
            argv=(*around, *guest.argv()),
            cwd=str(self.directory),
            ports=(*vnc, *self._udp_ports()),
            sockets=(self._control, *((guest.serial,) if guest.serial else ())),
            children=children,
            log_name=LOG,
            console=console,
        )

    async def _guest(self, program: Program, acceleration: Acceleration) -> Guest:
        values = self.values
        files = {name: await self._file(name) for name in (*FILES, *MORE_FILES)}
        images = {disk: path for disk in DISKS if (path := files[f"{disk}_disk_image"])}
        disks = Disks(
            self.title,
            self.directory,
            self.project.path,
            self.machine,
            self.images,
            self.store,
            program.path,
        )
        overlays = await disks.prepare(images)
        version = program.numbers
        return Guest(
            program=program.path,
            name=self.name,
            platform=values["platform"],
            ram=values["ram"],
            cpus=values["cpus"],
            accelerator=acceleration.name,
            drives=[
                Drive(DISKS.index(disk), file, values[f"{disk}_disk_interface"])
                for disk, file in sorted(overlays.items())
            ],
            cdrom=str(files["cdrom_image"] or ""),
            bios=str(files["bios_image"] or ""),
            boot_order=values["boot_priority"],
            initrd=str(files["initrd"] or ""),
            kernel=str(files["kernel_image"] or ""),
            kernel_command_line=values["kernel_command_line"],
            firmware=await self._firmware(disks),
            tpm=str(self.runtime_directory / "tpm") if values["tpm"] else "",
            cards=self.cards,
            wires={
                adapter: await backend(adapter, nio, version, self.machine)
                for (adapter, _), nio in self.nios.items()
                if adapter < self.adapters
            },
            control=self._control,
            serial=self._serial(),
            vnc=self._vnc(version),
            windowless=not await self._has_display(),
            options=values["options"],
        )

    async def _firmware(self, disks: Disks) -> Firmware | None:
        if not self.values["uefi"]:
            return None
        code, template = await firmware.find(self.title, self.values["platform"], self.machine)
        return Firmware(code, await disks.copy(template, VARIABLES))

    def _serial(self) -> str:
        if self.values["console_type"] != "telnet":
            return ""
        return str(self.runtime_directory / "serial")

    def _vnc(self, version: tuple[int, ...]) -> str:
        if self.values["console_type"] != "vnc":
            return ""
        try:
            return vnc_display(self.machine.console_host, self.console, version)
        except ValueError as error:
            raise Conflict(
                f"VM {self.name!r} cannot be started: its console is VNC, which has ports from "
                f"{VNC_BASE} on before QEMU 7.1, and its port is {self.console}. Give it another "
                "one as console."
            ) from error

    async def _file(self, name: str) -> Path | None:
        image = self.values[name]
        if not image:
            return None
        path = await self.images.find(KIND, image)
        try:
            await self.machine.stamp_file(str(path))
        except OSError as error:
            raise Conflict(
                f"VM {self.name!r} cannot be started: its {name} {path} cannot be read: "
                f"{error.strerror}. Upload it, or name another one."
            ) from error
        return path

    async def _has_display(self) -> bool:
        """Whether QEMU could open a window: only where the settings hand DISPLAY on (QEMU-17)."""
        program = await self.machine.find_program("printenv")
        if program is None:
            return False
        return bool((await self.machine.run_tool([program, "DISPLAY"])).output.strip())

    async def _around(self, guest: Guest) -> tuple[tuple[str, ...], int]:
        """What QEMU is started by, for its priority, its share of the processor, and its TPM.

        The first two have to be there before it has made its threads: later changes reach the first
        one only. Tells also how many child processes there are then.
        """
        beside = await tpm.around(self.title, guest.tpm, self.machine) if guest.tpm else ()
        words, children = await self._limits()
        return (*words, *beside), children + bool(beside)

    async def _limits(self) -> tuple[tuple[str, ...], int]:
        words: tuple[str, ...] = ()
        niceness = NICENESS[self.values["process_priority"]]
        if niceness:
            words += (await self.find_program("nice"), "-n", str(niceness))
        limit = self.values["cpu_throttling"]
        if not limit:
            return words, 0
        program = await self.machine.find_program("cpulimit")
        if program is None:
            raise Conflict(
                f"VM {self.name!r} cannot be started: its cpu_throttling needs the program "
                "cpulimit, which its machine does not have. Install it (on Debian and Ubuntu: sudo "
                "apt-get install cpulimit), or set cpu_throttling to 0."
            )
        return (*words, program, "-q", "-f", "-l", str(limit), "--"), 1

    def _needed_by_others(self) -> int:
        others = [
            node for node in self.context.nodes if node is not self and node.machine is self.machine
        ]
        return sum(node.needs for node in others if node.state is not NodeState.STOPPED)

    async def ready(self) -> None:
        """Set the links, then let the guest begin.

        QEMU listens at its control socket long before it has looked at most of its options, and
        greets only when the guest is made.
        """
        monitor = await self._talk()
        await self._restore(monitor)
        await self._open_vnc(monitor)
        for adapter in range(self.adapters):
            await self._set_link(monitor, adapter)
        await self._keep_wires()
        await monitor.execute("cont")

    async def _open_vnc(self, monitor: Monitor) -> None:
        """Have VNC listen at the port of the console, if it was not told before."""
        launched = await self._what_was_launched()
        if self.values["console_type"] != "vnc" or launched is None:
            return
        if Program("", launched.version).numbers < VNC_PORTS_SINCE:
            return
        address = {
            "type": "inet",
            "host": self.machine.console_host,
            "port": str(self.console),
        }
        try:
            await monitor.execute("display-update", {"type": "vnc", "addresses": [address]})
        except Refused as error:
            raise Conflict(
                f"The VNC of {self.title} cannot listen at port {self.console}: {error.message} "
                "Give it another one as console."
            ) from error

    async def updated(self) -> None:
        """Have its VNC listen at the port that it has now."""
        if self.run is None or self.values["console_type"] != "vnc":
            return
        monitor = await self._talk()
        if (await monitor.execute("query-vnc")).get("service") != str(self.console):
            await self._open_vnc(monitor)

    async def _restore(self, monitor: Monitor) -> None:
        """Have it go on where it was saved, if it was, and is the same machine still."""
        launched, hardware = self._launched, await self.store.get(SAVED)
        if hardware is None or launched is None:
            return
        limit = self.settings["shutdown_seconds"]
        try:
            if list(launched.hardware) == hardware:
                await saved_state.restore(monitor, limit)
            else:
                log.warning(
                    "project %s, VM %s: it has been changed, and begins anew: what was saved of it "
                    "is of no use",
                    self.project.id,
                    self.id,
                )
            await saved_state.forget(monitor, limit)
        except LabError as error:
            raise Conflict(
                f"{self.title} was not started: it cannot go on where it was saved. Start it once "
                f"more, and it begins anew. {error.message}"
            ) from error
        finally:
            # What it does from now on is not what was saved.
            await self.store.delete(SAVED)

    async def suspend(self) -> None:
        """Freeze the guest."""
        await (await self._talk()).execute("stop")

    async def resume(self) -> None:
        """Let it go on."""
        await (await self._talk()).execute("cont")

    async def reset(self) -> None:
        """Press its reset button."""
        await (await self._talk()).execute("system_reset")

    async def adopted(self) -> None:
        """Have the guest of an earlier server be as the record says."""
        if self.run is None:
            return
        await self._what_was_launched()
        monitor = await self._talk()
        told = await self.store.get("wires", {})
        for adapter in range(self.adapters):
            if told.get(str(adapter)) != await self._backend(adapter):
                await self._replug(monitor, adapter)
        await self._keep_wires()
        status = (await monitor.execute("query-status"))["status"]
        if self.state is NodeState.SUSPENDED and status == RUNNING:
            await monitor.execute("stop")
        elif self.state is NodeState.STARTED and status in (PAUSED, WAITING):
            await monitor.execute("cont")

    @property
    def _farewell(self) -> str:
        """What becomes of it when it is stopped, in the words of its ``on_close``."""
        if self.being_deleted:
            return "power_off"
        if self.values["on_close"] == "power_off" and self.values["acpi_shutdown"]:
            return "shutdown_signal"
        return str(self.values["on_close"])

    def seconds_for(self, method: str) -> float:
        """A guest that is asked to end, is saved or restored, has the time of the settings."""
        if self._farewell == "power_off" and method == "shut_down":
            return super().seconds_for(method)
        return float(self.settings["shutdown_seconds"]) + QUIT_SECONDS

    async def shut_down(self, deadline: float) -> None:
        """Ask the guest to end, or save it, if that is wanted; then ask QEMU."""
        last = deadline - QUIT_SECONDS
        with suppress(LabError):
            monitor = await self._talk()
            if self._farewell == "shutdown_signal":
                await monitor.execute("cont")
                await monitor.execute("system_powerdown")
                if await self._ended(last):
                    return
            if self._farewell == "save_vm_state":
                await self._save(monitor, last)
            await monitor.execute("quit")
            await self._ended(deadline)

    async def _save(self, monitor: Monitor, end: float) -> None:
        """Save what it is doing; if that fails it is switched off all the same."""
        launched = await self._what_was_launched()
        if launched is None:
            return
        try:
            await saved_state.save(monitor, end - asyncio.get_running_loop().time())
            await self.store.set(SAVED, list(launched.hardware))
        except LabError as error:
            log.warning(
                "project %s, VM %s: it is switched off, and could not be saved: %s",
                self.project.id,
                self.id,
                error.message,
            )

    async def _ended(self, deadline: float) -> bool:
        """Wait for QEMU to end; tells whether it has."""
        if self.run is None:
            return True
        try:
            async with asyncio.timeout_at(deadline):
                await self.run.ended()
        except TimeoutError:
            return False
        return True

    async def settle(self) -> None:
        """Hang up when QEMU has ended."""
        await super().settle()
        if self.run is None:
            await self._hang_up()

    async def stop(self) -> None:
        """Stop it."""
        try:
            await super().stop()
        finally:
            await self._hang_up()

    async def leave(self) -> None:
        """Let it run on."""
        await self._hang_up()
        await super().leave()
