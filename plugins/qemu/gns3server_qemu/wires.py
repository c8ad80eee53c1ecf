"""What a guest's network cards are plugged into, as QEMU is told of it.

Each card is on a hub of its own, inside QEMU, and a wire is the second thing on that hub. A card
whose own backend is removed stays without one until its guest ends: QEMU takes ``netdev_add`` and
``set_link up``, the guest sees a carrier, and no frame comes through (tried with 7.2). From a hub a
wire can be taken and another put there, while the guest runs or is paused.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from gns3server.plugin import Machine, Nio

UDP, TAP, NAT = "nio_udp", "nio_tap", "nio_nat"

DGRAM_SINCE = (7, 2)
"""The first version with ``dgram``; the ``socket`` of before is the same on the wire."""

ANY, LOOPBACK = "0.0.0.0", "127.0.0.1"  # noqa: S104 - where a wire's other end is elsewhere

Backend = Mapping[str, Any]
"""A ``-netdev``, in the words of QMP's ``netdev_add``."""


def card(adapter: int) -> str:
    """The id of a network card."""
    return f"nic-{adapter}"


def wire(adapter: int) -> str:
    """The id of a card's wire."""
    return f"gns3-{adapter}"


def plug(adapter: int) -> str:
    """The id of the port of a card's hub that the wire is plugged into."""
    return f"plug-{adapter}"


def socket_of(adapter: int) -> Backend:
    """The port of its hub that a card is on."""
    return {"type": "hubport", "id": f"hub-{adapter}", "hubid": adapter}


def plug_of(adapter: int) -> Backend:
    """The port of a card's hub that its wire is on."""
    return {"type": "hubport", "id": plug(adapter), "hubid": adapter, "netdev": wire(adapter)}


async def backend(adapter: int, nio: Nio, version: tuple[int, ...], machine: Machine) -> Backend:
    """The wire that a NIO describes.

    :param version: QEMU's, its first numbers.
    :raises Conflict: the host at its other end has no address.
    """
    own = {"id": wire(adapter)}
    if nio.type == NAT:
        return {"type": "user", **own}
    if nio.type == TAP:
        device = nio.values["tap_device"]
        return {"type": "tap", **own, "ifname": device, "script": "no", "downscript": "no"}
    host = await machine.resolve_ipv4(nio.values["rhost"])
    local = LOOPBACK if host.startswith("127.") else ANY
    lport, rport = str(nio.values["lport"]), str(nio.values["rport"])
    if version < DGRAM_SINCE:
        return {"type": "socket", **own, "udp": f"{host}:{rport}", "localaddr": f"{local}:{lport}"}
    return {
        "type": "dgram",
        **own,
        "local": {"type": "inet", "host": local, "port": lport},
        "remote": {"type": "inet", "host": host, "port": rport},
    }


def option(values: Backend) -> str:
    """A backend as the value of ``-netdev``."""
    kind, *rest = (text for _, text in _flat(values))
    return ",".join([kind.partition("=")[2], *rest])


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield name, f"{prefix}{name}={escaped(str(value))}"


def escaped(text: str) -> str:
    """A text as a value of an option: a comma in it is doubled."""
    return text.replace(",", ",,")
