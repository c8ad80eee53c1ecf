"""Virtual PCs: the VPCS emulator as a node type.

This is also the model plugin: everything specific to the emulator is
in this package, and none of it is in the server.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from marshmallow import Schema

from gns3server.plugin import NioType, NodeType, PathText, Presentation, TextFile, hookimpl
from gns3server_vpcs.binary import BinaryProbe
from gns3server_vpcs.node import SCRIPT, VpcsContext, VpcsNode
from gns3server_vpcs.schemas import (
    NioTapSchema,
    VpcsCreateSchema,
    VpcsObjectSchema,
    VpcsUpdateSchema,
)
from gns3server_vpcs.wires import RELAY_DISTANCE, TAP, UDP, check_tap


class VpcsConfigSchema(Schema):
    """The ``[VPCS]`` section of the configuration file."""

    vpcs_path = PathText(
        load_default="vpcs",
        metadata={"help": "the program, or its name in PATH", "flag": "--vpcs-path"},
    )


@hookimpl
def gns3_config_schema() -> type[Schema]:
    """The setting that says where the program is, if it is not in PATH."""
    return VpcsConfigSchema


@hookimpl
def gns3_node_types(config: Mapping[str, Any]) -> list[NodeType]:
    """Offer one type: a PC with one Ethernet port."""
    context = VpcsContext(config, BinaryProbe())
    return [
        NodeType(
            name="vpcs",
            title="virtual PC",
            node_class=VpcsNode,
            create_schema=VpcsCreateSchema,
            update_schema=VpcsUpdateSchema,
            object_schema=VpcsObjectSchema,
            nio_types=(UDP, TAP),
            # A PC has one adapter, and clients may call it by any number (contract 2.6).
            adapters=None,
            # The number is the last byte of the MAC address; 255 PCs fit on one
            # network (contract 5.6, VPCS-23).
            numbers=range(255),
            # Versions with a relay hub bind it at this distance (contract 5.5).
            udp_companions=(RELAY_DISTANCE,),
            text_files=(TextFile(name=SCRIPT, text="startup_script", path="startup_script_path"),),
            legacy_directory="vpcs/pc-{id}",
            examine=context.describe,
            presentation=Presentation(symbol="vpcs_guest", name_format="PC{0}", known_as="vpcs"),
            context=context,
        )
    ]


@hookimpl
def gns3_nio_types() -> list[NioType]:
    """Offer TAP interfaces of this machine, the wire from a PC to the machine itself."""
    return [NioType(name=TAP, schema=NioTapSchema, check=check_tap)]
