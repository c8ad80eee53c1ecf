"""What a guest is: the values of its node, checked, stored and shown."""

from __future__ import annotations

from abc import ABC
from collections.abc import Mapping
from contextlib import suppress
from types import MappingProxyType
from typing import Any

from gns3server.plugin import Change, Conflict, LabError, ProcessNode
from gns3server_qemu.command_line import Card, mac_address, usual_mac_address
from gns3server_qemu.context import KIND, QemuContext
from gns3server_qemu.programs import INSTALL_HINT, platform_of, program_for
from gns3server_qemu.schemas import DISKS, FILES, MORE_FILES

DEFAULTS: Mapping[str, Any] = MappingProxyType(
    {
        "console_type": "telnet",
        **dict.fromkeys((*FILES, *MORE_FILES), ""),
        "ram": 256,
        "adapters": 1,
        "adapter_type": "e1000",
        "mac_address": "",
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
        "custom_adapters": (),
        "uefi": False,
        "tpm": False,
        "linked_clone": True,
        "create_config_disk": False,
    }
)
"""What a guest has that its creation does not say (contract 2.7)."""

USUAL_PLATFORM = "x86_64"
"""What a guest emulates that comes from another server and does not say it."""


FIXED_WHILE_RUNNING = ("console_type", "adapters")
"""What cannot be changed while a guest runs: clients would be told what is not so."""


class DescribedGuest(ProcessNode, ABC):
    """A virtual machine, as its clients describe it."""

    @property
    def context(self) -> QemuContext:
        """What all guests of the server share."""
        context: QemuContext = self.type.context
        return context

    @property
    def values(self) -> Mapping[str, Any]:
        """All that is to be known of it. One that comes from another server may say little."""
        path = self.properties.get("qemu_path")
        platform = self.properties.get("platform") or platform_of(path or "") or USUAL_PLATFORM
        named = {"platform": platform, "qemu_path": path or program_for(platform)}
        return {**DEFAULTS, **self.properties, **named}

    @property
    def adapters(self) -> int:
        """How many network cards it has."""
        return int(self.properties.get("adapters", DEFAULTS["adapters"]))

    @property
    def mac_address(self) -> str:
        """That of its first network card. A copy of a node that was given none has its own."""
        return self.properties.get("mac_address") or usual_mac_address(self.id)

    @property
    def ignored(self) -> list[str]:
        """The settings of it that are kept for clients, and change nothing.

        Images are never written, and so each disk is a layer over one; and nothing here makes a
        disk with a configuration.
        """
        values = self.values
        odd = {
            "linked_clone": not values["linked_clone"],
            "create_config_disk": values["create_config_disk"],
            "legacy_networking": values["legacy_networking"],
        }
        return [name for name, is_odd in odd.items() if is_odd]

    @property
    def cards(self) -> list[Card]:
        """Its network cards: some may be special."""
        special = {each["adapter_number"]: each for each in self.values["custom_adapters"]}
        usual = self.values["adapter_type"]
        return [
            Card(
                own.get("adapter_type") or usual,
                own.get("mac_address") or mac_address(self.mac_address, adapter),
            )
            for adapter in range(self.adapters)
            for own in (special.get(adapter, {}),)
        ]

    async def prepare(self, values: Mapping[str, Any]) -> Change:
        """Find the program and the files that are named, and check what cannot be done now."""
        given = dict((await super().prepare(values)).properties)
        if "mac_address" in values and values["mac_address"] is None:
            given["mac_address"] = ""
        given |= await self._program_named(given)
        for name in (*FILES, *MORE_FILES):
            if given.get(name):
                path = await self.images.find(KIND, given[name])
                given[name] = self.images.shown(KIND, path)
        if "options" in given:
            given["options"] = given["options"].strip()
        if not self.properties:
            given = {**DEFAULTS, **given}
            given["custom_adapters"] = list(given["custom_adapters"])
            return Change(properties=given)
        self._check_change(given)
        return Change(properties=given)

    def _check_change(self, given: Mapping[str, Any]) -> None:
        changed = {name for name, value in given.items() if self.values.get(name) != value}
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
        candidates += [] if platform is None else [program_for(platform)]
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
        own = {**await super().snapshot(), "mac_address": self.mac_address}
        shown = {**self.values, **own}
        for name in FILES:
            image, md5 = shown[name], None
            if image:
                with suppress(LabError):
                    path = await self.images.find(KIND, image)
                    md5 = await self.context.md5(self.images, path)
            shown[f"{name}_md5sum"] = md5
        return shown
