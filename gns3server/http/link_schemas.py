"""The wire shapes of links."""

from __future__ import annotations

from typing import Any

from marshmallow import Schema, fields, post_load, validate

from gns3server.http.schemas import UuidText
from gns3server.links.link import LinkEnd
from gns3server.storage.link_rows import PATHS, WANTED_PATHS

MOST_NUMBER = 2**31 - 1
"""The greatest number of an adapter or a port that is looked at, and the greatest seed."""


def number_field(**kwargs: Any) -> fields.Integer:
    """A whole number from 0 on."""
    return fields.Integer(
        strict=True, validate=validate.Range(min=0, max=MOST_NUMBER), required=True, **kwargs
    )


class LinkEndSchema(Schema):
    """Where a link is plugged in."""

    node_id = UuidText(data_key="vm_id", required=True)
    adapter = number_field(data_key="adapter_number", metadata={"example": 0})
    port = number_field(data_key="port_number", metadata={"example": 0})

    @post_load
    def _end(self, values: dict[str, Any], **_: Any) -> LinkEnd:
        return LinkEnd(**values)


class LinkCreateSchema(Schema):
    """A new link between two ports."""

    id = UuidText(data_key="link_id")
    ends = fields.List(
        fields.Nested(LinkEndSchema), required=True, validate=validate.Length(equal=2)
    )
    seed = fields.Integer(strict=True, validate=validate.Range(min=0, max=MOST_NUMBER))


class CaptureSchema(Schema):
    """A capture that is under way."""

    file = fields.String(required=True)
    snapshot_length = fields.Integer(required=True)
    max_bytes = fields.Integer(required=True)


class LinkObjectSchema(Schema):
    """A link: one that was made as such, or two NIOs that match."""

    id = UuidText(data_key="link_id", required=True)
    project_id = UuidText(required=True)
    ends = fields.List(fields.Nested(LinkEndSchema), required=True)
    made_as = fields.String(required=True, validate=validate.OneOf(["link", "nios"]))
    wanted_path = fields.String(required=True, validate=validate.OneOf(WANTED_PATHS))
    path = fields.String(required=True, validate=validate.OneOf(PATHS))
    suspended = fields.Boolean(required=True)
    filters = fields.Dict(required=True)
    seed = fields.Integer(required=True)
    capture = fields.Nested(CaptureSchema, required=True, allow_none=True)
    at_next_start = fields.List(UuidText(), required=True)
