"""The TCP port that a console is served on."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

BACKLOG = 16
ACCEPTS = 16
"""How many connections are taken in one turn."""

PAUSE_SECONDS = 1.0
"""How long nobody is taken after there was no descriptor left for one."""

_ABSENT = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL)


class ListeningPort:
    """Sockets that listen on the addresses of a host.

    :param taken: called with each connection, which is non-blocking.
    """

    def __init__(self, sockets: list[socket.socket], taken: Callable[[socket.socket], None]):
        self._sockets = sockets
        self._taken = taken
        self._loop = asyncio.get_running_loop()
        for each in sockets:
            self._listen(each)

    @classmethod
    async def open(
        cls, host: str, port: int, taken: Callable[[socket.socket], None], deadline: float
    ) -> ListeningPort:
        """Bind a port on all addresses of a host, and listen.

        :param deadline: until when the host's addresses are waited for, as a time of the loop's
            clock.
        :raises OSError: it cannot be bound.
        """
        try:
            async with asyncio.timeout_at(deadline):
                found = await _addresses(host, port)
        except TimeoutError:
            raise OSError(0, "its addresses were not found in time") from None
        sockets: list[socket.socket] = []
        absent: OSError | None = None
        try:
            for family, _, _, _, address in dict.fromkeys(found):
                try:
                    sockets.append(_bound(family, address))
                except OSError as error:
                    # "localhost" has two addresses even where there is no IPv6.
                    if error.errno not in _ABSENT:
                        raise
                    absent = error
            if absent and not sockets:
                raise absent
        except OSError:
            for each in sockets:
                each.close()
            raise
        return cls(sockets, taken)

    def close(self) -> None:
        """Listen no more; who is connected stays so."""
        for each in self._sockets:
            self._loop.remove_reader(each.fileno())
            each.close()
        self._sockets.clear()

    def _listen(self, listening: socket.socket) -> None:
        if listening in self._sockets:
            self._loop.add_reader(listening.fileno(), self._accept, listening)

    def _accept(self, listening: socket.socket) -> None:
        for _ in range(ACCEPTS):
            try:
                connection, _ = listening.accept()
            except (BlockingIOError, ConnectionError):
                return
            except OSError:
                # No descriptor is left: who waits goes on waiting, without being looked at.
                self._loop.remove_reader(listening.fileno())
                self._loop.call_later(PAUSE_SECONDS, self._listen, listening)
                return
            connection.setblocking(False)
            self._taken(connection)


async def _addresses(host: str, port: int) -> Sequence[tuple[int, int, int, str, Any]]:
    """Where to bind a port of a host; a name is looked up in a thread, which nothing else needs.

    :raises OSError: there is no such host.
    """
    kind, flags = socket.SOCK_STREAM, socket.AI_PASSIVE
    with suppress(socket.gaierror):
        return socket.getaddrinfo(host, port, type=kind, flags=flags | socket.AI_NUMERICHOST)
    return await asyncio.get_running_loop().getaddrinfo(host, port, type=kind, flags=flags)


def _bound(family: int, address: tuple[object, ...]) -> socket.socket:
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setblocking(False)
        # What is left of connections of a moment ago must not be in the way.
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listening.bind(address)
        listening.listen(BACKLOG)
    except OSError:
        listening.close()
        raise
    return listening
