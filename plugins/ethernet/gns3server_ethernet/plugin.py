"""The hooks: two node types, their settings, and the routes that only they have."""

from __future__ import annotations

from marshmallow import Schema, fields, validate

from gns3server.plugin import NodeType, Presentation, Route, hookimpl
from gns3server_ethernet.node import EthernetHub, EthernetSwitch, describe
from gns3server_ethernet.routes import routes
from gns3server_ethernet.schemas import (
    HubCreateSchema,
    HubObjectSchema,
    HubUpdateSchema,
    SwitchCreateSchema,
    SwitchObjectSchema,
    SwitchUpdateSchema,
)


def whole(default: int, least: int, most: int, meaning: str) -> fields.Integer:
    """A setting that is a whole number."""
    return fields.Integer(
        load_default=default,
        validate=validate.Range(min=least, max=most),
        metadata={"help": meaning},
    )


class EthernetConfigSchema(Schema):
    """The ``[ethernet]`` section of the configuration file. Nodes take a change at their next."""

    mac_ageing = whole(
        300, 1, 1_000_000, "seconds after which a switch forgets an address that is silent"
    )
    flood_limit = whole(
        5000, 1, 1_000_000, "frames a second that a switch sends to all ports of a VLAN"
    )
    hub_limit = whole(10_000, 1, 1_000_000, "frames a second that a hub passes on")


@hookimpl
def gns3_config_schema() -> type[Schema]:
    """How long addresses are remembered, and how much may be flooded."""
    return EthernetConfigSchema


@hookimpl
def gns3_node_types() -> list[NodeType]:
    """Offer a switch and a hub."""
    return [
        NodeType(
            name="ethernet_switch",
            title="Ethernet switch",
            presentation=Presentation(
                symbol="ethernet_switch",
                category="switch",
                name_format="Switch{0}",
                known_as="ethernet_switch",
            ),
            node_class=EthernetSwitch,
            create_schema=SwitchCreateSchema,
            update_schema=SwitchUpdateSchema,
            object_schema=SwitchObjectSchema,
            nio_types=("nio_udp",),
            lifecycle="always_on",
            capabilities=frozenset({"hot_wiring"}),
            examine=describe,
        ),
        NodeType(
            name="ethernet_hub",
            title="Ethernet hub",
            presentation=Presentation(
                symbol="hub", category="switch", name_format="Hub{0}", known_as="ethernet_hub"
            ),
            node_class=EthernetHub,
            create_schema=HubCreateSchema,
            update_schema=HubUpdateSchema,
            object_schema=HubObjectSchema,
            nio_types=("nio_udp",),
            lifecycle="always_on",
            capabilities=frozenset({"hot_wiring"}),
            examine=describe,
        ),
    ]


@hookimpl
def gns3_routes() -> list[Route]:
    """Show what they know and have counted."""
    return routes()
