"""Checks of plain data that somebody else has written, one small function each.

For launch specs and stored rows, which are too many for a schema of each: one takes four times as
long. What comes over the wire and from settings is checked by schemas.
"""

from __future__ import annotations

from typing import Any, TypeGuard, TypeVar

from gns3server.files.safe_open import is_plain_name

T = TypeVar("T")


def exactly(what: str, value: Any, kind: type[T]) -> T:
    """A value of this very type; ``True`` is no number.

    :raises ValueError: it is none.
    """
    if type(value) is not kind:
        raise ValueError(f"{what} is not readable: {value!r:.80}")
    return value


def text(what: str, value: Any) -> str:
    """A text that a program can be given.

    :raises ValueError: it is none.
    """
    if not isinstance(value, str):
        raise ValueError(f"{what} is no text: {value!r:.80}")
    if "\0" in value:
        raise ValueError(f"{what} must not hold a NUL character: {value!r:.80}")
    return value


def plain_name(what: str, value: Any) -> str:
    """A name of an entry of a directory.

    :raises ValueError: it is none.
    """
    if not is_plain_name(exactly(what, value, str)):
        raise ValueError(f"{what} cannot be a name in a directory: {value!r:.80}")
    return str(value)


def is_whole(value: object, least: int, most: int | None = None) -> TypeGuard[int]:
    """Whether it is a whole number of a range; ``True`` is none."""
    if not isinstance(value, int) or isinstance(value, bool):
        return False
    return value >= least and (most is None or value <= most)
