"""The code blocks of the manual, for the tests that do what they say."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

BLOCK = re.compile(r"^\.\. code-block:: (\w+)\n\n((?:   .*\n|\n)+)", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """One code block.

    :param language: as ``sh``.
    """

    language: str
    text: str

    @property
    def lines(self) -> list[str]:
        """Its lines that are not blank."""
        return [line for line in self.text.splitlines() if line.strip()]


def blocks(path: Path) -> Iterator[Block]:
    """The code blocks of a reStructuredText file, in order."""
    for language, text in BLOCK.findall(path.read_text(encoding="utf-8")):
        yield Block(language, textwrap.dedent(text).rstrip("\n"))
