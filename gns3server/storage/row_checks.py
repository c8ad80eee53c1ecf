"""Checks of what rows hold; see :mod:`gns3server.storage.rows`."""

from __future__ import annotations

import json
import uuid
from typing import Any, TypeVar

from gns3server.running.values import exactly, plain_name

T = TypeVar("T")


def json_value(what: str, text: Any, kind: type[T]) -> T:
    """A value of a type, stored as JSON.

    :raises ValueError: it is something else.
    """
    return exactly(what, parsed(what, text), kind)


def parsed(what: str, text: Any) -> Any:
    """A value that is stored as JSON.

    :raises ValueError: it cannot be read.
    """
    try:
        return json.loads(exactly(what, text, str))
    except json.JSONDecodeError as error:
        raise ValueError(f"{what} is not readable: {error}") from error


def id_of(what: str, value: Any) -> str:
    """An id, in the form of a UUID.

    :raises ValueError: it is something else.
    """
    try:
        uuid.UUID(exactly(what, value, str))
    except ValueError:
        raise ValueError(f"{what} is no id: {value!r:.80}") from None
    return plain_name(what, value)
