"""Connections of clients: none may hold a place for ever without a request or without reading."""

from __future__ import annotations

import asyncio
import logging
import resource
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from aiohttp import web
from aiohttp.http import HttpProcessingError

from gns3server.http.edge import SERVER, respond
from gns3server.http.encoding import encode
from gns3server.http.routing import JSON

log = logging.getLogger(__name__)

HEAD_LIMIT = 30.0
"""Seconds that the head of a request may take to arrive, on a new connection from its opening."""

IDLE_LIMIT = 3600.0
"""Seconds between two requests of a connection. Long: a client that has one counts on it."""

LINGER = 2.0
"""Seconds for which the rest of a refused body is taken in, so that its client reads the answer."""

STALL_LIMIT = 300.0
"""Seconds after which a client that reads nothing of what is ready for it is cut off."""

FULL = (
    "As many connections are open as this server can have: close some, or raise the limit of its "
    "open files (ulimit -n)."
)

LATE = (
    f"The head of the request did not arrive within {HEAD_LIMIT:.0f} seconds: connect again and "
    "send it in one go."
)


class Connection(web.RequestHandler):
    """aiohttp's connection, with the limits in time that it has not.

    One timer a connection looks at a clock now and then: a request costs no timer.
    """

    __slots__ = ("_head_seen", "_head_since", "_head_timer", "_stall_timer")

    def __init__(self, manager: web.Server, **options: Any) -> None:
        super().__init__(manager, **options)
        self._head_since: float | None = None
        self._head_seen = False
        self._head_timer: asyncio.TimerHandle | None = None
        self._stall_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to wait for the first request."""
        super().connection_made(transport)
        self._await_head()

    def data_received(self, data: bytes) -> None:
        """Take in what came, and see whether the rest of a head has to follow."""
        super().data_received(data)
        # The handler sleeps until a whole head is there.
        waiter = self._waiter
        if waiter is None or waiter.done():
            self._head_since = None
            self._head_seen = False
        elif data:
            self._head_seen = True
            if self._head_since is None:
                self._await_head()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Forget the timers."""
        for timer in (self._head_timer, self._stall_timer):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """The client reads too slowly: begin to watch whether it reads at all."""
        super().pause_writing()
        self._watch_reader()

    def resume_writing(self) -> None:
        """The client has read."""
        if self._stall_timer is not None:
            self._stall_timer.cancel()
            self._stall_timer = None
        super().resume_writing()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what is no HTTP in the form of all errors.

        The log keeps nothing of it: it may be a password beside a wrong character.
        """
        if not isinstance(exc, HttpProcessingError):
            return super().handle_error(request, status, exc, message)
        log.info("%s sent what is no HTTP/1 request: %s", request.remote, type(exc).__name__)
        first = exc.message.strip().partition("\n")[0].rstrip(":.")
        text = f"This cannot be read as an HTTP/1.0 or HTTP/1.1 request: {first}."
        response = respond(status, {"message": text, "status": status})
        response.force_close()
        return response

    def log_exception(self, *args: Any, **options: Any) -> None:
        """Log what went wrong, unless it is the rest of a body that was refused already."""
        if not isinstance(options.get("exc_info"), web.RequestPayloadError):
            super().log_exception(*args, **options)

    def _await_head(self) -> None:
        self._head_since = self._loop.time()
        if self._head_timer is None:
            self._head_timer = self._loop.call_later(HEAD_LIMIT, self._check_head)

    def _check_head(self) -> None:
        self._head_timer = None
        if self._head_since is None or self.transport is None:
            return
        due = self._head_since + HEAD_LIMIT
        if due > self._loop.time():
            self._head_timer = self._loop.call_at(due, self._check_head)
            return
        if self._head_seen:
            self.transport.write(_plain_answer(HTTPStatus.REQUEST_TIMEOUT, LATE))
        self.force_close()

    def _watch_reader(self, waiting: int | None = None) -> None:
        """Cut the client off if it has read nothing since ``waiting`` bytes waited for it."""
        transport = self.transport
        if transport is None:
            return
        now = transport.get_write_buffer_size()
        if waiting is not None and now >= waiting:
            log.info("a client was cut off that has read nothing for %.0f seconds", STALL_LIMIT)
            transport.abort()
            return
        self._stall_timer = self._loop.call_later(STALL_LIMIT, self._watch_reader, now)


class Refusal(asyncio.Protocol):
    """A connection too many."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Say so, and hang up."""
        if isinstance(transport, asyncio.Transport):
            transport.write(_plain_answer(HTTPStatus.SERVICE_UNAVAILABLE, FULL))
        transport.close()


def connection_factory(manager: web.Server) -> Callable[[], asyncio.Protocol]:
    """What makes the connections of a server that listens. To be called on its loop.

    Half of the file descriptors are for connections: were there none left, neither would
    a node start nor a change get to the disk, and the loop would do nothing but log.
    """
    loop = asyncio.get_running_loop()
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2

    def make() -> asyncio.Protocol:
        if len(manager.connections) >= limit:
            return Refusal()
        return Connection(
            manager,
            loop=loop,
            access_log=None,
            keepalive_timeout=IDLE_LIMIT,
            lingering_time=LINGER,
        )

    return make


def _plain_answer(status: HTTPStatus, message: str) -> bytes:
    """A whole answer where there is no request, and so nothing of aiohttp's to send it."""
    body = encode({"message": message, "status": int(status)})
    head = (
        f"HTTP/1.1 {status:d} {status.phrase}",
        f"Server: {SERVER}",
        f"Content-Type: {JSON}",
        f"Content-Length: {len(body)}",
        "Connection: close",
    )
    return "\r\n".join([*head, "", ""]).encode() + body
