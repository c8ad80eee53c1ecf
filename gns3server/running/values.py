"""Checks of plain data written elsewhere, one small function each.

For launch specs and stored rows, which are too many for schemas: those take four times as
long. Data from clients and from settings is checked by schemas.
"""

from __future__ import annotations

from typing import Any, TypeGuard, TypeVar

from gns3server.files.safe_open import is_plain_name

T = TypeVar("T")


def exactly(what: str, value: Any, kind: type[T]) -> T:
    """A value of exactly this type; ``True`` is not a number.

    :raises ValueError: it is something else.
    """
    if type(value) is not kind:
        raise ValueError(f"{what} is not readable: {value!r:.80}")
    return value


def text(what: str, value: Any) -> str:
    """A text that can be passed to a program.

    :raises ValueError: it is something else.
    """
    if not isinstance(value, str):
        raise ValueError(f"{what} is not a text: {value!r:.80}")
    if "\0" in value:
        raise ValueError(f"{what} must not hold a NUL character: {value!r:.80}")
    return value


def plain_name(what: str, value: Any) -> str:
    """A name of a directory entry.

    :raises ValueError: it is something else.
    """
    if not is_plain_name(exactly(what, value, str)):
        raise ValueError(f"{what} cannot be a name in a directory: {value!r:.80}")
    return str(value)


def is_whole(value: object, least: int, most: int | None = None) -> TypeGuard[int]:
    """Whether it is a whole number in a range; ``True`` is not one."""
    if not isinstance(value, int) or isinstance(value, bool):
        return False
    return value >= least and (most is None or value <= most)
