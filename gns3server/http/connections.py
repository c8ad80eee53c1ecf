"""What this server adds to aiohttp's connections: limits in time.

aiohttp allows as long for a head as for the next request, and waits forever for a client that
does not read.
"""

from __future__ import annotations

import asyncio
import logging
import re
import sys
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from aiohttp import StreamReader, web
from aiohttp.http import HttpProcessingError
from aiohttp.http_exceptions import InvalidURLError, LineTooLong

from gns3server import __version__
from gns3server.errors import RequestTimeout
from gns3server.http.encoding import encode
from gns3server.http.routing import JSON

log = logging.getLogger(__name__)

SERVER = f"Python/{sys.version_info.major}.{sys.version_info.minor} GNS3/{__version__}"
"""The header ``Server`` (HTTP-12)."""

HEAD_LIMIT = 30.0
"""Seconds that the head of a request may take to arrive; from the opening of a new connection."""

IDLE_LIMIT = 3600.0
"""Seconds between two requests of a connection. Long, because clients rely on keeping it."""

LINGER = 2.0
"""Seconds for which the rest of a refused body is read, so that its client gets the answer."""

STALL_LIMIT = 300.0
"""Seconds after which a client that reads nothing although something is ready for it is cut off."""

ADDRESS_LIMIT = 16384
"""Bytes of a request's address. A path of Linux has up to 4095, three times that when escaped: each
file of a project that is listed can be asked for."""

HEADER_LIMIT = 8190
"""Bytes of one header."""

QUOTED = re.compile(r":? *(?:b['\"]|bytearray\().*")
"""What aiohttp quotes of a request, as Python writes bytes."""

TWO_SPACES = (
    "This cannot be read as an HTTP/1.0 or HTTP/1.1 request: there are two spaces in a row in its "
    "first line."
)

LATE = (
    f"The head of the request did not arrive within {HEAD_LIMIT:.0f} seconds: connect again and "
    "send it in one go."
)


class Connection(web.RequestHandler):
    """aiohttp's connection, with the limits in time that it lacks.

    One timer per connection looks at a clock now and then: a request costs no timer.

    :param authenticated: called once a request has come on it whose caller may call.
    """

    def __init__(
        self, manager: web.Server, *, authenticated: Callable[[Connection], object]
    ) -> None:
        loop = asyncio.get_running_loop()
        super().__init__(
            manager,
            loop=loop,
            access_log=None,  # type: ignore[arg-type]  # it logs nothing then
            keepalive_timeout=IDLE_LIMIT,
            lingering_time=LINGER,
            max_line_size=ADDRESS_LIMIT,
            max_field_size=HEADER_LIMIT,
            # See unpacking: what is refused is not unpacked.
            auto_decompress=False,
        )
        self._on_authentication = authenticated
        self._answering = False
        self._line = b""
        self.authenticated = False
        """Whether a request has come on it whose caller may call."""
        self._body: StreamReader | None = None
        self._given_up = False
        self._head_due: float | None = None
        self._head_seen = False
        self._head_timer: asyncio.Handle | None = None
        self._stall_timer: asyncio.TimerHandle | None = None
        self._time = loop.time
        self.lost: asyncio.Future[None] = loop.create_future()
        """Done once the connection is gone."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to wait for the first request."""
        super().connection_made(transport)
        self._await_head()

    def data_received(self, data: bytes) -> None:
        """Take in data: if no request is under way, it begins the head of one."""
        between = not self._answering and (self._body is None or self._body.is_eof())
        if not between:
            # The beginning of the next head may be in it.
            self._line = b"\n"
        elif data and not self._is_first_line_fine(data):
            self._give_up(HTTPStatus.BAD_REQUEST, TWO_SPACES)
            return
        super().data_received(data)
        if between and data:
            self._head_seen = True
            if self._head_due is None:
                self._await_head()

    def _is_first_line_fine(self, data: bytes) -> bool:
        """Look for what the parser overlooks in the first line of a head, and proxies do not."""
        if b"\n" in self._line:
            return True
        # Blank lines before it do not count.
        self._line = (self._line + data[: ADDRESS_LIMIT + HEADER_LIMIT]).lstrip(b"\r\n")
        self._line = self._line[: ADDRESS_LIMIT + HEADER_LIMIT]
        return b"  " not in self._line.partition(b"\n")[0]

    def _give_up(self, status: HTTPStatus, message: str) -> None:
        """Say why no request is read any more, and hang up."""
        if self.transport is not None:
            self.transport.write(plain_answer(status, message))
        self._given_up = True
        self.force_close()

    def note_authentication(self) -> None:
        """Note that a request has come on it whose caller may call."""
        if not self.authenticated:
            self.authenticated = True
            self._on_authentication(self)

    def begin(self, request: web.Request) -> None:
        """Note that a whole head has arrived.

        :raises RequestTimeout: the client has just been told that it is too late.
        """
        if self._given_up:
            raise RequestTimeout(LATE)
        self._head_due = None
        self._head_seen = False
        self._line = b""
        self._answering = True
        self._body = request.content

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Send the answer; after that and the rest of the body, another head comes."""
        try:
            return await super().finish_response(request, resp, start_time)
        finally:
            self._answering = False

    def connection_lost(self, exc: BaseException | None) -> None:
        """Forget the timers, and tell those who wait for the end."""
        if not self.lost.done():
            self.lost.set_result(None)
        for timer in (self._head_timer, self._stall_timer):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """Begin to watch whether the client, which reads too slowly, reads at all."""
        super().pause_writing()
        self._watch_reader()

    def resume_writing(self) -> None:
        """Stop watching: the client has read."""
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
        """Answer what is not HTTP, in the form of all errors.

        The log keeps none of it: beside a wrong character, there may be a password.
        """
        if not isinstance(exc, HttpProcessingError):
            return super().handle_error(request, status, exc, message)
        log.info("%s sent what is not an HTTP/1 request: %s", request.remote, type(exc).__name__)
        response = web.Response(
            status=status,
            body=_error(status, _unreadable(exc)),
            headers={"Server": SERVER, "Content-Type": JSON},
        )
        response.force_close()
        return response

    def log_exception(self, *args: Any, **options: Any) -> None:
        """Log what went wrong, unless that is the rest of a body that was refused already."""
        if not isinstance(options.get("exc_info"), web.RequestPayloadError):
            super().log_exception(*args, **options)

    def _await_head(self) -> None:
        # For each request: to ask for the running loop takes a system call.
        self._head_due = self._time() + HEAD_LIMIT
        if self._head_timer is None:
            loop = asyncio.get_running_loop()
            self._head_timer = loop.call_at(self._head_due, self._check_head)

    def _check_head(self, turns: int = 2) -> None:
        self._head_timer = None
        if self._head_due is None or self.transport is None:
            return
        loop = asyncio.get_running_loop()
        if self._head_due > loop.time():
            self._head_timer = loop.call_at(self._head_due, self._check_head)
        elif turns:
            # A head that is complete only now reaches its handler within two turns of the loop.
            self._head_timer = loop.call_soon(self._check_head, turns - 1)
        elif self._head_seen:
            self._give_up(HTTPStatus.REQUEST_TIMEOUT, LATE)
        else:
            self._given_up = True
            self.force_close()

    def _watch_reader(self, waiting: int | None = None) -> None:
        """Cut the client off if it has read nothing since ``waiting`` bytes were waiting for it."""
        transport = self.transport
        if transport is None:
            return
        now = transport.get_write_buffer_size()
        if waiting is not None and now >= waiting:
            log.info("a client was cut off: it has read nothing for %.0f seconds", STALL_LIMIT)
            transport.abort()
            return
        loop = asyncio.get_running_loop()
        self._stall_timer = loop.call_later(STALL_LIMIT, self._watch_reader, now)


def _unreadable(error: HttpProcessingError) -> str:
    """What people are told of a head that cannot be read, without what it holds."""
    if isinstance(error, LineTooLong):
        if error.args[1] == ADDRESS_LIMIT:
            return f"The address of the request is longer than {ADDRESS_LIMIT} bytes: shorten it."
        return f"A header of the request is longer than {HEADER_LIMIT} bytes: shorten it."
    reason = "Invalid address"
    if not isinstance(error, InvalidURLError):
        # What aiohttp calls so is the first line of an answer.
        said = error.message.removeprefix("Bad status line:").strip()
        reason = QUOTED.sub("", said.partition("\n")[0]).rstrip(":.")
    return f"This cannot be read as an HTTP/1.0 or HTTP/1.1 request: {reason}."


def _error(status: int, message: str) -> bytes:
    return encode({"message": message, "status": status})


def plain_answer(status: HTTPStatus, message: str) -> bytes:
    """A whole answer for when there is no request, and so no object of aiohttp's to send it."""
    body = _error(status, message)
    head = (
        f"HTTP/1.1 {status:d} {status.phrase}",
        f"Server: {SERVER}",
        f"Content-Type: {JSON}",
        f"Content-Length: {len(body)}",
        "Connection: close",
    )
    return "\r\n".join([*head, "", ""]).encode() + body
