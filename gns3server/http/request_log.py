"""What the log says about a request, in one line: who asked for what, and what came of it."""

from __future__ import annotations

import itertools
import logging
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http import HTTPStatus

import orjson
from aiohttp import web

from gns3server.http.encoding import compact
from gns3server.http.parsing import PARSED
from gns3server.http.routing import JSON, Route

log = logging.getLogger(__name__)


@dataclass(slots=True)
class RequestFacts:
    """What is known about a request besides what it holds.

    :param id: its name in the log, and in the header ``X-Request-Id``.
    :param route: ``None`` if there is none for its path and method.
    :param began: when its head had arrived, by the monotonic clock.
    :param user: who sent it; empty while that is not known, and if nobody has to say.
    """

    id: str
    route: Route | None
    began: float = field(default_factory=time.monotonic)
    user: str = ""


FACTS: web.RequestKey[RequestFacts] = web.RequestKey("facts")

CONTENT_CHARACTERS = 2000
"""How much of a body the log shows."""


def request_ids() -> Iterator[str]:
    """Names for requests; they differ between servers, so that logs can be merged."""
    prefix = secrets.token_hex(3)
    return (f"{prefix}-{number}" for number in itertools.count(1))


def log_outcome(
    request: web.Request,
    response: web.StreamResponse,
    reason: str = "",
    *,
    bug: Exception | None = None,
) -> None:
    """Log one line per request: changes and refusals at info, reads at debug, 5xx as errors.

    :param reason: why the answer is an error, empty if it is not one.
    :param bug: logged with its traceback.
    """
    facts = request[FACTS]
    route = facts.route
    quiet = not reason and (route is None or not route.changes)
    failed = response.status >= HTTPStatus.INTERNAL_SERVER_ERROR
    level = logging.ERROR if failed else logging.DEBUG if quiet else logging.INFO
    if not log.isEnabledFor(level):
        return
    log.log(
        level,
        "%s %s %s %s %s -> %d in %d ms%s",
        facts.id,
        request.remote or "-",
        facts.user or "-",
        request.method,
        request.rel_url.raw_path,
        response.status,
        (time.monotonic() - facts.began) * 1000,
        f": {reason}" if reason else "",
        exc_info=bug,
    )
    if log.isEnabledFor(logging.DEBUG) and not (route is not None and route.confidential):
        log_content(request, response)


def log_content(request: web.Request, response: web.StreamResponse) -> None:
    """Log the request's and the answer's content, if it is JSON."""
    facts = request[FACTS]
    if request.get(PARSED):
        log.debug("%s asked %s", facts.id, compact(request[PARSED])[:CONTENT_CHARACTERS])
    body = getattr(response, "body", None)
    if isinstance(body, bytes) and response.content_type == JSON:
        log.debug("%s answered %s", facts.id, compact(orjson.loads(body))[:CONTENT_CHARACTERS])
