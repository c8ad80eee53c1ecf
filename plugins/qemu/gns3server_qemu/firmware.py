"""The UEFI firmware of a machine, found by the descriptions that its packages bring for QEMU."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from gns3server.plugin import Conflict, Machine, ToolFailed

LIST = "cat /etc/qemu/firmware/*.json /usr/share/qemu/firmware/*.json 2>/dev/null"
"""Prints the descriptions, in the order in which they count."""

MACHINE = "pc-i440fx-*"
"""The kind of PC that guests are."""

UNFIT = frozenset({"requires-smm", "secure-boot"})
"""What that kind of PC has not."""

INSTALL_HINT = "Install it (on Debian and Ubuntu: sudo apt-get install ovmf), or set uefi to false."


async def find(title: str, platform: str, machine: Machine) -> tuple[str, str]:
    """The firmware for a platform: its file, and that of the variables that it begins with.

    :param title: the guest, for the message.
    :raises Conflict: there is none.
    """
    shell = await machine.find_program("sh")
    try:
        result = None if shell is None else await machine.run_tool([shell, "-c", LIST])
    except ToolFailed:
        result = None
    for described in descriptions("" if result is None else result.output):
        files = files_of(described, platform)
        if files is not None:
            return files
    raise Conflict(
        f"{title} cannot be started: it needs UEFI firmware for {platform}, and its machine has "
        f"none. {INSTALL_HINT}"
    )


def descriptions(text: str) -> Iterator[Mapping[str, Any]]:
    """The objects of several JSON files, one after the other."""
    decoder, text = json.JSONDecoder(), text.strip()
    while text:
        try:
            described, end = decoder.raw_decode(text)
        except ValueError:
            return
        yield described
        text = text[end:].strip()


def files_of(described: Mapping[str, Any], platform: str) -> tuple[str, str] | None:
    """The files of a firmware; ``None`` if it is not for a platform, or for other machines."""
    mapping = described.get("mapping", {})
    fits = any(
        target.get("architecture") == platform and MACHINE in target.get("machines", ())
        for target in described.get("targets", ())
    )
    if not fits or mapping.get("device") != "flash" or UNFIT & {*described.get("features", ())}:
        return None
    code, variables = mapping.get("executable", {}), mapping.get("nvram-template", {})
    if (code.get("format"), variables.get("format")) != ("raw", "raw"):
        return None
    return code["filename"], variables["filename"]
