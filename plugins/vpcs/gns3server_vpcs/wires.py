"""What a PC can be plugged into, and what that means for its command line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gns3server.plugin import Conflict, Machine, Nio, Port

UDP = "nio_udp"
TAP = "nio_tap"

RELAY_DISTANCE = 9
"""Without ``-R`` a relay hub is bound at the local UDP port plus this (contract 5.5)."""


@dataclass(frozen=True, slots=True)
class Wire:
    """One end of a wire, as VPCS is told of it.

    :param options: for the command line.
    :param ports: the ports that VPCS then binds besides its console.
    :param relay: the ports that a VPCS with a relay hub may bind in addition.
    """

    options: tuple[str, ...]
    ports: tuple[Port, ...] = ()
    relay: tuple[Port, ...] = ()


async def wire(nio: Nio, machine: Machine) -> Wire:
    """The wire that a NIO describes, on the machine that the PC runs on.

    :raises Conflict: it cannot work now: the interface is down, or the host has no address.
    """
    if nio.type == TAP:
        # Checked again: it may have gone down, or away, since it was plugged in. VPCS
        # would then create one itself.
        await check_tap(nio.values, machine)
        return Wire(("-e", "-d", nio.values["tap_device"]))
    lport = nio.values["lport"]
    # VPCS takes addresses only (contract 5.6).
    address = await machine.resolve_ipv4(nio.values["rhost"])
    options = ("-s", str(lport), "-c", str(nio.values["rport"]), "-t", address)
    relay = lport + RELAY_DISTANCE
    return Wire(options, (Port("udp", lport),), () if relay > 65535 else (Port("udp", relay),))


async def check_tap(values: Mapping[str, Any], machine: Machine) -> None:
    """Refuse a TAP interface that could not be used (NIO-09).

    :raises Conflict: the machine has no such interface, or it is down.
    """
    device = values["tap_device"]
    if not await machine.is_interface_up(device):
        raise Conflict(
            f"The TAP interface {device!r} is down, or there is none of that name on the PC's "
            "machine: make one (ip tuntap add NAME mode tap) and switch it on (ip link set "
            "NAME up)."
        )
