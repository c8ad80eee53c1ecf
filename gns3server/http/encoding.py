"""JSON on the wire.

Bodies are indented by four spaces and sorted, without a final newline, for the
people who read them in curl (HTTP-06).
"""

from __future__ import annotations

import re
from typing import Any

import orjson

from gns3server.errors import InvalidRequest

_INDENT = re.compile(rb"(?m)^ +")

SURELY_FLAT = 200
"""Values with no more brackets than this cannot be nested too deeply to be encoded again."""

MOST_VALUES = 10_000
"""The most values in a body: checking more of them for mistakes would hold up everybody."""


def encode(value: Any) -> bytes:
    """A JSON body. The encoder indents by two spaces, which are doubled.

    No string can hold a raw newline in JSON, so blanks at the start of a line
    are always indentation.
    """
    body = orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS)
    if b"\n    " not in body:
        # Most objects are flat, and this takes a quarter of the time.
        return body.replace(b"\n  ", b"\n    ")
    return _INDENT.sub(lambda blanks: blanks[0] * 2, body)


def compact(value: Any) -> str:
    """JSON text on one line."""
    return orjson.dumps(value).decode()


def decode(body: bytes) -> Any:
    """The value of a JSON body; an empty one is the empty object (HTTP-07).

    :raises InvalidRequest: not UTF-8, not JSON, JSON that no answer could repeat, or over
        :data:`MOST_VALUES`.
    """
    if not body:
        return {}
    try:
        value = orjson.loads(body)
        brackets = body.count(b"[") + body.count(b"{")
        if brackets + body.count(b",") > MOST_VALUES and has_many_values(value):
            raise InvalidRequest(
                f"The request's body holds more than {MOST_VALUES} values, which no request needs: "
                "send less at once."
            )
        if brackets > SURELY_FLAT:
            # The encoder gives up at fewer levels than the parser.
            orjson.dumps({"request": value})
    except (orjson.JSONDecodeError, orjson.JSONEncodeError) as error:
        text = body.decode(errors="replace")
        raise InvalidRequest(
            f"Invalid JSON: {error}. Send a JSON object, or no body at all.",
            request={"malformed_json": text},
        ) from error
    return value


def has_many_values(value: Any) -> bool:
    """Whether there are more than :data:`MOST_VALUES` of them in a value from JSON."""
    waiting, count = [value], 0
    while waiting and count <= MOST_VALUES:
        item = waiting.pop()
        if isinstance(item, (dict, list)):
            count += len(item)
            waiting.extend(item.values() if isinstance(item, dict) else item)
    return count > MOST_VALUES
