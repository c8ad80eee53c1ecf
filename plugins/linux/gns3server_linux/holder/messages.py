"""JSON objects, one a line, through a socket: between the two processes, and to the server."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Mapping

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

LONGEST = 1024 * 1024
"""Bytes of a line."""


class Messages:
    """One end of a connection. Nobody is ever waited for who does not read.

    :param connection: ours from now on.
    """

    def __init__(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        self.connection = connection
        self._received = b""

    def send(self, message: Mapping[str, Any]) -> bool:
        """Send an object; tells whether it was taken. If not, the connection is of no more use."""
        data = json.dumps(message).encode() + b"\n"
        try:
            return self.connection.send(data) == len(data)
        except OSError:
            return False

    def receive(self) -> list[dict[str, Any]] | None:
        """What has come; ``None`` once the other end has gone, or is none of ours."""
        try:
            data = self.connection.recv(65536)
        except BlockingIOError:
            return []
        except OSError:
            return None
        *lines, self._received = (self._received + data).split(b"\n")
        if not data or len(self._received) > LONGEST:
            return None
        try:
            return [dict(json.loads(line)) for line in lines]
        except (ValueError, TypeError):
            return None

    def close(self) -> None:
        """Hang up."""
        with contextlib.suppress(OSError):
            self.connection.close()
