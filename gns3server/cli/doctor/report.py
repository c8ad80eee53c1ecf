"""The doctor's report, for people to read."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from gns3server.log.lines import escape

WIDTH = 100


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was examined.

    :param problem: whether it is not in order.
    :param advice: sentences that explain it or say what to do about it.
    """

    text: str
    problem: bool = False
    advice: str = ""


@dataclass(frozen=True, slots=True)
class Section:
    """The findings of one kind."""

    title: str
    entries: Sequence[Finding]


def render(sections: Iterable[Section]) -> Iterator[str]:
    """The report as lines; ``!`` marks what is not in order."""
    for section in sections:
        yield section.title
        for entry in section.entries or (Finding("none"),):
            yield f"  {'!' if entry.problem else ' '} {escape(entry.text)}"
            yield from textwrap.wrap(
                escape(entry.advice),
                WIDTH,
                initial_indent=" " * 8,
                subsequent_indent=" " * 8,
                break_long_words=False,
                break_on_hyphens=False,
            )
        yield ""


def problems(sections: Iterable[Section]) -> int:
    """How many things are not in order."""
    return sum(entry.problem for section in sections for entry in section.entries)
