"""The server's end of a connection to a helper (see :mod:`gns3server.running.control`)."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections.abc import Callable, Mapping, Sequence
from typing import Any

CALL_SECONDS = 2.0
"""How long a helper may take to answer; one that takes longer is replaced."""


class HelperFailed(Exception):
    """A helper has refused a call, or cannot be talked to any more."""


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
        self._sending = asyncio.Lock()
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
        except TimeoutError as error:
            writer.close()
            raise HelperFailed(f"it has not answered within {CALL_SECONDS:g} s") from error
        except (OSError, ValueError, KeyError, TypeError) as error:
            writer.close()
            raise HelperFailed(f"no {kind} helper answers: {error}") from error
        return cls(reader, writer, greeting)

    def listen(
        self,
        told: Callable[[str, Mapping[str, Any]], None],
        ended: Callable[[], object] = lambda: None,
    ) -> None:
        """Read answers and events from now on.

        :param told: called with each event and what it says.
        :param ended: called once the connection is lost.
        """
        self._task = asyncio.create_task(self._read(told, ended))

    async def call(
        self, name: str, what: Mapping[str, Any], descriptors: Sequence[int] = ()
    ) -> Any:
        """Have the helper do something, and return its answer; after :meth:`listen`.

        :param descriptors: it gets copies of them; they stay the caller's to close.
        :raises HelperFailed: it has refused it, has gone, or does not answer within two seconds.
        """
        self._count += 1
        number = self._count
        answer = self._calls[number] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(CALL_SECONDS):
                await self._send({"call": name, "id": number, "with": what}, descriptors)
                return await answer
        except TimeoutError as error:
            raise HelperFailed(f"it has not answered within {CALL_SECONDS:g} s") from error
        except OSError as error:
            raise HelperFailed(f"it is gone: {error}") from error
        finally:
            del self._calls[number]

    async def take_over(self, name: str, what: Mapping[str, Any]) -> Any:
        """Make a call that turns the connection into something else, and return its answer.

        For a connection of its own, without :meth:`listen`: reader and writer are the caller's
        from then on.

        :raises HelperFailed: as :meth:`call`.
        """
        try:
            async with asyncio.timeout(CALL_SECONDS):
                await self._send({"call": name, "id": 0, "with": what}, ())
                message = json.loads(await self.reader.readline())
        except TimeoutError as error:
            raise HelperFailed(f"it has not answered within {CALL_SECONDS:g} s") from error
        except (OSError, ValueError) as error:
            raise HelperFailed(f"it is gone: {error}") from error
        if "error" in message:
            raise HelperFailed(message["error"])
        return message["result"]

    def close(self) -> None:
        """Hang up."""
        if self._task is not None:
            self._task.cancel()
        self.writer.close()

    async def _send(self, message: Mapping[str, Any], descriptors: Sequence[int]) -> None:
        data = json.dumps(message).encode() + b"\n"
        async with self._sending:
            if descriptors:
                # Nothing may be left of what was written before: they go with the next byte.
                self.writer.transport.set_write_buffer_limits(0)
                await self.writer.drain()
                data = data[await self._send_descriptors(data, descriptors) :]
            self.writer.write(data)
            await self.writer.drain()

    async def _send_descriptors(self, data: bytes, descriptors: Sequence[int]) -> int:
        """Send the first bytes of a line, and descriptors with them; returns how many bytes."""
        with socket.socket(fileno=os.dup(self.writer.get_extra_info("socket").fileno())) as own:
            while True:
                try:
                    return socket.send_fds(own, [data], descriptors)
                except BlockingIOError:
                    await _writable(own)

    async def _read(
        self, told: Callable[[str, Mapping[str, Any]], None], ended: Callable[[], object]
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
            for answer in self._calls.values():
                if not answer.done():
                    answer.set_exception(HelperFailed("it has hung up"))
            ended()


async def _writable(connection: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_writer(connection, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_writer(connection)
