"""The loop that accepts connections, and no more of them than the server can have.

asyncio has such a loop, which accepts until no file descriptor is left for anything else. While TLS
is being set up, it knows the connection alone: nobody else could count it, or cut it off to make
room, or hear that it has failed.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import resource
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from http import HTTPStatus

from aiohttp import web

from gns3server.errors import advice
from gns3server.http.connections import Connection, plain_answer

log = logging.getLogger(__name__)

WAITING_CONNECTIONS = 1024
"""Connections that may wait in the kernel to be accepted."""

MOST_UNAUTHENTICATED = 256
"""Connections on which nobody has shown the password yet, if one is asked for."""

HANDSHAKE_LIMIT = 30.0
"""Seconds that TLS may take to be set up."""

ACCEPT_AGAIN = 1.0
"""Seconds after which it is tried again to accept connections, when that was not possible."""

FULL = (
    "As many connections are open as this server can have: close some, or raise the limit of its "
    "open files (ulimit -n)."
)

UNBOUND = {
    errno.EADDRINUSE: "Stop what uses the port, or choose another one: --port NUMBER",
    errno.EADDRNOTAVAIL: "Give an address that this machine has: --host 127.0.0.1",
    errno.EACCES: "Choose a port from 1024 on: --port NUMBER",
}
"""What to type if an address cannot be bound, by the kernel's error number."""


class Acceptor:
    """Takes the connections of one server, and no more of them than it can have.

    Half of the file descriptors are for connections: if none were left, no node could start
    and no change could get to the disk. A connection counts from the moment it is accepted.

    :param asks: tells whether a login is required. Then only a few connections may be without one:
        of too many, the oldest is cut off.
    """

    def __init__(
        self, manager: web.Server, tls: ssl.SSLContext | None, asks: Callable[[], bool]
    ) -> None:
        self._manager = manager
        self._tls = tls
        self._asks = asks
        self._limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2
        self._most_unauthenticated = min(MOST_UNAUTHENTICATED, self._limit // 2)
        self._short = False
        self._unauthenticated: dict[Connection, None] = {}
        self._arriving: dict[Connection, asyncio.Task[None]] = {}

    async def accept(self, listener: socket.socket) -> None:
        """Accept connections for ever."""
        loop = asyncio.get_running_loop()
        while True:
            # While others wait to be accepted, the next line does not: all else has its turn here.
            # And a task that was cancelled before its first step would never clean up.
            await asyncio.sleep(0)
            try:
                accepted, _ = await loop.sock_accept(listener)
            except ConnectionAbortedError:
                continue
            except OSError as error:
                self._no_more(error)
                await asyncio.sleep(ACCEPT_AGAIN)
                continue
            self._short = False
            if len(self._manager.connections) + len(self._arriving) >= self._limit:
                self._refuse(accepted)
                continue
            connection = Connection(self._manager, authenticated=self._forget)
            self._arriving[connection] = loop.create_task(self._take_in(connection, accepted))
            self._unauthenticated[connection] = None
            if len(self._unauthenticated) > self._most_unauthenticated and self._asks():
                self._cut_off(next(iter(self._unauthenticated)))

    def close(self) -> None:
        """Give up the connections that are still being set up."""
        for task in self._arriving.values():
            task.cancel()

    async def _take_in(self, connection: Connection, accepted: socket.socket) -> None:
        """Set up a connection, with TLS if that is wanted."""
        loop, limit = asyncio.get_running_loop(), HANDSHAKE_LIMIT if self._tls else None
        try:
            # A handshake that fails is the client's matter.
            with suppress(OSError):
                await loop.connect_accepted_socket(
                    lambda: connection, accepted, ssl=self._tls, ssl_handshake_timeout=limit
                )
        finally:
            del self._arriving[connection]
            if connection.transport is None:
                self._forget(connection)
            else:
                connection.lost.add_done_callback(lambda _: self._forget(connection))

    def _cut_off(self, connection: Connection) -> None:
        self._forget(connection)
        if connection in self._arriving:
            self._arriving[connection].cancel()
        elif connection.transport is not None:
            connection.transport.abort()

    def _forget(self, connection: Connection) -> None:
        self._unauthenticated.pop(connection, None)

    def _refuse(self, accepted: socket.socket) -> None:
        """Say that there is no room, where that can be said at once, and hang up."""
        with accepted, suppress(OSError):
            if self._tls is None:
                accepted.send(plain_answer(HTTPStatus.SERVICE_UNAVAILABLE, FULL))

    def _no_more(self, error: OSError) -> None:
        """Log once that no connection can be accepted; it is tried again every second."""
        if not self._short:
            self._short = True
            log.error(
                "new connections have to wait, open ones go on: %s",
                advice(error) or error,
            )


@asynccontextmanager
async def accepting(
    manager: web.Server,
    host: str,
    port: int,
    tls: ssl.SSLContext | None,
    asks: Callable[[], bool],
) -> AsyncIterator[tuple[str, int]]:
    """Accept connections while the context lasts, on every address that a host name has.

    Yields the first address, and its port.

    :param asks: tells whether a login is required.
    :raises OSError: one cannot be bound; the text says which.
    """
    loop, acceptor = asyncio.get_running_loop(), Acceptor(manager, tls, asks)
    try:
        bound = await loop.create_server(asyncio.Protocol, host, port, start_serving=False)
    except OSError as error:
        raise OSError(
            f"it cannot listen on {host or 'all addresses'}, port {port}: {why_unbound(error)}"
        ) from error
    # What asyncio has bound, it lets only its own loop accept from.
    listeners = [each.dup() for each in bound.sockets]
    tasks = [loop.create_task(acceptor.accept(each)) for each in listeners]
    try:
        for each in listeners:
            each.setblocking(False)
            each.listen(WAITING_CONNECTIONS)
        address, number, *_ = listeners[0].getsockname()
        yield address, number
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        for each in listeners:
            each.close()
        bound.close()
        acceptor.close()


def why_unbound(error: OSError) -> str:
    """Why an address cannot be bound, and what to type."""
    if isinstance(error, socket.gaierror):
        return f"this name is not known ({error.strerror}). Give an address: --host 127.0.0.1"
    # From Python 3.13 on, asyncio passes over addresses that the machine does not have, and raises
    # an error without a number if there is no other.
    number = error.errno or errno.EADDRNOTAVAIL
    return f"{os.strerror(number)}. {UNBOUND.get(number, 'Choose another one: --host, --port')}"
