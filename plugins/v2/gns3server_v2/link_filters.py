"""Filters of links: here a list of numbers by type, in the core an object by type."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gns3server.plugin import FILTERS, Filter

KNOWN = {each.type: each for each in FILTERS}
"""The filters that links can have, by type."""


def to_core(filters: Mapping[str, Any]) -> dict[str, dict[str, Any] | None]:
    """What filters mean for a link: all that are not on are taken away.

    :param filters: by type, the values of its parameters in their order. Clients name all types,
        with zeros for those that are off.
    """
    wanted: dict[str, dict[str, Any] | None] = dict.fromkeys(KNOWN)
    for kind, values in filters.items():
        if kind in KNOWN and isinstance(values, list) and any(values):
            wanted[kind] = _values(KNOWN[kind], values)
    return wanted


def active(filters: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The filters of a new link that are on."""
    return {kind: values for kind, values in to_core(filters).items() if values is not None}


def _values(kind: Filter, values: list[Any]) -> dict[str, Any]:
    named = {
        each.name: value
        for each, value in zip(kind.parameters, values, strict=False)
        if value not in (None, "")
    }
    # A number that is whole is one for every parameter.
    return {
        name: int(value) if isinstance(value, float) and value.is_integer() else value
        for name, value in named.items()
    }


def shown(filters: Mapping[str, Mapping[str, Any]], kept: Mapping[str, Any]) -> dict[str, Any]:
    """The filters of a link in the words of the wire.

    :param filters: those that are on.
    :param kept: those that clients have sent, of types that are known here or not.
    """
    own = {
        kind: [values.get(each.name, 0) for each in KNOWN[kind].parameters]
        for kind, values in filters.items()
        if kind in KNOWN
    }
    foreign = {
        kind: values for kind, values in kept.items() if kind not in KNOWN and any(values or [])
    }
    return {**own, **foreign}


def descriptions() -> list[dict[str, Any]]:
    """What clients make their dialog of."""
    return [
        {
            "type": each.type,
            "name": each.title,
            "description": each.description,
            "parameters": [
                {
                    "name": parameter.title,
                    "type": "int",
                    "minimum": parameter.minimum,
                    "maximum": parameter.maximum,
                    "unit": parameter.unit,
                }
                for parameter in each.parameters
            ],
        }
        for each in FILTERS
    ]
