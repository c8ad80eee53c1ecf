"""The command line of QEMU, from plain values (contract 2.7, QEMU-15)."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from gns3server.plugin import Conflict
from gns3server_qemu.acceleration import KVM
from gns3server_qemu.memory import code_buffer
from gns3server_qemu.wires import Backend, card, escaped, option, plug_of, socket_of

ROOT_CARDS = 20
"""How many network cards are on the first bus of a PC, which has 32 places and other cards."""

BRIDGE = "bridge-0"
PCI_PLATFORMS = ("x86_64", "i386")
"""Where further cards can be behind a bridge."""

DEVICES = {"nvme": "nvme", "scsi": "scsi-hd", "sata": "ide-hd"}
CONTROLLERS = {"scsi": ("virtio-scsi-pci", "scsi"), "sata": ("ahci", "ahci")}
"""Interfaces of disks that need a controller: its device, and its id."""

DISK_NODE = "disk-"
"""What the names of disks begin with, by which QMP knows them."""

VNC_BASE = 5900
"""The port of VNC's display 0."""

VNC_PORTS_SINCE = (7, 1)
"""The first version whose VNC listens on any port, which it is told by QMP."""

NOWHERE = "none"
"""Where VNC listens until it is told."""


def vnc_display(host: str, port: int, version: tuple[int, ...]) -> str:
    """Where VNC is to listen from the beginning.

    :raises ValueError: it cannot listen there.
    """
    if version >= VNC_PORTS_SINCE:
        return NOWHERE
    if port < VNC_BASE:
        raise ValueError(port)
    return f"{host}:{port - VNC_BASE}"


@dataclass(frozen=True, slots=True)
class Drive:
    """A disk.

    :param index: its place, from 0 on.
    :param file: its file in the directory that QEMU runs in.
    :param interface: what it is attached to; ``none`` is the usual for the emulated machine.
    """

    index: int
    file: str
    interface: str = "none"


@dataclass(frozen=True, slots=True)
class Card:
    """A network card.

    :param model: what QEMU calls its kind.
    """

    model: str
    mac: str


@dataclass(frozen=True, slots=True)
class Firmware:
    """What a PC begins with in place of its BIOS, in two files.

    :param code: the firmware.
    :param variables: what it keeps, in the directory that QEMU runs in.
    """

    code: str
    variables: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Guest:
    """All that decides what QEMU is told.

    :param firmware: UEFI, in place of a BIOS.
    :param tpm: path of the unix socket of its TPM; empty if it has none.
    :param wires: what is plugged in, by card.
    :param control: path of the unix socket for QMP.
    :param serial: path of the unix socket of the serial port; empty if it has none.
    :param vnc: what VNC is told where it listens, if that is the console.
    :param windowless: whether QEMU must open no window.
    :param options: further options, as a user has typed them.
    """

    program: str
    name: str
    platform: str
    ram: int
    cpus: int = 1
    accelerator: str
    drives: Sequence[Drive] = ()
    cdrom: str = ""
    bios: str = ""
    boot_order: str = ""
    initrd: str = ""
    kernel: str = ""
    kernel_command_line: str = ""
    firmware: Firmware | None = None
    tpm: str = ""
    cards: Sequence[Card] = ()
    wires: Mapping[int, Backend] = field(default_factory=dict)
    control: str
    serial: str = ""
    vnc: str = ""
    windowless: bool = True
    options: str = ""

    def argv(self) -> tuple[str, ...]:
        """The command line.

        :raises Conflict: the further options cannot be split into words.
        """
        return (
            *(self.program, "-name", escaped(self.name), "-m", str(self.ram)),
            *(("-smp", str(self.cpus)) if self.cpus > 1 else ()),
            *self._acceleration(),
            *self._disks(),
            *self._boot(),
            *self._tpm(),
            *self._console(),
            *("-chardev", f"socket,id=qmp,path={escaped(self.control)},server=on,wait=off"),
            *("-mon", "chardev=qmp,mode=control"),
            *self._further(),
            *self._network(),
            *(("-nographic",) if self.windowless and not self.vnc else ()),
            # It waits until its links are as they should be, and its console is listened to.
            "-S",
        )

    def _acceleration(self) -> tuple[str, ...]:
        if self.accelerator == KVM:
            return ("-enable-kvm",)
        return ("-accel", f"tcg,tb-size={code_buffer(self.ram)}")

    def _disks(self) -> list[str]:
        words: list[str] = []
        for kind in dict.fromkeys(drive.interface for drive in self.drives):
            if kind in CONTROLLERS:
                device, name = CONTROLLERS[kind]
                words += ["-device", f"{device},id={name}"]
        for drive in self.drives:
            file = f"file={escaped(drive.file)},format=qcow2,node-name={DISK_NODE}{drive.index}"
            if drive.interface in DEVICES:
                bus = {"sata": f",bus=ahci.{drive.index}", "scsi": ",bus=scsi.0"}
                more = bus.get(drive.interface, f",serial=disk{drive.index}")
                device = f"{DEVICES[drive.interface]},drive=drive-{drive.index}{more}"
                words += ["-drive", f"{file},if=none,id=drive-{drive.index}", "-device", device]
                continue
            where = "" if drive.interface == "none" else f",if={drive.interface}"
            words += ["-drive", f"{file},index={drive.index},media=disk{where}"]
        if self.cdrom:
            words += ["-drive", f"file={escaped(self.cdrom)},media=cdrom,format=raw"]
        return words

    def _boot(self) -> list[str]:
        words: list[str] = []
        if self.firmware is not None:
            flash = "if=pflash,format=raw"
            code, own = escaped(self.firmware.code), escaped(self.firmware.variables)
            words += ["-drive", f"{flash},unit=0,readonly=on,file={code}"]
            words += ["-drive", f"{flash},unit=1,file={own}"]
        named = {
            "-bios": self.bios,
            "-boot": self.boot_order and f"order={self.boot_order}",
            "-initrd": self.initrd,
            "-kernel": self.kernel,
            "-append": self.kernel_command_line if self.kernel else "",
        }
        return words + [word for name, value in named.items() if value for word in (name, value)]

    def _tpm(self) -> tuple[str, ...]:
        if not self.tpm:
            return ()
        return (
            *("-chardev", f"socket,id=tpm,path={escaped(self.tpm)}"),
            *("-tpmdev", "emulator,id=tpm-0,chardev=tpm"),
            *("-device", "tpm-tis,tpmdev=tpm-0"),
        )

    def _console(self) -> tuple[str, ...]:
        if self.vnc:
            return ("-vnc", self.vnc)
        if not self.serial:
            return ("-serial", "none")
        return (
            "-chardev",
            f"socket,id=serial,path={escaped(self.serial)},server=on,wait=off",
            *("-serial", "chardev:serial"),
        )

    def _further(self) -> list[str]:
        try:
            return shlex.split(self.options)
        except ValueError as error:
            raise Conflict(
                f"VM {self.name!r} cannot be started: its options cannot be split into words "
                f"({error}): check the quotes in {self.options!r:.200}."
            ) from error

    def _network(self) -> list[str]:
        words = ["-net", "none"]
        bridged = self.platform in PCI_PLATFORMS and len(self.cards) > ROOT_CARDS
        if bridged:
            words += ["-device", f"pci-bridge,id={BRIDGE},chassis_nr=1"]
        for adapter, own in enumerate(self.cards):
            if adapter in self.wires:
                words += ["-netdev", option(self.wires[adapter])]
                words += ["-netdev", option(plug_of(adapter))]
            words += ["-netdev", option(socket_of(adapter))]
            # Nobody boots from those behind the bridge, and the BIOS has no room for all ROMs.
            where = f",bus={BRIDGE},romfile=" if bridged and adapter >= ROOT_CARDS else ""
            device = f"{own.model},mac={own.mac},netdev=hub-{adapter},id={card(adapter)}"
            words += ["-device", device + where]
        return words


def mac_address(base: str, adapter: int) -> str:
    """The MAC address of a network card: the base counted on (D-21)."""
    value = (int(base.replace(":", ""), 16) + adapter) % 2**48
    return ":".join(f"{value:012x}"[place : place + 2] for place in range(0, 12, 2))


def usual_mac_address(node_id: str) -> str:
    """The base of a guest that was given none: it ends in the end of the node's id."""
    digits = node_id.replace("-", "").lower()
    return f"00:00:ab:{digits[-4:-2]}:{digits[-2:]}:00"
