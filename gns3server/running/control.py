"""How the server talks to a helper: a process of its own that outlives it.

A helper listens on a unix socket that only the server's user can reach. Both sides send JSON
objects, one a line. The helper begins::

    {"protocol": 1, "kind": "consoles", "pid": 4711}

The server calls, and the helper answers in any order::

    {"call": "state", "id": 7, "with": {...}}
    {"id": 7, "result": {...}}     or     {"id": 7, "error": "what went wrong"}

A helper also tells what happens, to each connection that has called ``listen``::

    {"event": "ended", "with": {...}}

Descriptors travel with the first byte of the call that needs them. A call can turn its connection
into something else: after the answer (and no answer of another call can be under way) its bytes
are a :class:`Takeover`'s.

What a helper shall do is told by one call, ``state``, that names all of it: whatever is missing
there is given up. So a server that was killed and started again needs to know nothing of what its
predecessor has said.

This is the helper's end; the server's is :mod:`gns3server.running.helper_client`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from gns3server.running.outgoing import Outgoing

MAX_LINE = 16 * 1024 * 1024
"""The longest line, in bytes: far more than the state of the largest lab."""

MAX_DESCRIPTORS = 4
"""How many descriptors one call may bring."""

MAX_UNTAKEN = 16
"""How many descriptors may have come that no call has taken."""

MAX_UNSENT = 2 * MAX_LINE
"""How many bytes may wait for a caller that does not read; one that lets more wait is dropped."""

PAUSE_SECONDS = 1.0
"""How long nobody is taken after there was no descriptor left for one."""

Handler = Callable[["Caller", Mapping[str, Any]], Awaitable[Any]]
"""Carries out a call and returns what is answered, JSON types only, or a :class:`Takeover`.

A ``ValueError`` or ``OSError`` that it raises is told to the caller, who goes on.
"""


@dataclass(frozen=True, slots=True)
class Takeover:
    """The answer to a call whose connection is no longer for calls.

    :param answer: what is answered.
    :param carry_on: has the connection to itself from then on; it is closed when this returns.
    """

    answer: Any
    carry_on: Callable[[Caller], Awaitable[None]]


class Caller:
    """A connection to a helper, as the helper sees it.

    :param connection: non-blocking.
    :param control: the socket that it came in by.
    """

    def __init__(self, connection: socket.socket, control: ControlServer) -> None:
        self.connection = connection
        self.listening = False
        self._control = control
        self._descriptors: deque[int] = deque()
        self._received = bytearray()
        self._outgoing = Outgoing(connection.fileno(), self.close, self._lighter)
        self._sent = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def unsent(self) -> int:
        """How many bytes wait for it to read."""
        return self._outgoing.size

    def take_descriptor(self) -> int:
        """Take the next descriptor that came along; it is the taker's to close.

        :raises ValueError: there is none.
        """
        if not self._descriptors:
            raise ValueError("no descriptor came with this call")
        return self._descriptors.popleft()

    def send(self, message: Mapping[str, Any]) -> None:
        """Send an object; a caller that has gone gets none. Nobody waits for one that is slow."""
        self.write(json.dumps(message).encode() + b"\n")

    def write(self, data: bytes) -> None:
        """Send bytes that are no object: for a :class:`Takeover`."""
        self._outgoing.write(data)
        if self._outgoing.size > MAX_UNSENT:
            self.close()

    async def read(self, most: int = 65536) -> bytes:
        """Read bytes that are not a call: for a :class:`Takeover`.

        :returns: nothing at the end.
        """
        if self._received:
            data = bytes(self._received[:most])
            del self._received[:most]
            return data
        return await self._receive(most)

    async def flush(self) -> None:
        """Wait until it has been sent everything."""
        while self._outgoing.size:
            self._sent.clear()
            await self._sent.wait()

    def serve(self) -> None:
        """Begin to carry out its calls, one after the other."""
        self._task = asyncio.create_task(self._serve())

    def close(self) -> None:
        """Hang up."""
        if self._task is not None:
            self._task.cancel()

    def _lighter(self) -> None:
        self._sent.set()

    async def _serve(self) -> None:
        try:
            self.send(self._control.greeting)
            while line := await self._line():
                await self._carry_out(_object(line))
        except (OSError, ValueError, RecursionError):
            # It has gone, or it is no server of ours: there is nobody to tell.
            pass
        finally:
            self._outgoing.close()
            self._control.lost(self)
            self.connection.close()
            for descriptor in self._descriptors:
                os.close(descriptor)

    async def _carry_out(self, message: Mapping[str, Any]) -> None:
        answer = await self._answer(message)
        if isinstance(answer, Takeover):
            self.send({"id": message.get("id"), "result": answer.answer})
            await answer.carry_on(self)
            raise ConnectionAbortedError
        self.send({"id": message.get("id"), **answer})

    async def _answer(self, message: Mapping[str, Any]) -> Mapping[str, Any] | Takeover:
        name, what = str(message.get("call")), message.get("with") or {}
        handler = self._control.handlers.get(name)
        if name == "listen":
            self.listening = True
            return {"result": None}
        if handler is None:
            return {"error": f"there is no call {name!r}"}
        if not isinstance(what, dict):
            return {"error": "what a call is to be done with must be an object"}
        try:
            result = await handler(self, what)
        except (OSError, ValueError) as error:
            return {"error": str(error)}
        except Exception as error:
            # A helper holds what a lab lives on: no call may end it, not even by a fault in it.
            return {"error": f"the call {name!r} has failed: {error!r}"}
        return result if isinstance(result, Takeover) else {"result": result}

    async def _line(self) -> bytes:
        searched = 0
        while (end := self._received.find(b"\n", searched)) < 0:
            searched = len(self._received)
            data = await self._receive(65536)
            if not data:
                return b""
            self._received += data
            if len(self._received) > MAX_LINE:
                raise ValueError("a line is too long")
        line = bytes(self._received[: end + 1])
        del self._received[: end + 1]
        return line

    async def _receive(self, most: int) -> bytes:
        """Read what is there, with the descriptors that come along.

        :raises ValueError: more descriptors came than any call would take.
        """
        while True:
            try:
                data, descriptors, _, _ = socket.recv_fds(
                    self.connection, most, MAX_DESCRIPTORS, socket.MSG_CMSG_CLOEXEC
                )
            except BlockingIOError:
                await _readable(self.connection)
                continue
            self._descriptors.extend(descriptors)
            if len(self._descriptors) > MAX_UNTAKEN:
                raise ValueError("too many descriptors came")
            return data


class ControlServer:
    """The socket by which a helper is controlled, at the helper's end.

    :param path: where it listens.
    :param kind: what the helper is.
    :param protocol: the version of its calls; a server that knows another one replaces it.
    :param handlers: its calls by name.
    :param ended: called after each connection that has ended.
    """

    def __init__(
        self,
        path: str,
        *,
        kind: str,
        protocol: int,
        handlers: Mapping[str, Handler],
        ended: Callable[[], None] = lambda: None,
    ) -> None:
        self.handlers = handlers
        self.greeting = {"protocol": protocol, "kind": kind, "pid": os.getpid()}
        self._callers: set[Caller] = set()
        self._ended = ended
        self._path = path
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.setblocking(False)

    def listen(self) -> None:
        """Take calls from now on. To be called on the loop.

        :raises OSError: the path cannot be used.
        """
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._path)
        former = os.umask(0o177)
        try:
            self._socket.bind(self._path)
        finally:
            os.umask(former)
        self._socket.listen(64)
        self._take_calls()

    def _take_calls(self) -> None:
        if self._socket.fileno() >= 0:
            asyncio.get_running_loop().add_reader(self._socket, self._accept)

    def close(self) -> None:
        """Take no more calls, and remove the socket. Idempotent."""
        if self._socket.fileno() < 0:
            return
        asyncio.get_running_loop().remove_reader(self._socket)
        self._socket.close()
        with contextlib.suppress(OSError):
            os.unlink(self._path)
        for caller in list(self._callers):
            caller.close()

    @property
    def callers(self) -> int:
        """How many are connected."""
        return len(self._callers)

    def tell(self, event: str, what: Mapping[str, Any]) -> None:
        """Tell everybody who listens what has happened."""
        for caller in [each for each in self._callers if each.listening]:
            caller.send({"event": event, "with": what})

    def lost(self, caller: Caller) -> None:
        """Forget a connection that has ended."""
        self._callers.discard(caller)
        self._ended()

    def _accept(self) -> None:
        try:
            connection, _ = self._socket.accept()
        except (BlockingIOError, ConnectionError):
            return
        except OSError:
            # No descriptor is left: who waits goes on waiting, without being looked at.
            loop = asyncio.get_running_loop()
            loop.remove_reader(self._socket)
            loop.call_later(PAUSE_SECONDS, self._take_calls)
            return
        connection.setblocking(False)
        caller = Caller(connection, self)
        self._callers.add(caller)
        caller.serve()


def _object(line: bytes) -> Mapping[str, Any]:
    """What a line says.

    :raises ValueError: it is no JSON object.
    """
    message = json.loads(line)
    if not isinstance(message, dict):
        raise ValueError("it is no object")
    return message


async def _readable(connection: socket.socket) -> None:
    loop, descriptor = asyncio.get_running_loop(), connection.fileno()
    ready = asyncio.Event()
    # Not by the socket: the loop would ask the kernel twice to describe it, for an error's text.
    loop.add_reader(descriptor, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(descriptor)
