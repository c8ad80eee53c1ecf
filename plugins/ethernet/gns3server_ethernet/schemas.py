"""The wire shapes of switches and hubs."""

from __future__ import annotations

from typing import Any

from marshmallow import Schema, fields, post_load, validate

from gns3server.plugin import NodeCreateSchema, NodeObjectSchema, NodeUpdateSchema, Text
from gns3server_ethernet.switch.wanted import ACCESS, DOT1Q, QINQ, TAG_TYPES

MOST_PORTS = 128
USUAL_PORTS = 8


def number_field(most: int, **kwargs: Any) -> fields.Integer:
    """A whole number from 0 to ``most``."""
    return fields.Integer(strict=True, validate=validate.Range(min=0, max=most), **kwargs)


def mapping_field(schema: type[Schema], **kwargs: Any) -> fields.List[Any]:
    """The ports of a node, each of which a schema describes."""
    return fields.List(
        fields.Nested(schema),
        validate=validate.Length(min=1, max=MOST_PORTS),
        **kwargs,
    )


def usual_ports(schema: type[Schema]) -> list[Any]:
    """The ports of a node whose creation names none."""
    return [schema().load({"port_number": number}) for number in range(USUAL_PORTS)]


class HubPortSchema(Schema):
    """A port: its number, and the name by which people know it, ``Ethernet3`` by default."""

    port_number = number_field(MOST_PORTS - 1, required=True, metadata={"example": 0})
    name = Text(validate=validate.Length(min=1, max=64), metadata={"example": "Ethernet0"})

    @post_load
    def give_name(self, values: dict[str, Any], **_: Any) -> dict[str, Any]:
        """Name a port that has no name."""
        return {"name": f"Ethernet{values['port_number']}", **values}


class SwitchPortSchema(HubPortSchema):
    """A port of a switch.

    ``access``: frames have no tag, and belong to ``vlan``. ``dot1q``: frames have the tags of their
    VLANs; those of ``vlan`` have none. ``qinq``: frames are carried as they are, whatever tags they
    have, and belong to ``vlan``; at dot1q ports they have a tag of ``ethertype`` and ``vlan``
    around them. ``ethertype`` means nothing for others.
    """

    type = fields.String(validate=validate.OneOf([ACCESS, DOT1Q, QINQ]), load_default=ACCESS)
    vlan = fields.Integer(strict=True, validate=validate.Range(min=1, max=4094), load_default=1)
    ethertype = fields.String(validate=validate.OneOf(["", *TAG_TYPES]), load_default="")


class HubPortObjectSchema(Schema):
    """A port of a hub."""

    port_number = fields.Integer(required=True)
    name = fields.String(required=True)


class SwitchPortObjectSchema(HubPortObjectSchema):
    """A port of a switch."""

    type = fields.String(required=True, validate=validate.OneOf([ACCESS, DOT1Q, QINQ]))
    vlan = fields.Integer(required=True)
    ethertype = fields.String(required=True)


class SwitchCreateSchema(NodeCreateSchema):
    """A new switch; without a mapping it has 8 access ports in VLAN 1."""

    ports_mapping = mapping_field(
        SwitchPortSchema, load_default=lambda: usual_ports(SwitchPortSchema)
    )


class SwitchUpdateSchema(NodeUpdateSchema):
    """What of a switch can be changed. A mapping takes the place of the one before."""

    ports_mapping = mapping_field(SwitchPortSchema)


class SwitchObjectSchema(NodeObjectSchema):
    """A switch."""

    ports_mapping = fields.List(fields.Nested(SwitchPortObjectSchema), required=True)


class HubCreateSchema(NodeCreateSchema):
    """A new hub; without a mapping it has 8 ports."""

    ports_mapping = mapping_field(HubPortSchema, load_default=lambda: usual_ports(HubPortSchema))


class HubUpdateSchema(NodeUpdateSchema):
    """What of a hub can be changed. A mapping takes the place of the one before."""

    ports_mapping = mapping_field(HubPortSchema)


class HubObjectSchema(NodeObjectSchema):
    """A hub."""

    ports_mapping = fields.List(fields.Nested(HubPortObjectSchema), required=True)


class MacAddressSchema(Schema):
    """An address that a switch knows; ``age`` is the seconds since it was heard of."""

    mac_address = fields.String(required=True)
    vlan = fields.Integer(required=True)
    port_number = fields.Integer(required=True)
    age = fields.Integer(required=True)


class PortCountersSchema(Schema):
    """What a port has counted since the node has started.

    Dropped were: ``malformed``, frames that are too short; ``wrong_vlan``, those with a tag that
    the port does not take; ``limited``, those beyond the limit of flooding; ``unsent``, those that
    the other end of the wire did not take.
    """

    port_number = fields.Integer(required=True)
    name = fields.String(required=True)
    wired = fields.Boolean(required=True)
    received_frames = fields.Integer(required=True)
    received_bytes = fields.Integer(required=True)
    sent_frames = fields.Integer(required=True)
    sent_bytes = fields.Integer(required=True)
    malformed = fields.Integer(required=True)
    wrong_vlan = fields.Integer(required=True)
    limited = fields.Integer(required=True)
    unsent = fields.Integer(required=True)
