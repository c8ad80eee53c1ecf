"""What the log says about a request, in one line: who asked for what, and what came of it."""

from __future__ import annotations

import itertools
import logging
import secrets
import time
from collections.abc import Iterator
from http import HTTPStatus

import orjson
from aiohttp import web

from gns3server.http.encoding import compact
from gns3server.http.parsing import PARSED, repeated
from gns3server.http.routing import JSON, Route

log = logging.getLogger(__name__)

ROUTE: web.RequestKey[Route] = web.RequestKey("route")
ID: web.RequestKey[str] = web.RequestKey("id")
USER: web.RequestKey[str] = web.RequestKey("user")
BEGAN: web.RequestKey[float] = web.RequestKey("began")

CONTENT_CHARACTERS = 2000
"""How much of a body the log shows."""

MOST_READ = 1024 * 1024
"""Bytes of an answer whose beginning the log shows: of a longer one it would take too long."""


def request_ids() -> Iterator[str]:
    """Names for requests; they differ between servers, so that logs can be merged."""
    prefix = secrets.token_hex(3)
    return (f"{prefix}-{number}" for number in itertools.count(1))


def begin(request: web.Request, request_id: str, route: Route | None) -> None:
    """Name a request and, if there is one, its route; its time is measured from now on."""
    request[ID] = request_id
    request[BEGAN] = time.monotonic()
    if route is not None:
        request[ROUTE] = route


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
    route = request.get(ROUTE)
    quiet = not reason and (route is None or not route.changes)
    failed = response.status >= HTTPStatus.INTERNAL_SERVER_ERROR
    level = logging.ERROR if failed else logging.DEBUG if quiet else logging.INFO
    if log.isEnabledFor(level):
        log.log(
            level,
            "%s %s %s %s %s -> %d in %d ms%s",
            request[ID],
            request.remote or "-",
            request.get(USER) or "-",
            request.method,
            request.rel_url.raw_path,
            response.status,
            (time.monotonic() - request[BEGAN]) * 1000,
            f": {reason}" if reason else "",
            exc_info=bug,
        )
    if log.isEnabledFor(logging.DEBUG) and not (route is not None and route.confidential):
        log_content(request, response)


def log_content(request: web.Request, response: web.StreamResponse) -> None:
    """Log the request's and the answer's content, if it is JSON."""
    if request.get(PARSED):
        log.debug("%s asked %s", request[ID], compact(repeated(request))[:CONTENT_CHARACTERS])
    body = getattr(response, "body", None)
    if isinstance(body, bytes) and response.content_type == JSON and len(body) <= MOST_READ:
        log.debug("%s answered %s", request[ID], compact(orjson.loads(body))[:CONTENT_CHARACTERS])
