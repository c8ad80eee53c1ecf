"""Which routes would answer the same request, and which of them would get it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from itertools import zip_longest

from gns3server.http.openapi_paths import IDS
from gns3server.http.routing import DIGITS, PARAMETER, Route, expression

IDS_ONLY = dict.fromkeys(IDS, "[0-9a-fA-F-]{36}")
"""What the parameters that name ids are meant to match, though they let any text pass."""

SAMPLES = ("a", "0", "a.b", "a/b", "0/0", "0b5d1e5c-5f0f-4b8e-8a44-2f6a3d9c7e10", "A", "a-b", "")
"""Sample texts, some of which most expressions match; the words in one are tried as well."""

MARK = "\0"
"""Stands in for parameters, which may hold slashes, while a path is split at its slashes."""


class Segment:
    """The part of a route's path between two slashes.

    :param pattern: its text in the path, with parameters.
    """

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        rules = {rule for _, rule in PARAMETER.findall(pattern)}
        self.is_literal = not rules
        self._rules = rules - {"", DIGITS}

    @cached_property
    def samples(self) -> list[str]:
        """Some texts that it is meant to match."""
        if self.is_literal:
            return [self.pattern]
        words = [word for rule in self._rules for word in re.findall(r"[\w.-]+", rule)]
        blank = PARAMETER.sub(MARK, self.pattern)
        filled = (blank.replace(MARK, text) for text in (*SAMPLES, *words))
        return [text for text in filled if self._meant.fullmatch(text)]

    @cached_property
    def spans(self) -> bool:
        """Whether what it matches may hold a slash, and so span several segments of a request."""
        return bool(self._rules) and any("/" in text for text in self.samples)

    def like(self, *texts: str) -> str | None:
        """The first of these texts that it is meant to match, or else a sample."""
        return next((text for text in (*texts, *self.samples) if self._meant.fullmatch(text)), None)

    @cached_property
    def _meant(self) -> re.Pattern[str]:
        return re.compile(expression(self.pattern, IDS_ONLY))


@dataclass(frozen=True)
class Claim:
    """The requests that a route answers to.

    :param place: how many routes are installed before it.
    """

    route: Route
    place: int

    @cached_property
    def shape(self) -> tuple[str, str]:
        """Method and path with the parameters' names left out: no two routes may share it."""
        return self.route.shape

    def precedes(self, other: Claim) -> bool:
        """Whether the server tries this one first if both match.

        aiohttp first tries routes that begin with more literal segments.
        """
        mine, others = len(self._beginning), len(other._beginning)
        return mine > others or (mine == others and self.place < other.place)

    def takes_from(self, other: Claim) -> str | None:
        """A path that is meant for the other one and that this one would get, if there is any."""
        if not self.may_meet(other):
            return None
        for path in (other._like(self), self._like(other)):
            if path and self._served.fullmatch(path) and other._meant.fullmatch(path):
                return path
        return None

    def hides(self, other: Claim) -> bool:
        """Whether this one would get every path meant for the other one."""
        if not self.may_meet(other):
            return False
        return bool(other._samples) and all(map(self._served.fullmatch, other._samples))

    def may_meet(self, other: Claim) -> bool:
        """Whether neither the method nor a literal part keeps them apart, as with most pairs."""
        if self.route.method != other.route.method:
            return False
        for mine, others in zip_longest(self._segments, other._segments):
            if mine is None or others is None:
                return False
            if mine.spans or others.spans:
                return True
            if mine.is_literal and others.is_literal and mine.pattern != others.pattern:
                return False
        return True

    def _like(self, other: Claim) -> str | None:
        """The path of this one that is most like one of the other's."""
        path = []
        for number, segment in enumerate(self._segments):
            rest = other._segments[number:]
            texts = list(rest[0].samples) if rest else []
            if segment.spans and all(each.samples for each in rest):
                texts.insert(0, "/".join(each.samples[0] for each in rest))
            text = segment.like(*texts)
            if text is None:
                return None
            path.append(text)
        return "/".join(path)

    @cached_property
    def _segments(self) -> list[Segment]:
        parameters = iter(PARAMETER.finditer(self.route.path))
        parts = PARAMETER.sub(MARK, self.route.path).split("/")
        return [Segment(re.sub(MARK, lambda _: next(parameters)[0], part)) for part in parts]

    @cached_property
    def _beginning(self) -> list[Segment]:
        segments = self._segments
        literal = next((n for n, each in enumerate(segments) if not each.is_literal), len(segments))
        return segments[:literal]

    @cached_property
    def _samples(self) -> list[str]:
        each = [segment.samples for segment in self._segments]
        if not all(each):
            return []
        return [
            "/".join(texts[n % len(texts)] for texts in each) for n in range(max(map(len, each)))
        ]

    @cached_property
    def _served(self) -> re.Pattern[str]:
        return re.compile(expression(self.route.path))

    @cached_property
    def _meant(self) -> re.Pattern[str]:
        return re.compile(expression(self.route.path, IDS_ONLY))
