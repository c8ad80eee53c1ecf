"""What a ``project.gns3`` may hold, checked before anything is made of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from marshmallow import INCLUDE, ValidationError, fields, validate

from gns3server.plugin import Conflict
from gns3server_v2.drawings import DrawingRequest
from gns3server_v2.links import EndShape
from gns3server_v2.names import NODE_TYPES
from gns3server_v2.node_shapes import NodeUpdate
from gns3server_v2.projects import ProjectUpdate
from gns3server_v2.shapes import Flag, Id, Request, Words

REVISIONS = range(5, 10)
"""The formats that are read; newer ones may add keys, which are kept."""

MOST_OBJECTS = 10_000
"""Nodes, links or drawings of one file."""


DEEPEST = 100
"""How deep values of a file may be nested."""

MOST_REASONS = 5
"""Mistakes that are told of one file."""


class FileNode(NodeUpdate):
    """A node; keys that nobody knows are kept."""

    class Meta(Request.Meta):
        """All keys."""

        unknown = INCLUDE

    name = Words(required=True, least=1)
    node_id = Id(required=True)
    node_type = fields.String(required=True, validate=validate.OneOf(NODE_TYPES))
    template_id = Words(allow_none=True)


class FileLink(Request):
    """A link."""

    link_id = Id(required=True)
    nodes = fields.List(fields.Nested(EndShape), required=True, validate=validate.Length(equal=2))
    filters = fields.Dict(
        keys=fields.String(),
        values=fields.List(fields.Raw(allow_none=True)),
        load_default=dict,
    )
    link_style = fields.Dict(keys=fields.String(), load_default=dict)
    suspend = Flag(load_default=False)


class FileDrawing(DrawingRequest):
    """A drawing."""

    drawing_id = Id(required=True)


class FileTopology(Request):
    """Everything that is drawn."""

    nodes = fields.List(fields.Nested(FileNode), load_default=list)
    links = fields.List(fields.Nested(FileLink), load_default=list)
    drawings = fields.List(fields.Nested(FileDrawing), load_default=list)


class FileShape(ProjectUpdate):
    """The whole file; keys that nobody knows are kept."""

    class Meta(Request.Meta):
        """All keys."""

        unknown = INCLUDE
        exclude: ClassVar[Sequence[str]] = ()

    name = Words(required=True, least=1)
    project_id = Id(required=True)
    revision = fields.Integer(required=True)
    topology = fields.Nested(FileTopology, required=True)


def check_file(value: Any) -> Mapping[str, Any]:
    """What a file says, checked.

    :raises Conflict: it is of a format that is not read here, or is broken; the text says where.
    """
    if not isinstance(value, Mapping):
        raise Conflict("This is no project file: it must hold a JSON object.")
    revision = value.get("revision")
    if not isinstance(revision, int) or revision < REVISIONS.start:
        raise Conflict(
            f"The project file has the revision {revision!r:.20}, and those from "
            f"{REVISIONS.start} on can be read: open it with a newer client once, and save it."
        )
    _check_plain(value)
    try:
        checked: Mapping[str, Any] = FileShape().load(value)
    except ValidationError as error:
        raise Conflict(f"The project file is broken: {reasons(error)}") from error
    topology = checked["topology"]
    for kind, key in (("nodes", "node_id"), ("links", "link_id"), ("drawings", "drawing_id")):
        ids = [each[key] for each in topology[kind]]
        if len(ids) > MOST_OBJECTS or len({*ids}) != len(ids):
            raise Conflict(f"The project file is broken: too many {kind}, or an id is there twice.")
    _check_links(topology)
    return checked


def _check_links(topology: Mapping[str, Any]) -> None:
    """Refuse links that end nowhere, at one node, or where another one does.

    :raises Conflict: says which.
    """
    known = {node["node_id"] for node in topology["nodes"]}
    taken: set[tuple[str, int, int]] = set()
    for link in topology["links"]:
        broken = f"The project file is broken: link {link['link_id']} ends"
        ends = {
            (end["node_id"].lower(), end["adapter_number"], end["port_number"])
            for end in link["nodes"]
        }
        nodes = {node_id for node_id, *_ in ends}
        if not nodes <= known:
            raise Conflict(f"{broken} nowhere.")
        if len(nodes) < 2:
            raise Conflict(f"{broken} twice at one node.")
        if ends & taken:
            raise Conflict(f"{broken} at a port that another link has.")
        taken |= ends


def _check_plain(value: Any) -> None:
    """Refuse what cannot be written back: it is nested too deep, or is no Unicode text.

    :raises Conflict: says which.
    """
    waiting = [(value, 0)]
    while waiting:
        each, depth = waiting.pop()
        if depth > DEEPEST:
            raise Conflict(f"The project file is broken: it is nested deeper than {DEEPEST}.")
        if isinstance(each, str):
            try:
                each.encode()
            except UnicodeEncodeError as error:
                raise Conflict(
                    f"The project file is broken: {each[:80]!a} is no Unicode text."
                ) from error
        elif isinstance(each, Mapping):
            waiting.extend((part, depth + 1) for pair in each.items() for part in pair)
        elif isinstance(each, list):
            waiting.extend((part, depth + 1) for part in each)


def reasons(error: ValidationError) -> str:
    """What is wrong, with the place of each mistake; the first few of them."""
    found = _places("", error.messages)
    more = f"; and {len(found) - MOST_REASONS} more" if len(found) > MOST_REASONS else ""
    return f"{'; '.join(found[:MOST_REASONS])}{more}."


def _places(where: str, said: Any) -> list[str]:
    if isinstance(said, Mapping):
        return [
            text
            for key, value in said.items()
            for text in _places(f"{where}.{key!s:.80}" if key != "_schema" else where, value)
        ]
    texts = said if isinstance(said, list) else [said]
    return [f"{where.removeprefix('.')}: {str(text).removesuffix('.')}" for text in texts]
