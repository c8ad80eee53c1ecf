"""The shapes of nodes in requests and answers."""

from __future__ import annotations

from marshmallow import fields, validate

from gns3server_v2.names import CONSOLE_TYPES, NODE_TYPES
from gns3server_v2.shapes import Answer, Flag, Id, LabelShape, Request, Whole, Words


class NodeUpdate(Request):
    """What is to change about a node; null changes nothing."""

    name = Words(least=1, allow_none=True)
    x = Whole(allow_none=True)
    y = Whole(allow_none=True)
    z = Whole(allow_none=True)
    locked = Flag(allow_none=True)
    symbol = Words(most=1024, allow_none=True)
    label = fields.Nested(LabelShape, allow_none=True)
    console = fields.Integer(
        strict=True, validate=validate.Range(min=1, max=65535), allow_none=True
    )
    console_type = fields.String(validate=validate.OneOf(CONSOLE_TYPES), allow_none=True)
    console_auto_start = Flag(allow_none=True)
    port_name_format = Words(most=1024, allow_none=True)
    port_segment_size = Whole(least=0, allow_none=True)
    first_port_name = Words(most=1024, allow_none=True)
    custom_adapters = fields.List(fields.Dict(), allow_none=True)
    properties = fields.Dict(keys=fields.String(), allow_none=True)


class NodeRequest(NodeUpdate):
    """A new node."""

    name = Words(required=True, least=1)
    node_type = fields.String(required=True, validate=validate.OneOf(NODE_TYPES))
    node_id = Id(allow_none=True)
    template_id = Words(allow_none=True)


class FromTemplateRequest(Request):
    """Where a node made from a template is drawn, and what it is called."""

    x = Whole(load_default=0)
    y = Whole(load_default=0)
    name = Words(least=1, allow_none=True)


class DuplicateRequest(Request):
    """Where the copy of a node is drawn."""

    x = Whole(load_default=0)
    y = Whole(load_default=0)
    z = Whole(load_default=1)


class PortAnswer(Answer):
    """A port of a node."""

    name = fields.String(required=True)
    short_name = fields.String(required=True)
    adapter_number = fields.Integer(required=True)
    port_number = fields.Integer(required=True)
    link_type = fields.String(required=True)
    data_link_types = fields.Raw(required=True)


class NodeAnswer(Answer):
    """A node."""

    node_id = fields.String(required=True)
    project_id = fields.String(required=True)
    compute_id = fields.String(required=True)
    template_id = fields.String(required=True, allow_none=True)
    node_type = fields.String(required=True)
    name = fields.String(required=True)
    status = fields.String(required=True)
    console = fields.Integer(required=True, allow_none=True)
    console_host = fields.String(required=True)
    console_type = fields.String(required=True, allow_none=True)
    console_auto_start = fields.Boolean(required=True)
    command_line = fields.String(required=True)
    node_directory = fields.String(required=True, allow_none=True)
    properties = fields.Raw(required=True)
    label = fields.Raw(required=True)
    x = fields.Integer(required=True)
    y = fields.Integer(required=True)
    z = fields.Integer(required=True)
    locked = fields.Boolean(required=True)
    width = fields.Integer(required=True)
    height = fields.Integer(required=True)
    symbol = fields.String(required=True)
    port_name_format = fields.String(required=True)
    port_segment_size = fields.Integer(required=True)
    first_port_name = fields.String(required=True, allow_none=True)
    custom_adapters = fields.Raw(required=True)
    ports = fields.Raw(required=True)
