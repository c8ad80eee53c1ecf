"""The pictures of nodes: those that come with this plugin, and those that clients have sent."""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.resources import files

PREFIX = ":/symbols/"
"""What the id of a picture begins with that comes with the server."""

USUAL = "computer"
"""What is shown for a picture that nobody knows."""

LARGEST = 4096
"""The greatest width or height that is told of a picture."""

PNG = b"\x89PNG\r\n\x1a\n"

SVG_TAG = re.compile(rb"<svg\b[^>]*>", re.IGNORECASE | re.DOTALL)
SIZE = r"\b{}\s*=\s*[\"']\s*([\d.]+)(?:px)?\s*[\"']"
VIEW_BOX = re.compile(
    rb"\bviewBox\s*=\s*[\"']\s*[\d.+-]+[\s,]+[\d.+-]+[\s,]+([\d.]+)[\s,]+([\d.]+)"
)


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture, of one of the two media types that clients show."""

    content: bytes

    @property
    def media_type(self) -> str:
        """What it is."""
        return "image/png" if self.content.startswith(PNG) else "image/svg+xml"

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        if self.content.startswith(PNG) and len(self.content) >= 24:
            width, height = struct.unpack(">II", self.content[16:24])
            return _bounded(width), _bounded(height)
        tag = SVG_TAG.search(self.content[:65536])
        if tag is None:
            return 0, 0
        numbers = [re.search(SIZE.format(name).encode(), tag[0]) for name in ("width", "height")]
        if all(numbers):
            width, height = (_number(found[1]) for found in numbers if found)
            return _bounded(width), _bounded(height)
        box = VIEW_BOX.search(tag[0])
        return (0, 0) if box is None else (_bounded(_number(box[1])), _bounded(_number(box[2])))


def _number(text: bytes) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0


def _bounded(value: float) -> int:
    return round(min(max(value, 0), LARGEST))


@cache
def own_pictures() -> Mapping[str, Picture]:
    """The pictures that come with this plugin, by name. Reads them from disk the first time."""
    folder = files(__package__) / "pictures"
    return {
        entry.name.removesuffix(".svg"): Picture(entry.read_bytes())
        for entry in sorted(folder.iterdir(), key=lambda entry: entry.name)
        if entry.name.endswith(".svg")
    }


def symbol_id(name: str) -> str:
    """The id of a picture that comes with this plugin, or of the usual one if none has the name."""
    return f"{PREFIX}{name if name in own_pictures() else USUAL}.svg"


def own_picture(symbol: str) -> Picture | None:
    """The picture that comes with this plugin and has an id."""
    return own_pictures().get(symbol.removeprefix(PREFIX).removesuffix(".svg"))


@lru_cache(maxsize=1024)
def dimensions(symbol: str) -> tuple[int, int]:
    """Width and height of a picture; those of the usual one if it is not one of this plugin's."""
    return (own_picture(symbol) or own_pictures()[USUAL]).size
