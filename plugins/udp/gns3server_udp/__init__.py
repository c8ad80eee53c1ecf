"""UDP tunnels: the NIO that connects most emulators, and the route that allocates ports."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from marshmallow import Schema

from gns3server.plugin import (
    Call,
    Machine,
    NioType,
    Route,
    Scope,
    hookimpl,
    name_field,
    port_field,
)


class NioUdpSchema(Schema):
    """A UDP tunnel: Ethernet frames go from ``lport`` here to ``rport`` at ``rhost``."""

    lport = port_field(required=True)
    rhost = name_field(required=True)
    rport = port_field(required=True)


class UdpPortSchema(Schema):
    """A UDP port that was reserved."""

    udp_port = port_field(required=True)


async def check_host(values: Mapping[str, Any], machine: Machine) -> None:
    """Refuse a tunnel to a host that has no IPv4 address (contract D-13)."""
    await machine.resolve_ipv4(values["rhost"])


async def allocate(call: Call) -> Mapping[str, int]:
    """Reserve the lowest free UDP port for the project."""
    return {"udp_port": await call.project.allocate_udp_port()}


@hookimpl
def gns3_nio_types() -> list[NioType]:
    """Offer ``nio_udp`` to every node type."""
    return [
        NioType(
            name="nio_udp",
            schema=NioUdpSchema,
            local_udp_port="lport",
            remote_host="rhost",
            remote_udp_port="rport",
            check=check_host,
        )
    ]


@hookimpl
def gns3_routes() -> list[Route]:
    """The route from which clients get the ports of a tunnel."""
    return [
        Route(
            method="POST",
            path="/v1/projects/{project_id}/ports/udp",
            handler=allocate,
            summary="Reserve a UDP port for one end of a tunnel",
            answer=UdpPortSchema,
            status=201,
            scope=Scope.PROJECT,
            errors={409: "No port of the range is free", 507: "The records cannot be written"},
            tag="udp",
        )
    ]
