"""Listening: connections are accepted as long as there are file descriptors for them."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable

from gns3server.errors import advice

log = logging.getLogger(__name__)

WAITING_CONNECTIONS = 1024
"""Connections that may wait to be accepted."""

ACCEPTED_AT_ONCE = 32
"""How many of them are before any of these is looked at, and perhaps refused."""

SHORTAGE_SECONDS = 1.0
"""How long connections wait in the kernel when none can be accepted."""


class Listener:
    """Accepts connections on one socket, which is its own from now on.

    asyncio's own server tries as often as connections may wait when one cannot be
    accepted, and logs each try with a traceback.
    """

    def __init__(
        self,
        bound: socket.socket,
        make: Callable[[], asyncio.Protocol],
        tls: ssl.SSLContext | None,
    ) -> None:
        self._socket = bound
        self._make = make
        self._tls = tls
        self._loop = asyncio.get_running_loop()
        self._beginning: set[asyncio.Task[None]] = set()
        self._pause: asyncio.TimerHandle | None = None
        self._short = False
        bound.setblocking(False)
        bound.listen(WAITING_CONNECTIONS)
        self._go_on()

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens."""
        host, port, *_ = self._socket.getsockname()
        return host, port

    async def close(self) -> None:
        """Accept no more; what was accepted goes on, TLS handshakes apart."""
        if self._pause is not None:
            self._pause.cancel()
        self._loop.remove_reader(self._socket)
        self._socket.close()
        for task in self._beginning:
            task.cancel()
        await asyncio.gather(*self._beginning, return_exceptions=True)

    def _go_on(self) -> None:
        self._pause = None
        self._loop.add_reader(self._socket, self._accept)

    def _accept(self) -> None:
        for _ in range(ACCEPTED_AT_ONCE):
            try:
                connection, _ = self._socket.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return
            except OSError as error:
                self._wait(error)
                return
            self._short = False
            connection.setblocking(False)
            task = self._loop.create_task(self._begin(connection))
            self._beginning.add(task)
            task.add_done_callback(self._beginning.discard)

    def _wait(self, error: OSError) -> None:
        self._loop.remove_reader(self._socket)
        self._pause = self._loop.call_later(SHORTAGE_SECONDS, self._go_on)
        if not self._short:
            self._short = True
            log.error(
                "new connections have to wait, those that are open go on: %s",
                advice(error) or error,
            )

    async def _begin(self, connection: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(self._make, connection, ssl=self._tls)
        except OSError as error:
            # It speaks no TLS, or has gone.
            log.debug("a connection could not begin: %s", error)


async def listen(
    make: Callable[[], asyncio.Protocol], host: str, port: int, tls: ssl.SSLContext | None
) -> list[Listener]:
    """Listen on every address that a host name has.

    :raises OSError: one cannot be bound; the text says which.
    """
    try:
        bound = await asyncio.get_running_loop().create_server(
            make, host, port, start_serving=False
        )
    except OSError as error:
        raise OSError(
            f"it cannot listen on {host or 'all addresses'}, port {port}: {error}. Stop what "
            "uses the port, or choose another address (host) or port."
        ) from error
    sockets = [each.dup() for each in bound.sockets]
    bound.close()
    return [Listener(each, make, tls) for each in sockets]
