"""The wire shapes of the core, and the bases that plugins extend.

Here, and only here, the words of the v1 wire (``vm_id``, ``status``) meet the
words of the code (``id``, ``state``).
"""

from __future__ import annotations

import re
import types
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from marshmallow import INCLUDE, Schema, ValidationError, fields, post_dump, validate

from gns3server.nodes.node_type import NodeType
from gns3server.nodes.states import WIRE_STATUS, NodeState
from gns3server.projects.layout import FARTHEST, SYMBOL_LENGTH
from gns3server.storage.rows import NodeLayout

UUID_PATTERN = "^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$"
"""An id in the words of JSON Schema, and of :mod:`re`."""

UUID_TEXT = re.compile(UUID_PATTERN, re.ASCII)

NAME_LENGTH = 16 * 1024
"""Characters of a name, an address or a path. They are in lists, events, messages and the log."""

NO_NUL = r"^[^\u0000]*$"
"""A text without a NUL character, in the words of JSON Schema."""


PROJECT_EXAMPLE = "7d6c0b3e-5a1f-4c52-9e0b-2f8a4d1c6e90"
"""The id of the project that the examples of the API document are about."""

COORDINATE = {"type": "number", "minimum": -FARTHEST, "maximum": FARTHEST}
PLACE = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        **dict.fromkeys("xyz", COORDINATE),
        "symbol": {"type": "string", "maxLength": SYMBOL_LENGTH},
        "label": {"type": "object", "additionalProperties": {}},
    },
}
"""Where a node is drawn, in the words of JSON Schema."""


def described(arguments: dict[str, Any], **metadata: Any) -> dict[str, Any]:
    """Arguments of a field, with what the API document says of it unless they say it themselves."""
    return {**arguments, "metadata": {**metadata, **arguments.get("metadata", {})}}


class UuidText(fields.String):
    """An id: 36 characters in the form of a UUID, kept as given (contract 1.5)."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**described(kwargs, format="uuid", pattern=UUID_PATTERN))

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        text: str = super()._deserialize(value, attr, data, **kwargs)
        if UUID_TEXT.fullmatch(text) is None:
            raise ValidationError("must be a UUID of 36 characters")
        return text


class NodeId(UuidText):
    """An id as :class:`UuidText`, or the integer that a project from before 1.3 has (4.4)."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63:
            return value
        return super()._deserialize(value, attr, data, **kwargs)


class StrictBoolean(fields.Boolean):
    """``true`` or ``false`` and nothing that merely looks like it."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> bool:
        if not isinstance(value, bool):
            raise ValidationError("must be true or false")
        return value


class NodeStatus(fields.String):
    """A node's state in the words of the wire."""

    def __init__(self, **kwargs: Any) -> None:
        words = sorted(set(WIRE_STATUS.values()))
        super().__init__(validate=validate.OneOf(words), **kwargs)

    def _serialize(self, value: Any, attr: str | None, obj: Any, **kwargs: Any) -> str | None:
        return WIRE_STATUS[value] if isinstance(value, NodeState) else None


class Text(fields.String):
    """A text that a program may be given: no NUL character, which ends a text in C."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**described(kwargs, pattern=NO_NUL))

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        text: str = super()._deserialize(value, attr, data, **kwargs)
        if "\0" in text:
            raise ValidationError("must not hold a NUL character")
        return text


class ShortText(Text):
    """A text of up to :data:`NAME_LENGTH` characters."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        text = super()._deserialize(value, attr, data, **kwargs)
        if len(text) > NAME_LENGTH:
            raise ValidationError(f"must not have more than {NAME_LENGTH} characters")
        return text


def name_field(**kwargs: Any) -> Text:
    """A text that is not empty, and not longer than names need to be."""
    return ShortText(validate=validate.Length(min=1), **kwargs)


def port_field(**kwargs: Any) -> fields.Integer:
    """A port number."""
    return fields.Integer(strict=True, validate=validate.Range(min=1, max=65535), **kwargs)


class ErrorSchema(Schema):
    """Every error."""

    message = fields.String(required=True)
    status = fields.Integer(required=True)


class InvalidRequestSchema(ErrorSchema):
    """A request that does not fit, with the route and what was sent."""

    path = fields.String(required=True)
    request = fields.Raw(required=True, allow_none=True)


class VersionSchema(Schema):
    """The server's version and mode."""

    version = fields.String(required=True)
    local = fields.Boolean(required=True)


class VersionCheckSchema(Schema):
    """A client's version."""

    version = fields.String(required=True)
    local = StrictBoolean()


class VersionMatchSchema(Schema):
    """The version that client and server share."""

    version = fields.String(required=True)


class TicketSchema(Schema):
    """What opens one websocket, within so many seconds."""

    ticket = fields.String(required=True)
    expires_in = fields.Integer(required=True)


class ProjectCreateSchema(Schema):
    """A new project, or one to open again."""

    id = UuidText(data_key="project_id", allow_none=True, metadata={"example": PROJECT_EXAMPLE})
    name = name_field(allow_none=True, metadata={"example": "Two offices"})
    path = name_field(allow_none=True)
    temporary = StrictBoolean()


class ProjectUpdateSchema(Schema):
    """What of a project can be changed; null leaves a value as it is."""

    name = name_field(allow_none=True, metadata={"example": "Three offices"})
    path = name_field(allow_none=True)
    temporary = StrictBoolean()


class ProjectObjectSchema(Schema):
    """A project."""

    id = UuidText(data_key="project_id", required=True)
    name = fields.String(required=True, allow_none=True)
    location = fields.String(required=True)
    path = fields.String(required=True)
    temporary = fields.Boolean(required=True)


class ListedProjectSchema(ProjectObjectSchema):
    """A project, and if the list was asked for a status, whether it is open.

    The name of one that is not open is null.
    """

    status = fields.String(validate=validate.OneOf(["open", "closed", "damaged"]))


class DuplicateSchema(Schema):
    """A copy of a project: null or nothing means the same name, and a new directory."""

    name = name_field(allow_none=True, metadata={"example": "Two offices, again"})
    path = name_field(allow_none=True)


class DuplicatedSchema(Schema):
    """A project that was made as a copy, and the new id of each node and link by its old one."""

    project_id = UuidText(required=True)
    ids = fields.Dict(keys=UuidText(), values=UuidText(), required=True)


class SnapshotCreateSchema(Schema):
    """A new snapshot."""

    name = Text(
        required=True,
        validate=validate.Length(min=1, max=200),
        metadata={"example": "Before the change"},
    )


class SnapshotSchema(Schema):
    """A snapshot of a project; ``created_at`` counts seconds since 1970, ``size`` bytes of files.

    ``running`` has the nodes that ran when it was made: their files are as they were then.
    """

    id = UuidText(data_key="snapshot_id", required=True)
    project_id = UuidText(required=True)
    name = fields.String(required=True)
    created = fields.Float(data_key="created_at", required=True)
    size = fields.Integer(required=True)
    running = fields.List(UuidText(), required=True)


class WireSchema(Schema):
    """What is plugged into a node, and where."""

    adapter = fields.Integer(data_key="adapter_number", required=True)
    port = fields.Integer(data_key="port_number", required=True)
    nio = fields.Dict(required=True)


class NodeLinkSchema(Schema):
    """A link of a node, and where it is plugged in."""

    adapter = fields.Integer(data_key="adapter_number", required=True)
    port = fields.Integer(data_key="port_number", required=True)
    link_id = UuidText(required=True)


class NodeSummarySchema(Schema):
    """A node of any type, in a list of all nodes of a project.

    ``runs_with`` says what is special about the way in which it runs, such as the accelerator of a
    virtual machine. What it names is null while the node is stopped.
    """

    id = UuidText(data_key="node_id", required=True)
    project_id = UuidText(required=True)
    type = fields.String(required=True)
    name = fields.String(required=True)
    state = NodeStatus(data_key="status", required=True)
    console = port_field(required=True, allow_none=True)
    runs_with = fields.Dict(keys=fields.String(), required=True)
    wires = fields.List(fields.Nested(WireSchema), required=True)
    links = fields.List(fields.Nested(NodeLinkSchema), required=True)


class NodeFailureSchema(Schema):
    """Why something could not be done with a node."""

    id = UuidText(data_key="node_id", required=True)
    message = fields.String(required=True)


class NodesOutcomeSchema(Schema):
    """All nodes of a project after something was done with them, and where that has failed."""

    nodes = fields.List(fields.Nested(NodeSummarySchema), required=True)
    failed = fields.List(fields.Nested(NodeFailureSchema), required=True)


class TranscriptSchema(Schema):
    """The file that all that a console shows is added to, on the server's machine."""

    path = fields.String(required=True, allow_none=True)


class LayoutSchema(Schema):
    """Where nodes are drawn and how, by their ids. A PUT changes what it names and nothing else."""

    class Meta:
        """Its keys are ids, which no field can be called after."""

        unknown = INCLUDE
        json_schema: ClassVar[Mapping[str, Any]] = {"additionalProperties": PLACE}

    @post_dump(pass_original=True)
    def _all(
        self, _: object, places: Mapping[str, NodeLayout], **__: Any
    ) -> dict[str, dict[str, Any]]:
        return {node_id: asdict(place) for node_id, place in places.items()}


class EventSchema(Schema):
    """One line of a stream: what happened, and to what. A ping has no ``event``."""

    action = fields.String(required=True)
    event = fields.Dict()
    seq = fields.Integer()


class DamagedProjectSchema(Schema):
    """A project that could not be opened, why, and what to do about it."""

    id = UuidText(data_key="project_id", required=True)
    path = fields.String(required=True)
    reason = fields.String(required=True)
    remedy = fields.String(required=True)


class InterfaceSchema(Schema):
    """A network interface of the server's machine, with its first IPv4 address if it has one."""

    id = fields.String(required=True)
    name = fields.String(required=True)
    ip_address = fields.String(required=True)


class UploadFormSchema(Schema):
    """An image file and its kind. Described only: what comes is read piece by piece."""

    type = fields.String(required=True)
    file = fields.Raw(required=True, metadata={"type": "string", "format": "binary"})


class ImageSchema(Schema):
    """An image file."""

    filename = fields.String(required=True)


class ProjectFileSchema(Schema):
    """A file of a project; the path is relative to the project's directory."""

    path = fields.String(required=True)
    md5sum = fields.String(required=True)


class FileStreamSchema(Schema):
    """Which file to follow, by its path on the server's machine."""

    location = name_field(required=True)


class OpenApiSchema(Schema):
    """An OpenAPI document."""

    openapi = fields.String(required=True)
    info = fields.Dict(required=True)
    tags = fields.List(fields.Dict(), required=True)
    security = fields.List(fields.Dict(), required=True)
    paths = fields.Dict(required=True)
    components = fields.Dict(required=True)


class TypeAbilitySchema(Schema):
    """Whether the nodes of a type can run on the server's machine.

    ``runs`` is null if only a start can tell.
    """

    name = fields.String(required=True)
    runs = fields.Boolean(required=True, allow_none=True)
    text = fields.String(
        required=True,
        metadata={"description": "What they run, or what keeps them from it and what would help"},
    )


class PluginSchema(Schema):
    """A plugin and what has become of it."""

    name = fields.String(required=True)
    distribution = fields.String(required=True, allow_none=True)
    version = fields.String(required=True, allow_none=True)
    status = fields.String(required=True, validate=validate.OneOf(["ok", "failed", "disabled"]))
    phase = fields.String(required=True, allow_none=True)
    message = fields.String(required=True, allow_none=True)
    hooks = fields.List(fields.String(), required=True)
    node_types = fields.List(fields.String(), required=True)
    types = fields.List(fields.Nested(TypeAbilitySchema), required=True)
    nio_types = fields.List(fields.String(), required=True)
    routes = fields.List(fields.String(), required=True)


class NodeCreateSchema(Schema):
    """What every new node can be given. Extend it with what your emulator has besides."""

    id = NodeId(data_key="vm_id")
    name = name_field(required=True, metadata={"example": "Reception"})
    console = port_field(allow_none=True)


class NodeUpdateSchema(Schema):
    """What can be changed of every node; null leaves a value as it is."""

    name = name_field(allow_none=True, metadata={"example": "Front desk"})
    console = port_field(allow_none=True)


class NodeObjectSchema(Schema):
    """What answers and events show of every node."""

    id = UuidText(data_key="vm_id", required=True)
    project_id = UuidText(required=True)
    name = fields.String(required=True)
    state = NodeStatus(data_key="status", required=True)
    console = port_field(required=True)
    directory = fields.String(data_key="vm_directory", required=True)

    def get_attribute(self, obj: Mapping[str, Any], attr: str, default: Any) -> Any:
        """A value of a snapshot. Its keys are names of fields, and its attributes are none."""
        return obj.get(attr, default)


@dataclass(frozen=True, slots=True)
class NodeShapes:
    """The schemas of a node type's routes: its own, where it has a console.

    Without one, a console is unknown in requests and null in answers, whatever the bases say.
    """

    create: type[Schema]
    update: type[Schema]
    shown: type[Schema]

    @classmethod
    def of(cls, node_type: NodeType) -> NodeShapes:
        """The shapes of a node type."""
        own = node_type.create_schema, node_type.update_schema, node_type.object_schema
        if node_type.console:
            return cls(*own)
        create, update, shown = own
        null = {"console": port_field(required=True, allow_none=True)}
        return cls(_without_console(create), _without_console(update), _changed(shown, **null))


def _without_console(schema: type[Schema]) -> type[Schema]:
    left_out = (*getattr(schema.Meta, "exclude", ()), "console")
    return _changed(schema, Meta=type("Meta", (schema.Meta,), {"exclude": left_out}))


def _changed(schema: type[Schema], **members: Any) -> type[Schema]:
    """A schema of the same name with other members."""
    own = {"__doc__": schema.__doc__, "__module__": schema.__module__}
    changed: type[Schema] = types.new_class(
        schema.__name__, (schema,), exec_body=lambda body: body.update(own, **members)
    )
    return changed
