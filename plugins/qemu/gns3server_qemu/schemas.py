"""The wire shapes of a virtual machine (contract 2.7), and what clients of ``/v2`` set besides."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from marshmallow import EXCLUDE, Schema, fields, post_load, pre_load, validate

from gns3server.plugin import (
    NodeCreateSchema,
    NodeObjectSchema,
    NodeUpdateSchema,
    StrictBoolean,
    Text,
    UuidText,
    name_field,
    port_field,
)

PLATFORMS = (
    "aarch64",
    "alpha",
    "arm",
    "cris",
    "i386",
    "lm32",
    "m68k",
    "microblaze",
    "microblazeel",
    "mips",
    "mips64",
    "mips64el",
    "mipsel",
    "moxie",
    "or32",
    "ppc",
    "ppc64",
    "ppcemb",
    "s390x",
    "sh4",
    "sh4eb",
    "sparc",
    "sparc64",
    "tricore",
    "unicore32",
    "x86_64",
    "xtensa",
    "xtensaeb",
)
"""What QEMU may emulate, in the words of the contract."""

NICENESS: Mapping[str, int] = {
    "realtime": -20,
    "very high": -15,
    "high": -5,
    "normal": 0,
    "low": 5,
    "very low": 19,
}
"""What each priority adds to the niceness of the server."""

DISKS = ("hda", "hdb", "hdc", "hdd")
FILES = (*(f"{disk}_disk_image" for disk in DISKS), "initrd", "kernel_image")
"""Fields that name files of the machine that guests begin with, and whose checksum is shown."""

MORE_FILES = ("cdrom_image", "bios_image")
"""The same, of which no checksum is shown."""

CONSOLE_TYPES = ("telnet", "vnc", "none")
INTERFACES = ("none", "ide", "sata", "scsi", "virtio", "nvme", "sd", "mtd", "floppy", "pflash")
BOOT_ORDERS = ("", "c", "d", "n", "cd", "cn", "dc", "dn", "nc", "nd")

MOST_MEGABYTES = 16 * 1024 * 1024
MOST_PROCESSORS = 255
MOST_ADAPTERS = 32
MAC = r"^([0-9a-fA-F]{2}:){5}[0-9a-fA-F]{2}$"
MODEL = r"^[A-Za-z0-9][A-Za-z0-9._+-]*$"

UNSET = ("qemu_path", "platform", "mac_address")
"""Fields that clients send as ``""``, or as the text ``null``, for no value of theirs."""


def number(least: int, most: int, **kwargs: Any) -> fields.Integer:
    """A whole number within bounds."""
    return fields.Integer(strict=True, validate=validate.Range(min=least, max=most), **kwargs)


def one_of(*words: str) -> fields.String:
    """One of some words."""
    return fields.String(validate=validate.OneOf(words))


def matching(pattern: str, what: str, **kwargs: Any) -> Text:
    """A text of some form."""
    return Text(
        validate=validate.Regexp(pattern, error=f"must be {what}"),
        metadata={"pattern": pattern},
        **kwargs,
    )


class AdapterSchema(Schema):
    """What is special about one network card. What is null or empty is as usual."""

    class Meta:
        """Clients keep other things with it."""

        unknown = EXCLUDE

    adapter_number = number(0, MOST_ADAPTERS - 1, required=True)
    adapter_type = matching(MODEL, "the name of a network card", allow_none=True)
    mac_address = matching(MAC, "six pairs of hex digits with colons", allow_none=True)
    port_name = Text(allow_none=True)

    @pre_load
    def leave_out_what_is_empty(self, values: Any, **_: Any) -> Any:
        """Forget what stands for the usual."""
        if not isinstance(values, Mapping):
            return values
        return {name: value for name, value in values.items() if value not in ("", None)}


class GuestFields(Schema):
    """What can be said of a virtual machine. Null leaves a value as it is, or the usual one.

    From ``cpus`` on the fields are those of clients that know more than the ``/v1`` API shows.
    """

    qemu_path = name_field(allow_none=True, metadata={"example": "qemu-system-x86_64"})
    platform = fields.String(validate=validate.OneOf(PLATFORMS), allow_none=True)
    console_type = one_of(*CONSOLE_TYPES)
    hda_disk_image = Text()
    hdb_disk_image = Text()
    hdc_disk_image = Text()
    hdd_disk_image = Text()
    hda_disk_image_md5sum = Text(allow_none=True, load_only=True)
    hdb_disk_image_md5sum = Text(allow_none=True, load_only=True)
    hdc_disk_image_md5sum = Text(allow_none=True, load_only=True)
    hdd_disk_image_md5sum = Text(allow_none=True, load_only=True)
    ram = number(1, MOST_MEGABYTES, allow_none=True, metadata={"example": 128})
    adapters = number(0, MOST_ADAPTERS, allow_none=True)
    adapter_type = matching(MODEL, "the name of a network card", allow_none=True)
    mac_address = matching(MAC, "six pairs of hex digits with colons", allow_none=True)
    initrd = Text()
    initrd_md5sum = Text(allow_none=True, load_only=True)
    kernel_image = Text()
    kernel_image_md5sum = Text(allow_none=True, load_only=True)
    kernel_command_line = Text(allow_none=True)
    legacy_networking = StrictBoolean(allow_none=True)
    acpi_shutdown = StrictBoolean(allow_none=True)
    cpu_throttling = number(0, 800, allow_none=True)
    process_priority = fields.String(validate=validate.OneOf([*NICENESS]), allow_none=True)
    options = Text(allow_none=True)
    cpus = number(1, MOST_PROCESSORS)
    boot_priority = one_of(*BOOT_ORDERS)
    hda_disk_interface = one_of(*INTERFACES)
    hdb_disk_interface = one_of(*INTERFACES)
    hdc_disk_interface = one_of(*INTERFACES)
    hdd_disk_interface = one_of(*INTERFACES)
    cdrom_image = Text()
    bios_image = Text()
    on_close = one_of("power_off", "shutdown_signal", "save_vm_state")
    replicate_network_connection_state = StrictBoolean()
    custom_adapters = fields.List(fields.Nested(AdapterSchema))
    uefi = StrictBoolean()
    tpm = StrictBoolean()
    linked_clone = StrictBoolean()
    create_config_disk = StrictBoolean()

    @pre_load
    def leave_out_what_is_unset(self, values: Any, **_: Any) -> Any:
        """Forget values that stand for none (D-21): they must not be stored, or shown."""
        if not isinstance(values, Mapping):
            return values
        found = dict(values)
        for name in UNSET:
            if found.get(name) in ("", "null"):
                del found[name]
        if found.get("process_priority") == "null":
            del found["process_priority"]
        return found

    @post_load
    def leave_out_null(self, values: dict[str, Any], **_: Any) -> dict[str, Any]:
        """Forget nulls, but for that of a MAC address, which asks for a new one; and checksums."""
        return {
            name: value
            for name, value in values.items()
            if not name.endswith("_md5sum") and (value is not None or name == "mac_address")
        }


class QemuCreateSchema(GuestFields, NodeCreateSchema):
    """A new virtual machine. It needs ``qemu_path`` or ``platform``."""


class QemuUpdateSchema(GuestFields, NodeUpdateSchema):
    """What of a virtual machine can be changed."""


class QemuObjectSchema(NodeObjectSchema):
    """A virtual machine: the thirty fields of the contract, which has no ``status`` among them."""

    class Meta:
        """The list of all nodes of a project shows whether it is started."""

        exclude = ("state",)

    id = UuidText(data_key="vm_id", required=True)
    qemu_path = fields.String(required=True)
    platform = fields.String(required=True, validate=validate.OneOf(PLATFORMS))
    console = port_field(required=True)
    console_type = fields.String(required=True, validate=validate.OneOf(CONSOLE_TYPES))
    hda_disk_image = fields.String(required=True)
    hdb_disk_image = fields.String(required=True)
    hdc_disk_image = fields.String(required=True)
    hdd_disk_image = fields.String(required=True)
    hda_disk_image_md5sum = fields.String(required=True, allow_none=True)
    hdb_disk_image_md5sum = fields.String(required=True, allow_none=True)
    hdc_disk_image_md5sum = fields.String(required=True, allow_none=True)
    hdd_disk_image_md5sum = fields.String(required=True, allow_none=True)
    ram = fields.Integer(required=True)
    adapters = fields.Integer(required=True)
    adapter_type = fields.String(required=True)
    mac_address = fields.String(required=True)
    initrd = fields.String(required=True)
    initrd_md5sum = fields.String(required=True, allow_none=True)
    kernel_image = fields.String(required=True)
    kernel_image_md5sum = fields.String(required=True, allow_none=True)
    kernel_command_line = fields.String(required=True)
    legacy_networking = fields.Boolean(required=True)
    acpi_shutdown = fields.Boolean(required=True)
    cpu_throttling = fields.Integer(required=True)
    process_priority = fields.String(required=True, validate=validate.OneOf([*NICENESS]))
    options = fields.String(required=True)


class ProgramSchema(Schema):
    """A program of this machine, and its version."""

    path = fields.String(required=True)
    version = fields.String(required=True)


class EmulatorSchema(Schema):
    """What runs for a virtual machine.

    ``accelerator`` is ``kvm`` or ``tcg``, and ``reason`` says why it is that. While nothing runs,
    everything but ``status`` is null.
    """

    status = fields.String(
        required=True, validate=validate.OneOf(["stopped", "started", "suspended"])
    )
    version = fields.String(required=True, allow_none=True)
    accelerator = fields.String(
        required=True, allow_none=True, validate=validate.OneOf(["kvm", "tcg"])
    )
    reason = fields.String(required=True, allow_none=True)
    command_line = fields.List(fields.String(), required=True, allow_none=True)


class NioNatSchema(Schema):
    """The emulator's own network address translation."""
