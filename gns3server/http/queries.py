"""The query of a request."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from gns3server.errors import InvalidRequest, quoted
from gns3server.http.routing import QueryParameter

WHOLE_NUMBER = re.compile("[0-9]+")


def read_integer(digits: str) -> int:
    """The number that digits mean, limited to one that is still greater than anything needs."""
    return int(digits.lstrip("0")[:20] or "0")


def read_query(parameters: Mapping[str, QueryParameter], request: web.Request) -> dict[str, Any]:
    """The values in the query that a route reads, and the defaults of those that are missing.

    :raises InvalidRequest: a value is not of its kind.
    """
    values = {}
    for name, parameter in parameters.items():
        if name in request.query:
            values[name] = _read(name, parameter, request.query[name])
        elif parameter.default is not None:
            values[name] = parameter.default
    return values


def _read(name: str, parameter: QueryParameter, text: str) -> int | str:
    if parameter.kind == "text":
        if "\0" in text:
            raise InvalidRequest(f"Invalid request: {name} must not hold a NUL character.")
        if parameter.choices and text not in parameter.choices:
            words = ", ".join(parameter.choices)
            raise InvalidRequest(f"Invalid request: {name} is {quoted(text)}: ask for {words}.")
        return text
    if not WHOLE_NUMBER.fullmatch(text):
        raise InvalidRequest(f"Invalid request: {name} must be a whole number, not {text!r}.")
    return read_integer(text)
