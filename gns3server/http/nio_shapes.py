"""The NIO shapes of the contract (2.8), known whether a plugin offers them or not.

A client that sends one of them to a node that does not take it has not made a
mistake in the request: the node refuses it (409), not the parser (400).
"""

from __future__ import annotations

from collections.abc import Mapping

from marshmallow import Schema

from gns3server.http.routing import OneOf
from gns3server.http.schemas import name_field, port_field
from gns3server.server import Server


class NioUdpSchema(Schema):
    """A UDP tunnel: Ethernet frames go from ``lport`` here to ``rport`` at ``rhost``."""

    # Not of the usual range: no other lab can have reserved it.
    lport = port_field(required=True, metadata={"example": 30000})
    rhost = name_field(required=True, metadata={"example": "127.0.0.1"})
    rport = port_field(required=True, metadata={"example": 30001})


class NioTapSchema(Schema):
    """A TAP interface of the server's machine."""

    tap_device = name_field(required=True, metadata={"example": "tap0"})


class NioEthernetSchema(Schema):
    """An Ethernet interface of the server's machine, through a packet capture library."""

    ethernet_device = name_field(required=True)


class NioLinuxEthernetSchema(Schema):
    """An Ethernet interface of the server's machine, through a raw socket."""

    ethernet_device = name_field(required=True)


class NioNatSchema(Schema):
    """The emulator's own network address translation."""


class NioUnixSchema(Schema):
    """A pair of UNIX sockets."""

    local_file = name_field(required=True)
    remote_file = name_field(required=True)


class NioVdeSchema(Schema):
    """A switch of Virtual Distributed Ethernet."""

    control_file = name_field(required=True)
    local_file = name_field(required=True)


class NioNullSchema(Schema):
    """A wire to nowhere."""


SHAPES: Mapping[str, type[Schema]] = {
    "nio_udp": NioUdpSchema,
    "nio_tap": NioTapSchema,
    "nio_generic_ethernet": NioEthernetSchema,
    "nio_linux_ethernet": NioLinuxEthernetSchema,
    "nio_nat": NioNatSchema,
    "nio_unix": NioUnixSchema,
    "nio_vde": NioVdeSchema,
    "nio_null": NioNullSchema,
}


def nio_schemas(server: Server) -> Mapping[str, type[Schema]]:
    """The wire shapes of all NIO types, by name; where a plugin offers one, the plugin's counts."""
    return {**SHAPES, **{name: nio.schema for name, nio in server.registry.nio_types.items()}}


NIO = OneOf("type", nio_schemas)
