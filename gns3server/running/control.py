"""How the server talks to a helper: a process of its own that outlives it.

A helper listens on a unix socket that only the server's user can reach. Both sides send JSON
objects, one a line. The helper begins::

    {"protocol": 1, "kind": "consoles", "pid": 4711}

The server calls, and the helper answers in any order::

    {"call": "state", "id": 7, "with": {...}}
    {"id": 7, "result": {...}}     or     {"id": 7, "error": "what went wrong"}

A helper also tells what happens, to each connection that has called ``listen``::

    {"event": "ended", "with": {...}}

Descriptors travel with the first byte of the call that needs them. What a helper shall do is told
by one call, ``state``, that names all of it: whatever is missing there is given up. So a server
that was killed and started again needs to know nothing of what its predecessor has said.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

CALL_SECONDS = 2.0
"""How long a helper may take to answer; one that takes longer is replaced."""

MAX_LINE = 16 * 1024 * 1024
"""The longest line, in bytes: far more than the state of the largest lab."""

MAX_DESCRIPTORS = 4
"""How many descriptors one call may bring."""

Handler = Callable[["Caller", Mapping[str, Any]], Awaitable[Any]]
"""Carries out a call and returns what is answered, JSON types only.

A ``ValueError`` or ``OSError`` that it raises is told to the caller, who goes on.
"""


class HelperFailed(Exception):
    """A helper has refused a call, or cannot be talked to any more."""


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
        self._task: asyncio.Task[None] | None = None
        self._writing = asyncio.Lock()

    def take_descriptor(self) -> int:
        """Take the next descriptor that came along; it is the taker's to close.

        :raises ValueError: there is none.
        """
        if not self._descriptors:
            raise ValueError("no descriptor came with this call")
        return self._descriptors.popleft()

    async def send(self, message: Mapping[str, Any]) -> None:
        """Send an object; a caller that has gone gets none."""
        data = json.dumps(message).encode() + b"\n"
        async with self._writing:
            with contextlib.suppress(OSError):
                await asyncio.get_running_loop().sock_sendall(self.connection, data)

    async def read(self, most: int = 65536) -> bytes:
        """Read bytes that are not a call: for a handler that has the connection to itself.

        :returns: nothing at the end.
        """
        if self._received:
            data, self._received = bytes(self._received[:most]), self._received[most:]
            return data
        return await self._receive(most)

    def serve(self) -> None:
        """Begin to carry out its calls, one after the other."""
        self._task = asyncio.create_task(self._serve())

    def close(self) -> None:
        """Hang up."""
        if self._task is not None:
            self._task.cancel()

    async def _serve(self) -> None:
        try:
            await self.send(self._control.greeting)
            while line := await self._line():
                await self._carry_out(json.loads(line))
        except (OSError, ValueError):
            # It has gone, or it is no server of ours: there is nobody to tell.
            pass
        finally:
            self._control.lost(self)
            self.connection.close()
            for descriptor in self._descriptors:
                os.close(descriptor)

    async def _carry_out(self, message: Mapping[str, Any]) -> None:
        name, number = message.get("call"), message.get("id")
        handler = self._control.handlers.get(str(name))
        if name == "listen":
            self.listening = True
            answer: dict[str, Any] = {"result": None}
        elif handler is None:
            answer = {"error": f"there is no call {name!r}"}
        else:
            try:
                answer = {"result": await handler(self, message.get("with") or {})}
            except (OSError, ValueError) as error:
                answer = {"error": str(error)}
        await self.send({"id": number, **answer})

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
        """Read what is there, with the descriptors that come along."""
        while True:
            try:
                data, descriptors, _, _ = socket.recv_fds(self.connection, most, MAX_DESCRIPTORS)
            except BlockingIOError:
                await _readable(self.connection)
                continue
            self._descriptors.extend(descriptors)
            return data


class ControlServer:
    """The socket by which a helper is controlled, at the helper's end.

    :param path: where it listens.
    :param kind: what the helper is.
    :param protocol: the version of its calls; a server that knows another one replaces it.
    :param handlers: its calls by name.
    """

    def __init__(
        self, path: str, *, kind: str, protocol: int, handlers: Mapping[str, Handler]
    ) -> None:
        self.handlers = handlers
        self.greeting = {"protocol": protocol, "kind": kind, "pid": os.getpid()}
        self._callers: set[Caller] = set()
        self._path = path
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.setblocking(False)

    def listen(self) -> None:
        """Take calls from now on. To be called on the loop.

        :raises OSError: the path cannot be used.
        """
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._path)
        self._socket.bind(self._path)
        self._socket.listen(64)
        asyncio.get_running_loop().add_reader(self._socket, self._accept)

    def close(self) -> None:
        """Take no more calls, and remove the socket."""
        asyncio.get_running_loop().remove_reader(self._socket)
        self._socket.close()
        with contextlib.suppress(OSError):
            os.unlink(self._path)
        for caller in list(self._callers):
            caller.close()

    async def tell(self, event: str, what: Mapping[str, Any]) -> None:
        """Tell everybody who listens what has happened."""
        for caller in [each for each in self._callers if each.listening]:
            await caller.send({"event": event, "with": what})

    def lost(self, caller: Caller) -> None:
        """Forget a connection that has ended."""
        self._callers.discard(caller)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            connection, _ = self._socket.accept()
            connection.setblocking(False)
            caller = Caller(connection, self)
            self._callers.add(caller)
            caller.serve()


class HelperClient:
    """A connection to a helper, as the server sees it; made by :meth:`connect`.

    :param greeting: what the helper has said first.
    """

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        greeting: Mapping[str, Any],
    ) -> None:
        self.greeting = greeting
        self.reader = reader
        self.writer = writer
        self._calls: dict[int, asyncio.Future[Any]] = {}
        self._count = 0
        self._task: asyncio.Task[None] | None = None

    @classmethod
    async def connect(
        cls, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, kind: str
    ) -> HelperClient:
        """Find out who is at the other end of a new connection.

        :param kind: what the helper must be.
        :raises HelperFailed: it is something else, or does not say so within two seconds.
        """
        try:
            async with asyncio.timeout(CALL_SECONDS):
                greeting = json.loads(await reader.readline())
            if greeting["kind"] != kind:
                raise ValueError(f"it is of the kind {greeting['kind']!r}")
        except (OSError, ValueError, KeyError, TypeError) as error:
            writer.close()
            raise HelperFailed(f"no {kind} helper answers: {error}") from error
        return cls(reader, writer, greeting)

    def listen(self, told: Callable[[str, Mapping[str, Any]], None], ended: asyncio.Event) -> None:
        """Read answers and events from now on.

        :param told: called with each event and what it says.
        :param ended: set once the connection is lost.
        """
        self._task = asyncio.create_task(self._read(told, ended))

    async def call(self, name: str, what: Mapping[str, Any]) -> Any:
        """Have the helper do something, and return its answer; after :meth:`listen`.

        :raises HelperFailed: it has refused it, has gone, or does not answer within two seconds.
        """
        self._count += 1
        number = self._count
        answer = self._calls[number] = asyncio.get_running_loop().create_future()
        try:
            self.writer.write(json.dumps({"call": name, "id": number, "with": what}).encode())
            self.writer.write(b"\n")
            async with asyncio.timeout(CALL_SECONDS):
                await self.writer.drain()
                return await answer
        except TimeoutError as error:
            raise HelperFailed(f"it has not answered within {CALL_SECONDS:g} s") from error
        except OSError as error:
            raise HelperFailed(f"it is gone: {error}") from error
        finally:
            del self._calls[number]

    def close(self) -> None:
        """Hang up."""
        if self._task is not None:
            self._task.cancel()
        self.writer.close()

    async def _read(
        self, told: Callable[[str, Mapping[str, Any]], None], ended: asyncio.Event
    ) -> None:
        try:
            while line := await self.reader.readline():
                message = json.loads(line)
                if "event" in message:
                    told(message["event"], message["with"])
                elif (answer := self._calls.get(message["id"])) and not answer.done():
                    if "error" in message:
                        answer.set_exception(HelperFailed(message["error"]))
                    else:
                        answer.set_result(message["result"])
        except (OSError, ValueError, KeyError):
            # What cannot be understood is no better than a lost connection.
            pass
        finally:
            ended.set()
            for answer in self._calls.values():
                if not answer.done():
                    answer.set_exception(HelperFailed("it has hung up"))


async def _readable(connection: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_reader(connection, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(connection)
