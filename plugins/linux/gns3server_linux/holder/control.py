"""The unix socket by which the server controls the program.

JSON objects, one a line, as between the server and its own helpers: a greeting, calls with their
answers, and events for each connection that has called ``listen``.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable, Mapping

from gns3server_linux.holder.loop import Loop
from gns3server_linux.holder.messages import Messages
from gns3server_linux.holder.wanted import KIND, PROTOCOL

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MOST_CONNECTIONS = 16
MOST_KEPT = 100
"""How many events are kept for a server that is not there."""

Handler = Callable[[Mapping[str, "Any"]], "Any"]
"""Carries out a call, and returns what is answered; a ``ValueError`` is told to the caller."""


class Control:
    """The socket, and who is connected to it.

    :param path: where it listens, from :meth:`listen` on.
    :param handlers: its calls by name.
    """

    def __init__(self, loop: Loop, path: str, handlers: Mapping[str, Handler]) -> None:
        self._loop = loop
        self._path = path
        self._handlers = {**handlers}
        self._callers: dict[int, Messages] = {}
        self._listening: set[int] = set()
        self._kept: list[dict[str, Any]] = []
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.setblocking(False)

    def listen(self) -> None:
        """Listen: the program counts as ready.

        :raises OSError: the path cannot be used.
        """
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._path)
        self._socket.bind(self._path)
        os.chmod(self._path, 0o600)
        self._socket.listen(MOST_CONNECTIONS)
        self._loop.add(self._socket.fileno(), self._accept)

    def tell(self, event: str, values: Mapping[str, Any]) -> None:
        """Tell everybody who listens what has happened; the next one, if nobody does."""
        message = {"event": event, "with": dict(values)}
        if self._listening:
            for descriptor in [*self._listening]:
                self._send(descriptor, message)
        else:
            self._kept = [*self._kept, message][-MOST_KEPT:]

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            connection, _ = self._socket.accept()
            if len(self._callers) >= MOST_CONNECTIONS:
                connection.close()
                return
            descriptor = connection.fileno()
            self._callers[descriptor] = Messages(connection)
            self._loop.add(descriptor, lambda: self._read(descriptor))
            self._send(descriptor, {"protocol": PROTOCOL, "kind": KIND, "pid": os.getpid()})

    def _read(self, descriptor: int) -> None:
        messages = self._callers[descriptor].receive()
        if messages is None:
            self._hang_up(descriptor)
            return
        for message in messages:
            if descriptor not in self._callers:
                return
            answer = self._carry_out(descriptor, str(message.get("call")), message.get("with"))
            self._send(descriptor, {"id": message.get("id"), **answer})
            if message.get("call") == "listen":
                kept, self._kept = self._kept, []
                for each in kept:
                    self._send(descriptor, each)

    def _carry_out(self, descriptor: int, name: str, values: Any) -> dict[str, Any]:
        if name == "listen":
            self._listening.add(descriptor)
            return {"result": None}
        handler = self._handlers.get(name)
        if handler is None:
            return {"error": f"there is no call {name!r}"}
        try:
            return {"result": handler(values if isinstance(values, dict) else {})}
        except ValueError as error:
            return {"error": str(error)}

    def _send(self, descriptor: int, message: Mapping[str, Any]) -> None:
        caller = self._callers.get(descriptor)
        if caller is not None and not caller.send(message):
            self._hang_up(descriptor)

    def _hang_up(self, descriptor: int) -> None:
        self._listening.discard(descriptor)
        self._loop.remove(descriptor)
        self._callers.pop(descriptor).close()
