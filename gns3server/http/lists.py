"""Lists whose objects hold whole files: sent in parts when they are too long to be in memory.

Usual lists are answers like any other. Of a longer one, the first part is made like any answer,
while its project is held. The rest is made and sent piece by piece, for as long as the client takes
to read it, and holds up nobody.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from gns3server.http.encoding import compact, encode

PART_BYTES = 1024 * 1024
"""How much of a list is made at once, about: one item more than this at most."""

Item = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class LongList:
    """A list that is not all there yet.

    :param first: its first items.
    :param rest: makes the others as they are asked for.
    """

    first: list[Item]
    rest: AsyncIterator[Item]


async def gather(items: AsyncIterator[Item]) -> list[Item] | LongList:
    """All items, or as many of them as should be in memory at once."""
    first, whole = await _part(items)
    return first if whole else LongList(first, items)


async def encoded(long: LongList, dump: Callable[[list[Item]], list[Any]]) -> AsyncIterator[bytes]:
    """The JSON of a list in pieces, which together are what :func:`encode` makes of all of it.

    :param dump: puts items into the words of the wire.
    """
    part, whole, joint = long.first, False, b"["
    while part:
        text = encode(dump(part))
        yield joint + text[len(b"[") : -len(b"\n]\n")]
        joint = b","
        if whole:
            break
        part, whole = await _part(long.rest)
    yield b"\n]\n"


async def _part(items: AsyncIterator[Item]) -> tuple[list[Item], bool]:
    """The next items, and whether they are the last."""
    part: list[Item] = []
    size = 0
    async for item in items:
        part.append(item)
        size += sum(map(_size, item.values()))
        if size > PART_BYTES:
            return part, False
    return part, True


def _size(value: Any) -> int:
    """About how long a value is as JSON, if it can be long at all."""
    if isinstance(value, str):
        return len(value)
    return len(compact(value)) if isinstance(value, dict | list) else 0
