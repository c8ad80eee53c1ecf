"""Media types of bodies and answers: which one a request has, and which one it asks for."""

from __future__ import annotations

import re
from collections.abc import Sequence

from aiohttp import web

from gns3server.errors import NotAcceptable, UnsupportedMediaType, quoted
from gns3server.http.routing import JSON, Route

QUALITY = re.compile(r"(?:0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)")
"""How much a client prefers a media type (RFC 9110, 12.4.2)."""

MOST_RANGES = 100
"""How many items of an ``Accept`` header are looked at; browsers send ten."""


def body_type(route: Route, request: web.Request) -> str:
    """The media type of a request's body.

    :raises UnsupportedMediaType: the route does not take it.
    """
    if not route.raw:
        return JSON
    if not route.body_types:
        return route.body_type
    if "Content-Type" not in request.headers:
        return route.body_types[0]
    if request.content_type in route.body_types:
        return request.content_type
    raise UnsupportedMediaType(
        f"A body of the type {quoted(request.content_type)} is not possible here: send one of "
        f"{', '.join(route.body_types)}."
    )


def answer_type(route: Route, request: web.Request) -> str:
    """The media type that a client prefers among those that a route can answer with.

    :raises NotAcceptable: it accepts none of them.
    """
    if not route.answer_types:
        return route.answer_type
    ranges = _ranges(", ".join(request.headers.getall("Accept", [])))
    best = max(route.answer_types, key=lambda offered: _liking(offered, ranges))
    if _liking(best, ranges) > 0:
        return best
    raise NotAcceptable(
        f"None of the types in the header Accept is possible here: {', '.join(route.answer_types)} "
        "would be."
    )


def _ranges(accept: str) -> list[tuple[str, float]]:
    """What a client accepts, each with its preference; malformed items are left out."""
    found = []
    for item in accept.split(",")[:MOST_RANGES]:
        name, *parameters = (part.strip().lower() for part in item.split(";"))
        quality = "1"
        for parameter in parameters:
            key, _, value = parameter.partition("=")
            if key.strip() == "q":
                quality = value.strip()
        if "/" in name and QUALITY.fullmatch(quality):
            found.append((name, float(quality)))
    return found


def _liking(offered: str, ranges: Sequence[tuple[str, float]]) -> float:
    """How much a client prefers a media type: the narrowest range that contains it decides."""
    if not ranges:
        return 1.0
    kind = offered.partition("/")[0]
    for name in (offered, f"{kind}/*", "*/*"):
        liked = [quality for range_, quality in ranges if range_ == name]
        if liked:
            return max(liked)
    return 0.0
