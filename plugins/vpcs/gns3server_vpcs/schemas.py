"""The wire shapes of a virtual PC (contract 2.6)."""

from __future__ import annotations

from typing import Any

from marshmallow import Schema, fields, post_load

from gns3server.plugin import NodeCreateSchema, NodeObjectSchema, NodeUpdateSchema, name_field


class VpcsCreateSchema(NodeCreateSchema):
    """A new virtual PC. Without a script, or with a null one, a file on disk is left alone."""

    startup_script = fields.String(
        allow_none=True, metadata={"example": "set pcname %h\nip 192.168.1.1\n"}
    )

    @post_load
    def null_is_no_script(self, values: dict[str, Any], **_: Any) -> dict[str, Any]:
        """Forget a null script: clients send it for a PC whose script they do not know."""
        if values.get("startup_script", "") is None:
            del values["startup_script"]
        return values


class VpcsUpdateSchema(NodeUpdateSchema):
    """What of a virtual PC can be changed. A null script empties the file."""

    startup_script = fields.String(allow_none=True)


class VpcsObjectSchema(NodeObjectSchema):
    """A virtual PC. The script's path is relative to ``vm_directory``."""

    startup_script = fields.String(required=True, allow_none=True)
    startup_script_path = fields.String(required=True, allow_none=True)


class NioTapSchema(Schema):
    """A TAP interface of the server's machine."""

    tap_device = name_field(required=True)
