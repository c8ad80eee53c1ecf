"""Schemas in the OpenAPI document: their names, and their descriptions."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Hashable, Mapping
from typing import Any

from apispec.ext.marshmallow.common import make_schema_key
from marshmallow import Schema

from gns3server.http.schemas import NodeId


class Names:
    """Gives each shape a name of its own: usually its class's, without the ending.

    Plugins know nothing of each other, so two of them may give a class the same name.
    """

    def __init__(self) -> None:
        self._kinds: dict[str, type[Schema]] = {}
        self._shapes: dict[str, tuple[Hashable, ...]] = {}

    def of(self, schema: type[Schema] | Schema, *form: str) -> str:
        """The name of a schema.

        :param form: tells apart what is made from one schema.
        """
        instance = schema() if isinstance(schema, type) else schema
        kind = type(instance)
        short = kind.__name__.removesuffix("Schema")
        package = kind.__module__.partition(".")[0]
        numbered = (f"{package}.{short}{number}" for number in itertools.count(2))
        names = itertools.chain((short, f"{package}.{short}"), numbered)
        shape = (make_schema_key(instance), *form)
        name: str = next(name for name in names if self._shapes.setdefault(name, shape) == shape)
        self._kinds[name] = kind
        return name

    def kind(self, name: str) -> type[Schema]:
        """The class that a name was given for."""
        return self._kinds[name]


def describe(kind: type[Schema]) -> Mapping[str, Any]:
    """The first paragraph of a schema's docstring, if it has its own.

    Also its ``Meta.json_schema``, which says what the fields cannot.
    """
    more: Mapping[str, Any] = getattr(kind.Meta, "json_schema", {})
    if not kind.__doc__:
        return more
    first = inspect.cleandoc(kind.__doc__).partition("\n\n")[0]
    return {"description": first.replace("\n", " ").replace("``", "`"), **more}


def node_id(_converter: Any, field: Any, ret: dict[str, Any], **_: Any) -> dict[str, Any]:
    """The property of a field that takes an id in either of its two forms."""
    if not isinstance(field, NodeId):
        return {}
    text = {key: ret.pop(key) for key in ("type", "format", "pattern")}
    return {"oneOf": [text, {"type": "integer"}]}
