"""JSON on the wire.

Bodies are indented by four spaces and sorted, and end with a newline, for the
people who read them in curl.
"""

from __future__ import annotations

import json
import re
from typing import Any

import orjson

from gns3server.errors import InvalidRequest

_INDENT = re.compile(rb"(?m)^ +")

LOOKS = orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE

LONG_INTEGER = re.compile(rb"[0-9]{19}")
"""What a body holds that may have an integer of more than 64 bits."""

SURELY_FLAT = 200
"""Values with no more brackets than this cannot be nested too deeply to be encoded again."""

MOST_REPEATED = 256 * 1024
"""The most bytes of a body that an answer repeats."""

MOST_VALUES = 10_000
"""The most values in a body: checking more of them for mistakes would hold up everybody."""


def encode(value: Any) -> bytes:
    """A JSON body. The encoder indents by two spaces, which are doubled.

    No string can hold a raw newline in JSON, so blanks at the start of a line
    are always indentation.
    """
    try:
        body = orjson.dumps(value, option=LOOKS)
    except orjson.JSONEncodeError as error:
        if not _is_about_size(error):
            raise
        text = json.dumps(value, indent=4, sort_keys=True, ensure_ascii=False, allow_nan=False)
        return f"{text}\n".encode()
    if b"\n    " not in body:
        # Most objects are flat, and this takes a quarter of the time.
        return body.replace(b"\n  ", b"\n    ")
    return _INDENT.sub(lambda blanks: blanks[0] * 2, body)


def compact(value: Any) -> str:
    """JSON text on one line."""
    try:
        return orjson.dumps(value).decode()
    except orjson.JSONEncodeError as error:
        if not _is_about_size(error):
            raise
        return json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def _is_about_size(error: orjson.JSONEncodeError) -> bool:
    """Whether there is an integer that only Python's own, slower encoder can write."""
    return "64-bit" in str(error)


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
        if LONG_INTEGER.search(body):
            # Integers of more than 64 bits have become floating-point numbers.
            value = json.loads(body)
    except (orjson.JSONDecodeError, orjson.JSONEncodeError) as error:
        text = body[:MOST_REPEATED].decode(errors="replace")
        raise InvalidRequest(
            f"Invalid JSON: {_not_utf8(body) or error}. Send a JSON object, or no body at all.",
            request={"malformed_json": text},
        ) from error
    return value


def _not_utf8(body: bytes) -> str:
    """Where a body is not UTF-8; empty if it is. The parser says it in words for programmers."""
    try:
        body.decode()
    except UnicodeDecodeError as error:
        return f"byte {error.start + 1} is not UTF-8"
    return ""


def has_many_values(value: Any) -> bool:
    """Whether there are more than :data:`MOST_VALUES` of them in a value from JSON."""
    waiting, count = [value], 0
    while waiting and count <= MOST_VALUES:
        item = waiting.pop()
        if isinstance(item, (dict, list)):
            count += len(item)
            waiting.extend(item.values() if isinstance(item, dict) else item)
    return count > MOST_VALUES
