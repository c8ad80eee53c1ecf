"""Computes: to clients, this server is the one that it drives, and the one that nodes run on."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from typing import Any

from marshmallow import fields

from gns3server.plugin import Call, NotFound, Route
from gns3server_v2.names import COMPUTE, wire_type
from gns3server_v2.shapes import Answer
from gns3server_v2.state import ServerState, state_of


class CapabilitiesAnswer(Answer):
    """What a compute can run."""

    version = fields.String(required=True)
    node_types = fields.List(fields.String(), required=True)
    platform = fields.String(required=True)


class ComputeAnswer(Answer):
    """A server that nodes run on."""

    compute_id = fields.String(required=True)
    name = fields.String(required=True)
    protocol = fields.String(required=True)
    host = fields.String(required=True)
    port = fields.Integer(required=True)
    user = fields.String(required=True, allow_none=True)
    connected = fields.Boolean(required=True)
    cpu_usage_percent = fields.Float(required=True, allow_none=True)
    memory_usage_percent = fields.Float(required=True, allow_none=True)
    last_error = fields.String(required=True, allow_none=True)
    capabilities = fields.Nested(CapabilitiesAnswer, required=True)


class PortsAnswer(Answer):
    """The ports that a compute gives to nodes."""

    console_port_range = fields.List(fields.Integer(), required=True)
    console_ports = fields.List(fields.Integer(), required=True)
    udp_port_range = fields.List(fields.Integer(), required=True)
    udp_ports = fields.List(fields.Integer(), required=True)


class MachineStatistics(Answer):
    """How busy a machine is."""

    memory_total = fields.Integer(required=True)
    memory_free = fields.Integer(required=True)
    memory_used = fields.Integer(required=True)
    swap_total = fields.Integer(required=True)
    swap_free = fields.Integer(required=True)
    swap_used = fields.Integer(required=True)
    cpu_usage_percent = fields.Float(required=True)
    memory_usage_percent = fields.Float(required=True)
    swap_usage_percent = fields.Float(required=True)
    disk_usage_percent = fields.Float(required=True)
    load_average_percent = fields.List(fields.Float(), required=True)


class StatisticsAnswer(Answer):
    """How busy a compute is."""

    compute_id = fields.String(required=True)
    compute_name = fields.String(required=True)
    statistics = fields.Nested(MachineStatistics, required=True)


async def compute_object(state: ServerState) -> dict[str, Any]:
    """The server as a compute."""
    settings = state.server.settings.server
    kinds = state.server.registry.node_types.values()
    return {
        "compute_id": COMPUTE,
        "name": platform.node() or COMPUTE,
        "protocol": "https" if settings.ssl else "http",
        "host": settings.host,
        "port": settings.port,
        "user": settings.user or None,
        "connected": True,
        **await state.usage.now(),
        "last_error": None,
        "capabilities": {
            "version": state.config["version"],
            "node_types": sorted({wire_type(kind.name, kind) for kind in kinds}),
            "platform": "linux",
        },
    }


def check_compute(call: Call) -> None:
    """Refuse another compute than this server.

    :raises NotFound: the path names another one.
    """
    if call.path["compute_id"] != COMPUTE:
        raise NotFound(f"There is no compute {call.path['compute_id']:.80}, but {COMPUTE!r} alone.")


async def list_all(call: Call) -> list[Mapping[str, Any]]:
    """The one compute."""
    return [await compute_object(state_of(call.server))]


async def show(call: Call) -> Mapping[str, Any]:
    """The compute."""
    check_compute(call)
    return await compute_object(state_of(call.server))


async def ports(call: Call) -> Mapping[str, Any]:
    """The ports that consoles and wires get, and those that are in use."""
    check_compute(call)
    server = call.server
    settings = server.settings.server
    nodes = [node for project in server.projects.projects for node in project.nodes]
    tunnels = [nio.values.get("lport") for node in nodes for nio in node.wires.values()]
    return {
        "console_port_range": [settings.console_start_port_range, settings.console_end_port_range],
        "console_ports": sorted(node.console for node in nodes if node.console is not None),
        "udp_port_range": [settings.udp_start_port_range, settings.udp_end_port_range],
        "udp_ports": sorted(port for port in tunnels if isinstance(port, int)),
    }


async def statistics(call: Call) -> list[Mapping[str, Any]]:
    """How busy the machine is."""
    values = await state_of(call.server).usage.all()
    name = platform.node() or COMPUTE
    return [{"compute_id": COMPUTE, "compute_name": name, "statistics": values}]


ROUTES = (
    Route(
        method="GET",
        path="/v2/computes",
        handler=list_all,
        changes=False,
        tag="v2",
        summary="All computes: this server",
        answer=ComputeAnswer,
        many=True,
    ),
    Route(
        method="GET",
        path="/v2/computes/{compute_id}",
        handler=show,
        changes=False,
        tag="v2",
        summary="A compute",
        answer=ComputeAnswer,
    ),
    Route(
        method="GET",
        path="/v2/computes/{compute_id}/ports",
        handler=ports,
        changes=False,
        tag="v2",
        summary="The ports that consoles and wires get, and those in use",
        answer=PortsAnswer,
    ),
    Route(
        method="GET",
        path="/v2/statistics",
        handler=statistics,
        changes=False,
        tag="v2",
        summary="How busy the machine is",
        answer=StatisticsAnswer,
        many=True,
    ),
)
