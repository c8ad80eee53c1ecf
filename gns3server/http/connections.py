"""What this server adds to aiohttp's connections: limits in time, and a limit to how many.

aiohttp waits as long for a head as for the next request, and without end for a client that
does not read. asyncio accepts connections until no file descriptor is left for anything else.
"""

from __future__ import annotations

import asyncio
import logging
import re
import resource
import ssl
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from http import HTTPStatus
from typing import Any

from aiohttp import StreamReader, web
from aiohttp.http import HttpProcessingError
from aiohttp.http_exceptions import InvalidURLError, LineTooLong

from gns3server import __version__
from gns3server.errors import RequestTimeout, advice
from gns3server.http.encoding import encode
from gns3server.http.routing import JSON

log = logging.getLogger(__name__)

SERVER = f"Python/{sys.version_info.major}.{sys.version_info.minor} GNS3/{__version__}"
"""The header ``Server`` (HTTP-12)."""

HEAD_LIMIT = 30.0
"""Seconds that the head of a request may take to arrive, on a new connection from its opening."""

IDLE_LIMIT = 3600.0
"""Seconds between two requests of a connection. Long: a client that has one counts on it."""

LINGER = 2.0
"""Seconds for which the rest of a refused body is taken in, so that its client reads the answer."""

STALL_LIMIT = 300.0
"""Seconds after which a client that reads nothing of what is ready for it is cut off."""

ADDRESS_LIMIT = 16384
"""Bytes of a request's address. A path of Linux has up to 4095, three times that when escaped: each
file of a project that is listed can be asked for."""

HEADER_LIMIT = 8190
"""Bytes of one header."""

WAITING_CONNECTIONS = 1024
"""Connections that may wait in the kernel to be accepted."""

QUOTED = re.compile(r":? *(?:b['\"]|bytearray\().*")
"""What aiohttp quotes of a request, as Python writes bytes."""

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

    def __init__(self, manager: web.Server, **options: Any) -> None:
        super().__init__(manager, **options)
        self._answering = False
        self._body: StreamReader | None = None
        self._given_up = False
        self._head_due: float | None = None
        self._head_seen = False
        self._head_timer: asyncio.Handle | None = None
        self._stall_timer: asyncio.TimerHandle | None = None
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done once the connection is gone."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to wait for the first request."""
        super().connection_made(transport)
        self._await_head()

    def data_received(self, data: bytes) -> None:
        """Take in what came: if no request is under way, the head of one has begun."""
        between = not self._answering and (self._body is None or self._body.is_eof())
        super().data_received(data)
        if between and data:
            self._head_seen = True
            if self._head_due is None:
                self._await_head()

    def begin(self, request: web.Request) -> None:
        """A whole head is there.

        :raises RequestTimeout: the client has just been told that it is too late.
        """
        if self._given_up:
            raise RequestTimeout(LATE)
        self._head_due = None
        self._head_seen = False
        self._answering = True
        self._body = request.content

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Send the answer; what comes after it and the rest of the body is another head."""
        try:
            return await super().finish_response(request, resp, start_time)
        finally:
            self._answering = False

    def connection_lost(self, exc: BaseException | None) -> None:
        """Forget the timers, and tell who waits for it."""
        if not self.lost.done():
            self.lost.set_result(None)
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
        response = web.Response(
            status=status,
            body=_error(status, _unreadable(exc)),
            headers={"Server": SERVER, "Content-Type": JSON},
        )
        response.force_close()
        return response

    def log_exception(self, *args: Any, **options: Any) -> None:
        """Log what went wrong, unless it is the rest of a body that was refused already."""
        if not isinstance(options.get("exc_info"), web.RequestPayloadError):
            super().log_exception(*args, **options)

    def _await_head(self) -> None:
        loop = asyncio.get_running_loop()
        self._head_due = loop.time() + HEAD_LIMIT
        if self._head_timer is None:
            self._head_timer = loop.call_at(self._head_due, self._check_head)

    def _check_head(self, turns: int = 2) -> None:
        self._head_timer = None
        if self._head_due is None or self.transport is None:
            return
        loop = asyncio.get_running_loop()
        if self._head_due > loop.time():
            self._head_timer = loop.call_at(self._head_due, self._check_head)
        elif turns:
            # A head that has just come whole is with its handler after two turns of the loop.
            self._head_timer = loop.call_soon(self._check_head, turns - 1)
        else:
            if self._head_seen:
                self.transport.write(_plain_answer(HTTPStatus.REQUEST_TIMEOUT, LATE))
            self._given_up = True
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
        loop = asyncio.get_running_loop()
        self._stall_timer = loop.call_later(STALL_LIMIT, self._watch_reader, now)


class Refusal(asyncio.Protocol):
    """A connection too many."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Say so, and hang up."""
        if isinstance(transport, asyncio.Transport):
            transport.write(_plain_answer(HTTPStatus.SERVICE_UNAVAILABLE, FULL))
        transport.close()


class Acceptor:
    """Makes a protocol for each connection that asyncio has accepted.

    Half of the file descriptors are for connections: were there none left, neither would
    a node start nor a change get to the disk.
    """

    def __init__(self, manager: web.Server) -> None:
        self._manager = manager
        self._limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2
        self._short = False

    def __call__(self) -> asyncio.Protocol:
        """A protocol for one more."""
        self._short = False
        if len(self._manager.connections) >= self._limit:
            return Refusal()
        return Connection(
            self._manager,
            loop=asyncio.get_running_loop(),
            access_log=None,
            keepalive_timeout=IDLE_LIMIT,
            lingering_time=LINGER,
            max_line_size=ADDRESS_LIMIT,
            max_field_size=HEADER_LIMIT,
        )

    def no_more(self, error: OSError) -> None:
        """Say once that none can be accepted; asyncio tries again every second."""
        if not self._short:
            self._short = True
            log.error(
                "new connections have to wait, those that are open go on: %s",
                advice(error) or error,
            )


@asynccontextmanager
async def accepting(
    manager: web.Server, host: str, port: int, tls: ssl.SSLContext | None
) -> AsyncIterator[tuple[str, int]]:
    """Accept connections while the context lasts, on every address that a host name has.

    Yields the first of them, and its port.

    :raises OSError: one cannot be bound; the text says which.
    """
    loop, acceptor = asyncio.get_running_loop(), Acceptor(manager)
    try:
        # One is accepted a turn of the loop: it counts when the next ones come. And without
        # file descriptors asyncio tries once a second, not more and more often.
        listener = await loop.create_server(acceptor, host, port, ssl=tls, backlog=1)
    except OSError as error:
        raise OSError(
            f"it cannot listen on {host or 'all addresses'}, port {port}: {error}. Stop what "
            "uses the port, or choose another address (host) or port."
        ) from error
    with _errors_told_to(acceptor):
        try:
            for each in listener.sockets:
                # The same number was that of connections which may wait in the kernel.
                with each.dup() as same:
                    same.listen(WAITING_CONNECTIONS)
            address, bound, *_ = listener.sockets[0].getsockname()
            yield address, bound
        finally:
            listener.close()


@contextmanager
def _errors_told_to(acceptor: Acceptor) -> Iterator[None]:
    """Have asyncio tell of connections that it cannot accept; it would log each try."""
    loop = asyncio.get_running_loop()
    usual = loop.get_exception_handler()

    def handle(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if isinstance(error, OSError) and "socket" in context:
            acceptor.no_more(error)
        elif usual is not None:
            usual(loop, context)
        else:
            loop.default_exception_handler(context)

    loop.set_exception_handler(handle)
    try:
        yield
    finally:
        loop.set_exception_handler(usual)


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


def _plain_answer(status: HTTPStatus, message: str) -> bytes:
    """A whole answer where there is no request, and so nothing of aiohttp's to send it."""
    body = _error(status, message)
    head = (
        f"HTTP/1.1 {status:d} {status.phrase}",
        f"Server: {SERVER}",
        f"Content-Type: {JSON}",
        f"Content-Length: {len(body)}",
        "Connection: close",
    )
    return "\r\n".join([*head, "", ""]).encode() + body
