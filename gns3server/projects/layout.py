"""Where the nodes of a project are drawn, and how: records of the core, in no v1 object."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from marshmallow import Schema, ValidationError, fields

from gns3server.errors import InvalidRequest, NotFound
from gns3server.events import Event
from gns3server.nodes.limits import core_code
from gns3server.nodes.project_base import ProjectBase
from gns3server.nodes.view import LayoutView
from gns3server.storage.change import ProjectChange
from gns3server.storage.rows import NodeLayout

FARTHEST = 1_000_000.0
"""The greatest coordinate, in either direction."""

SYMBOL_LENGTH = 1024
"""How many characters the name of a symbol may have."""

LABEL_BYTES = 16 * 1024
"""How long a label may be, as JSON."""

LABEL_PARTS = 200
"""How many objects and lists a label may have, which also limits how deep it is nested."""


class Coordinate(fields.Float):
    """A number, but not a text that looks like one."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ValidationError("must be a number")
        if not -FARTHEST <= value <= FARTHEST:
            raise ValidationError(f"must be between -{FARTHEST:.0f} and {FARTHEST:.0f}")
        return float(value)


class LabelField(fields.Raw):
    """How a name is written: an object as the client that draws defines it."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        if not isinstance(value, Mapping):
            raise ValidationError("must be an object")
        try:
            text = json.dumps(dict(value), allow_nan=False, ensure_ascii=False)
            text.encode()
            plain = json.loads(text)
        except (TypeError, ValueError, RecursionError):
            raise ValidationError("must be an object that JSON can hold") from None
        if text.count("{") + text.count("[") > LABEL_PARTS:
            raise ValidationError(f"must not hold more than {LABEL_PARTS} objects and lists")
        if len(text) > LABEL_BYTES:
            raise ValidationError(f"must not be longer than {LABEL_BYTES} bytes as JSON")
        return plain


def check_symbol(value: str) -> None:
    """Refuse what cannot be the name of a symbol.

    :raises ValidationError: says why.
    """
    if len(value) > SYMBOL_LENGTH or not value.isprintable():
        raise ValidationError(f"must have at most {SYMBOL_LENGTH} characters, all printable")


class PlaceSchema(Schema):
    """Where a node is drawn and how, or what is to change about that."""

    x = Coordinate()
    y = Coordinate()
    z = Coordinate()
    symbol = fields.String(validate=check_symbol)
    label = LabelField()


class Layout:
    """Where a project's nodes are drawn.

    :param known: tells whether the project has a node of this id.
    """

    def __init__(self, project: ProjectBase, known: Callable[[str], bool]) -> None:
        self._project = project
        self._known = known
        self._schema = PlaceSchema()
        self._places: dict[str, NodeLayout] = {}

    def restore(self, places: Mapping[str, NodeLayout]) -> None:
        """Take in what was read from disk."""
        self._places = {node_id: place for node_id, place in places.items() if self._known(node_id)}

    def get(self, node_id: str) -> NodeLayout:
        """Where a node is drawn; one that was never placed is at 0, 0.

        :raises gns3server.errors.NotFound: there is no such node.
        """
        self._check(node_id)
        return self._places.get(node_id, NodeLayout())

    @core_code
    async def set(self, values: Mapping[str, Mapping[str, Any]]) -> None:
        """Place some nodes, all of them or none. Does not wait for work on them to end.

        :param values: by node, what is to change: ``x``, ``y`` and ``z``, from -1000000 to 1000000;
            ``symbol``, of up to 1024 characters; ``label``, an object of up to 16 KiB as JSON.
        :raises gns3server.errors.NotFound: there is no such node.
        :raises gns3server.errors.InvalidRequest: a value is not one of these.
        :raises gns3server.errors.StorageFailed: it could not be written.
        """
        async with self._project.change() as change:
            for node_id, named in values.items():
                self.save(change, node_id, named)

    def save(self, change: ProjectChange, node_id: str, values: Mapping[str, Any]) -> None:
        """Place a node as part of a change (``async with project.change() as change``).

        :raises gns3server.errors.NotFound: there is no such node.
        :raises gns3server.errors.InvalidRequest: a value is unfit.
        """
        self._check(node_id)
        self.place(change, node_id, self.checked(values))

    def checked(self, values: Mapping[str, Any]) -> Mapping[str, Any]:
        """Values of one node, checked.

        :raises gns3server.errors.InvalidRequest: one is unfit.
        """
        try:
            checked: Mapping[str, Any] = self._schema.load(values)
        except ValidationError as error:
            raise InvalidRequest(f"The place of a VM is unfit: {error.messages}.") from error
        return checked

    def place(self, change: ProjectChange, node_id: str, values: Mapping[str, Any]) -> None:
        """Place a node that exists by the end of the change; the values are checked already."""
        if values:
            change.save_layout(node_id, values)
            change.then(partial(self._take, node_id, values))
            view = LayoutView(node_id, self._project.id, values)
            change.tell(Event("node", "layout", self._project.id, view))

    def forget(self, node_id: str) -> None:
        """Forget the place of a node that is gone."""
        self._places.pop(node_id, None)

    def _take(self, node_id: str, values: Mapping[str, Any]) -> None:
        # It may have been deleted by an earlier commit.
        if self._known(node_id):
            place = self._places.get(node_id, NodeLayout())
            self._places[node_id] = replace(place, **values)

    def _check(self, node_id: str) -> None:
        if not self._known(node_id):
            raise NotFound(
                f"Project {self._project.id} has no VM with the id {node_id!r:.80}: check the id, "
                "or create the VM first."
            )
