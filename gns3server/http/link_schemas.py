"""The wire shapes of links."""

from __future__ import annotations

from typing import Any

from marshmallow import Schema, ValidationError, fields, post_load, validate

from gns3server.files.safe_open import is_plain_name
from gns3server.http.schemas import StrictBoolean, UuidText
from gns3server.links.captures import LEAST_BYTES, SNAPSHOT_LENGTH
from gns3server.links.link import LinkEnd
from gns3server.storage.link_rows import PATHS, WANTED_PATHS

NAME_CHARACTERS = 100
"""How long the name of a capture's file may be."""

MOST_BYTES = 2**40
"""The greatest bound of a capture's file."""

MOST_NUMBER = 2**31 - 1
"""The greatest number of an adapter or a port that is looked at, and the greatest seed."""


def number_field(**kwargs: Any) -> fields.Integer:
    """A whole number from 0 on."""
    return fields.Integer(
        strict=True, validate=validate.Range(min=0, max=MOST_NUMBER), required=True, **kwargs
    )


def seed_field() -> fields.Integer:
    """Where the random numbers of a link's filters begin."""
    return fields.Integer(strict=True, validate=validate.Range(min=0, max=MOST_NUMBER))


class FiltersField(fields.Dict):
    """Parameters by type of filter; null takes a filter away. What is in it is checked later."""

    def __init__(self) -> None:
        super().__init__(
            keys=fields.String(),
            values=fields.Dict(keys=fields.String(), allow_none=True),
            metadata={"example": {"delay": {"latency": 10}}},
        )


def check_file_name(value: str) -> None:
    """Refuse what cannot be the name of a capture's file.

    :raises ValidationError: says why.
    """
    plain = is_plain_name(value) and value.isprintable()
    if not plain or value.startswith(".") or len(value) > NAME_CHARACTERS:
        raise ValidationError(
            f"must be the name of a file, of at most {NAME_CHARACTERS} printable characters, "
            "without a directory and without a dot in front"
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
    path = fields.String(validate=validate.OneOf(WANTED_PATHS))
    suspended = StrictBoolean()
    filters = FiltersField()
    seed = seed_field()


class LinkChangeSchema(Schema):
    """What of a link is to be changed. A PUT changes what it names and nothing else."""

    path = fields.String(validate=validate.OneOf(WANTED_PATHS), metadata={"example": "auto"})
    suspended = StrictBoolean()
    filters = FiltersField()
    seed = seed_field()


class CaptureStartSchema(Schema):
    """A capture that is to begin."""

    file = fields.String(validate=check_file_name, metadata={"example": "uplink.pcap"})
    snapshot_length = fields.Integer(
        strict=True, validate=validate.Range(min=1, max=SNAPSHOT_LENGTH)
    )
    max_bytes = fields.Integer(
        strict=True, validate=validate.Range(min=LEAST_BYTES, max=MOST_BYTES)
    )
    overwrite = StrictBoolean()


class FilterParameterSchema(Schema):
    """A parameter of a filter. One without a default must be given."""

    name = fields.String(required=True)
    title = fields.String(required=True)
    unit = fields.String(required=True)
    minimum = fields.Integer(required=True)
    maximum = fields.Integer(required=True)
    default = fields.Integer(required=True, allow_none=True)
    whole = fields.Boolean(required=True)


class FilterSchema(Schema):
    """Something that a link can do to its frames."""

    type = fields.String(required=True)
    title = fields.String(required=True)
    description = fields.String(required=True)
    parameters = fields.List(fields.Nested(FilterParameterSchema), required=True)


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
