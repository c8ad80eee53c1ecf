"""A virtual machine."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any
from weakref import WeakSet

from gns3server.plugin import (
    Change,
    Conflict,
    Console,
    ImageKind,
    Images,
    LabError,
    LaunchSpec,
    Machine,
    Nio,
    NodeState,
    Port,
    ProcessNode,
)
from gns3server_qemu import memory
from gns3server_qemu.acceleration import Acceleration, Accelerations
from gns3server_qemu.command_line import VNC_BASE, Drive, Guest, mac_address, usual_mac_address
from gns3server_qemu.disks import Disks
from gns3server_qemu.monitor import Monitor, Refused
from gns3server_qemu.programs import (
    EMULATORS,
    INSTALL_HINT,
    Program,
    Programs,
    platform_of,
)
from gns3server_qemu.schemas import DISKS, FILES, MORE_FILES, NICENESS
from gns3server_qemu.wires import UDP, Backend, backend, card, plug, plug_of, wire

log = logging.getLogger(__name__)

KIND = ImageKind(name="QEMU", directory="QEMU", title="QEMU")
LOG = "qemu.log"
NEWEST = "qemu-system-x86_64"

CHECKSUM_SECONDS = 2.0
"""How long an answer waits for the checksum of a large file; it is shown once it is known."""

QUIT_SECONDS = 2.0
"""What is left of the time of a stop for QEMU to end, once the guest has had its own."""

DEFAULTS: Mapping[str, Any] = MappingProxyType(
    {
        "console_type": "telnet",
        **dict.fromkeys((*FILES, *MORE_FILES), ""),
        "ram": 256,
        "adapters": 1,
        "adapter_type": "e1000",
        "kernel_command_line": "",
        "legacy_networking": False,
        "acpi_shutdown": False,
        "cpu_throttling": 0,
        "process_priority": "low",
        "options": "",
        "cpus": 1,
        "boot_priority": "",
        **{f"{disk}_disk_interface": "none" for disk in DISKS},
        "on_close": "power_off",
        "replicate_network_connection_state": True,
    }
)
"""What a guest has that its creation does not say (contract 2.7)."""

FIXED_WHILE_RUNNING = ("console_type", "adapters")
"""What cannot be changed while a guest runs: clients would be told what is not so."""

RUNNING, PAUSED, WAITING = "running", "paused", "prelaunch"
"""What QEMU calls the states of a guest that are of interest here."""


@dataclass(frozen=True, slots=True)
class Launched:
    """What a guest was started with.

    :param need: megabytes of memory that it may take.
    """

    version: str
    acceleration: Acceleration
    need: int

    def to_json(self) -> dict[str, Any]:
        """As a dict of JSON types; :meth:`from_json` reads it back."""
        return {
            "version": self.version,
            "accelerator": self.acceleration.name,
            "reason": self.acceleration.reason,
            "need": self.need,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Launched:
        """Make it from what :meth:`to_json` returned."""
        acceleration = Acceleration(data["accelerator"], data["reason"])
        return cls(data["version"], acceleration, data["need"])


@dataclass(frozen=True, slots=True)
class QemuContext:
    """What all guests of a server share."""

    config: Mapping[str, Any]
    programs: Programs = field(default_factory=Programs)
    accelerations: Accelerations = field(default_factory=Accelerations)
    nodes: WeakSet[QemuNode] = field(default_factory=WeakSet)
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


class QemuNode(ProcessNode):
    """A virtual machine, controlled by QMP."""

    _monitor: Monitor | None = None
    _launched: Launched | None = None

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._context.nodes.add(self)

    @property
    def _context(self) -> QemuContext:
        context: QemuContext = self.type.context
        return context

    @property
    def adapters(self) -> int:
        """How many network cards it has."""
        return int(self.properties.get("adapters", DEFAULTS["adapters"]))

    # What it is ------------------------------------------------------------------------

    async def prepare(self, values: Mapping[str, Any]) -> Change:
        """Find the program and the files that are named, and check what cannot be done now."""
        given = dict((await super().prepare(values)).properties)
        if "mac_address" in values and values["mac_address"] is None:
            given["mac_address"] = usual_mac_address(self.id)
        given |= await self._program_named(given)
        for name in (*FILES, *MORE_FILES):
            if given.get(name):
                path = await self.images.find(KIND, given[name])
                given[name] = self.images.shown(KIND, path)
        if "options" in given:
            given["options"] = given["options"].strip()
        if not self.properties:
            usual = {**DEFAULTS, "mac_address": usual_mac_address(self.id)}
            return Change(properties={**usual, **given})
        self._check_change(given)
        return Change(properties=given)

    def _check_change(self, given: Mapping[str, Any]) -> None:
        changed = {name for name, value in given.items() if self.properties.get(name) != value}
        if self.run is not None:
            for name in FIXED_WHILE_RUNNING:
                if name in changed:
                    raise Conflict(
                        f"Nothing of VM {self.name!r} was changed: its {name} cannot be changed "
                        "while it runs. Stop it first."
                    )
        adapters = given.get("adapters", self.adapters)
        lost = sorted({adapter for adapter, _ in self.nios if adapter >= adapters})
        if lost:
            raise Conflict(
                f"Nothing of VM {self.name!r} was changed: its adapters "
                f"{', '.join(map(str, lost))} would go away, and are wired. Unplug them first."
            )

    async def _program_named(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The program and the platform that a request means: the path wins over the platform.

        :raises Conflict: there is no such program, or nothing says what it emulates.
        """
        path, platform = given.get("qemu_path"), given.get("platform")
        if path is None and platform is None:
            if self.properties:
                return {}
            raise Conflict(
                f"VM {self.name!r} was not created: neither qemu_path nor platform says which "
                "QEMU it runs. Give one of them."
            )
        candidates = [] if path is None else [path]
        candidates += [] if platform is None else [f"qemu-system-{platform}"]
        for candidate in candidates:
            found = await self.machine.find_program(candidate)
            if found is None:
                continue
            emulated = platform_of(found) or platform
            if emulated is None:
                raise Conflict(
                    f"The name of {found} does not say what it emulates, and nothing of VM "
                    f"{self.name!r} was changed: give the platform as well."
                )
            return {"qemu_path": found, "platform": emulated}
        raise Conflict(
            f"The program {candidates[0]!r:.200} was not found on the machine of VM {self.name!r}, "
            f"or is not executable, and nothing was changed. {INSTALL_HINT}"
        )

    async def snapshot(self) -> dict[str, Any]:
        """Its properties, with the checksums of its files."""
        shown = await super().snapshot()
        for name in FILES:
            image, md5 = self.properties[name], None
            if image:
                with suppress(LabError):
                    path = await self.images.find(KIND, image)
                    md5 = await self._context.md5(self.images, path)
            shown[f"{name}_md5sum"] = md5
        return shown

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

    # Its life --------------------------------------------------------------------------

    @property
    def _control(self) -> str:
        """The path of its QMP socket."""
        return str(self.runtime_directory / "qmp")

    async def launch_spec(self) -> LaunchSpec:
        """The command line of contract 2.7, for what is wired and wanted now."""
        values = self.properties
        program = await self._context.programs.examine(values["qemu_path"], self.machine)
        await memory.check(
            self.title,
            values["ram"],
            self._needed_by_others(),
            self.settings["memory_reserve"],
            self.machine,
        )
        acceleration = await self._context.accelerations.best(
            program, values["platform"], self.machine, wanted=self.settings["enable_kvm"]
        )
        guest = await self._guest(program, acceleration)
        self._launched = Launched(program.version, acceleration, memory.need_of(values["ram"]))
        await self.store.set("launched", self._launched.to_json())
        around, children = await self._around()
        console = None
        if guest.serial:
            console = Console(port=self.console, source="unix", path=guest.serial)
        vnc = () if guest.vnc is None else (Port("tcp", self.console),)
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
        values = self.properties
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
            adapter_type=values["adapter_type"],
            mac_addresses=[
                mac_address(values["mac_address"], adapter) for adapter in range(self.adapters)
            ],
            wires={
                adapter: await backend(adapter, nio, version, self.machine)
                for (adapter, _), nio in self.nios.items()
                if adapter < self.adapters
            },
            control=self._control,
            serial=self._serial(),
            vnc=self._vnc(),
            windowless=not await self._has_display(),
            options=values["options"],
        )

    def _serial(self) -> str:
        if self.properties["console_type"] != "telnet":
            return ""
        return str(self.runtime_directory / "serial")

    def _vnc(self) -> tuple[str, int] | None:
        if self.properties["console_type"] != "vnc":
            return None
        if self.console < VNC_BASE:
            raise Conflict(
                f"VM {self.name!r} cannot be started: its console is VNC, which has ports from "
                f"{VNC_BASE} on, and its port is {self.console}. Give it another one as console."
            )
        return self.machine.console_host, self.console

    async def _file(self, name: str) -> Path | None:
        image = self.properties[name]
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

    async def _around(self) -> tuple[tuple[str, ...], int]:
        """What QEMU is started by, for its priority and share of the processor.

        Both have to be there before it has made its threads: later changes reach the first one
        only. Tells also how many child processes there are then.
        """
        words: tuple[str, ...] = ()
        niceness = NICENESS[self.properties["process_priority"]]
        if niceness:
            words += (await self.find_program("nice"), "-n", str(niceness))
        limit = self.properties["cpu_throttling"]
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
            node
            for node in self._context.nodes
            if node is not self and node.machine is self.machine
        ]
        return sum(node.needs for node in others if node.state is not NodeState.STOPPED)

    @property
    def needs(self) -> int:
        """Megabytes of memory that it may take, or may be about to."""
        if self.run is not None and self._launched is not None:
            return self._launched.need
        return memory.need_of(self.properties["ram"])

    async def ready(self) -> None:
        """Set the links, then let the guest begin.

        QEMU listens at its control socket long before it has looked at most of its options, and
        greets only when the guest is made.
        """
        monitor = await self._talk()
        for adapter in range(self.adapters):
            await self._set_link(monitor, adapter)
        await self._keep_wires()
        await monitor.execute("cont")

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

    async def shut_down(self, deadline: float) -> None:
        """Ask the guest to end if that is wanted, then QEMU."""
        with suppress(LabError):
            monitor = await self._talk()
            wanted = self.properties["acpi_shutdown"] or (
                self.properties["on_close"] == "shutdown_signal"
            )
            if wanted:
                await monitor.execute("cont")
                await monitor.execute("system_powerdown")
                if await self._ended(deadline - QUIT_SECONDS):
                    return
            await monitor.execute("quit")
            await self._ended(deadline)

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

    # Its wires -------------------------------------------------------------------------

    async def wire_changing(self, adapter: int, port: int, nio: Nio | None) -> None:
        """Refuse a UDP port that another wire has, or that cannot be bound."""
        if nio is None or nio.type != UDP:
            return
        lport = nio.values["lport"]
        for (other, _), plugged in self.nios.items():
            if other != adapter and plugged.type == UDP and plugged.values["lport"] == lport:
                raise Conflict(
                    f"UDP port {lport} is in use by adapter {other} of {self.title}: choose "
                    "another."
                )
        if self.run is None or Port("udp", lport) in self.run.spec.ports:
            return
        if not await self.machine.can_bind("UDP", lport):
            raise Conflict(
                f"UDP port {lport} is in use by another process of the machine: choose another."
            )

    async def wire_changed(self, adapter: int, port: int, nio: Nio | None) -> None:
        """Plug in, or unplug, while it runs."""
        if self.run is None:
            return
        monitor = await self._talk()
        others = tuple(port for port in self.run.spec.ports if port.kind != "udp")
        async with self.run.rebinding((*others, *self._udp_ports())):
            await self._replug(monitor, adapter)
        await self._keep_wires()

    async def _replug(self, monitor: Monitor, adapter: int) -> None:
        """Have what is plugged into a network card be what is wanted by now.

        :raises Conflict: it cannot be plugged in.
        """
        wanted = await self._backend(adapter)
        if wanted is None:
            # The guest sees it before frames are lost.
            await self._set_link(monitor, adapter)
        for name in (plug(adapter), wire(adapter)):
            try:
                await monitor.execute("netdev_del", {"id": name})
            except Refused as error:
                if not error.gone:
                    raise
        if wanted is None:
            return
        try:
            await monitor.execute("netdev_add", wanted)
        except Refused as error:
            raise Conflict(
                f"The wire at adapter {adapter} of {self.title} is on record, but could not be "
                f"plugged in: {error.message}"
            ) from error
        await monitor.execute("netdev_add", plug_of(adapter))
        await self._set_link(monitor, adapter)

    async def _set_link(self, monitor: Monitor, adapter: int) -> None:
        """Have the guest see whether something is plugged in."""
        replicated = self.properties["replicate_network_connection_state"]
        up = self.nio(adapter) is not None or not replicated
        await monitor.execute("set_link", {"name": card(adapter), "up": up})

    async def _backend(self, adapter: int) -> Backend | None:
        nio, launched = self.nio(adapter), await self._what_was_launched()
        if nio is None or launched is None:
            return None
        version = Program("", launched.version).numbers
        return await backend(adapter, nio, version, self.machine)

    async def _keep_wires(self) -> None:
        """Note what is plugged in: a later server changes only what differs."""
        wires = {str(adapter): await self._backend(adapter) for adapter in range(self.adapters)}
        await self.store.set("wires", wires)

    def _udp_ports(self) -> tuple[Port, ...]:
        return tuple(
            Port("udp", nio.values["lport"])
            for (adapter, _), nio in self.nios.items()
            if nio.type == UDP and adapter < self.adapters
        )

    # Talking to it -----------------------------------------------------------------------

    async def _talk(self) -> Monitor:
        """Its QMP connection, made if need be.

        :raises Unavailable: it does not answer.
        """
        if self._monitor is not None and self._monitor.connected:
            return self._monitor
        await self._hang_up()
        self._monitor = await Monitor.connect(self.machine, self._control, self.title, self._told())
        return self._monitor

    async def _hang_up(self) -> None:
        monitor, self._monitor = self._monitor, None
        if monitor is not None:
            await monitor.close()

    def _told(self) -> Callable[[str], None]:
        where = f"project {self.project.id}, VM {self.id}"

        def told(event: str) -> None:
            if event == "BLOCK_IO_ERROR":
                log.warning("%s: its disk cannot be written; the guest may be paused", where)

        return told

    async def _what_was_launched(self) -> Launched | None:
        """What runs, also if an earlier server has started it."""
        if self._launched is None:
            stored = await self.store.get("launched")
            self._launched = None if stored is None else Launched.from_json(stored)
        return self._launched


NOTHING_RUNS = ("version", "accelerator", "reason", "command_line")
