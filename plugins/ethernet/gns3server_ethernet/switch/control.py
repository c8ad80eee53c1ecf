"""The unix socket by which the server controls the program.

JSON objects, one a line, as between the server and its own helpers: a greeting, calls with their
answers, and events for each connection that has called ``listen``.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Callable, Mapping
from typing import Any

from gns3server_ethernet.switch.loop import Lines, Loop

KIND = "ethernet"
PROTOCOL = 1

MOST_CONNECTIONS = 16
LONGEST = 1024 * 1024
"""Bytes of a call: 128 ports and their wires take 30,000."""

Handler = Callable[[Mapping[str, Any]], Any]
"""Carries out a call, and returns what is answered; a ``ValueError`` is told to the caller."""


class Control:
    """The socket, and who is connected to it.

    :param path: where it listens.
    :param handlers: its calls by name.
    """

    def __init__(self, loop: Loop, path: str, handlers: Mapping[str, Handler]) -> None:
        self._loop = loop
        self._handlers = handlers
        self._callers: set[Caller] = set()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.setblocking(False)
        self._socket.bind(path)
        os.chmod(path, 0o600)
        self._socket.listen(MOST_CONNECTIONS)
        loop.add(self._socket.fileno(), self._accept)

    def tell(self, event: str, values: Mapping[str, Any]) -> None:
        """Tell everybody who listens what has happened."""
        for caller in [each for each in self._callers if each.listening]:
            caller.send({"event": event, "with": values})

    def carry_out(self, name: object, values: Mapping[str, Any]) -> dict[str, Any]:
        """Carry out a call; returns what is answered."""
        handler = self._handlers.get(str(name))
        if handler is None:
            return {"error": f"there is no call {name!r}"}
        try:
            return {"result": handler(values)}
        except ValueError as error:
            return {"error": str(error)}

    def lost(self, caller: Caller) -> None:
        """Forget a connection that has ended."""
        self._callers.discard(caller)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            connection, _ = self._socket.accept()
            if len(self._callers) >= MOST_CONNECTIONS:
                connection.close()
                return
            connection.setblocking(False)
            self._callers.add(Caller(self._loop, connection.detach(), self))


class Caller:
    """A connection of a server."""

    def __init__(self, loop: Loop, descriptor: int, control: Control) -> None:
        self.listening = False
        self._control = control
        self._lines = Lines(
            loop,
            descriptor,
            take=self._take,
            ended=lambda: control.lost(self),
            longest=LONGEST,
        )
        self.send({"protocol": PROTOCOL, "kind": KIND, "pid": os.getpid()})

    def send(self, message: Mapping[str, Any]) -> None:
        """Send an object."""
        self._lines.write(json.dumps(message).encode() + b"\n")

    def _take(self, line: bytes) -> None:
        try:
            message = json.loads(line)
            name, number = message["call"], message["id"]
            values = dict(message.get("with") or {})
        except (ValueError, TypeError, KeyError, AttributeError):
            # It is no server of ours: there is nobody to tell.
            self._lines.close()
            return
        if name == "listen":
            self.listening = True
        answer = {"result": None} if name == "listen" else self._control.carry_out(name, values)
        self.send({"id": number, **answer})
