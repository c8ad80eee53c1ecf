"""A websocket as handlers see it (RFC 6455): messages in, messages out, and an end."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass

from aiohttp import WSMsgType, web

MESSAGE_BYTES = 1024 * 1024
"""How large a message from a client may be."""

QUEUE_MESSAGES = 2000
"""Messages that may wait for one client before it counts as fallen behind."""

QUEUE_BYTES = 2 * 1024 * 1024
"""Bytes that these messages may take up together."""

REASON_BYTES = 123
"""How long the reason in a close frame may be (RFC 6455, 5.5)."""

DONE, GOING_AWAY, FAILED, FELL_BEHIND = 1000, 1001, 1011, 1013
"""Codes of close frames (RFC 6455, 7.4.1, and the registry of IANA)."""

REFUSED = 4000
"""Added to the status of an error to make the code of a close frame."""

OWN_CODES = range(3000, 5000)
"""The codes that the protocol leaves to libraries and applications."""


@dataclass(frozen=True, slots=True)
class Close:
    """How this server ends a websocket."""

    code: int
    reason: str = ""

    @property
    def message(self) -> bytes:
        """The reason, as much of it as a close frame can hold."""
        return self.reason.encode()[:REASON_BYTES].decode(errors="ignore").encode()


GOING = Close(GOING_AWAY, "The server stops, or the project was closed or deleted.")
FALLEN_BEHIND = Close(
    FELL_BEHIND, "This client fell too far behind: connect again, and read faster."
)


class WebSocket:
    """A websocket of one client.

    A handler receives and sends until it returns, which closes the websocket. When the client
    closes it, the server stops or the project goes, :meth:`receive` returns ``None``; a handler
    that has not returned a second later is cancelled.
    """

    def __init__(self, response: web.WebSocketResponse) -> None:
        self._response = response
        self._incoming: deque[str | bytes] = deque()
        self._outgoing: deque[tuple[WSMsgType, bytes]] = deque()
        self._outgoing_bytes = 0
        self._arrived, self._taken, self._queued = (asyncio.Event() for _ in range(3))
        self._gone = asyncio.Event()
        self._gone.set()
        self.ended: asyncio.Future[Close | None] = asyncio.get_running_loop().create_future()
        """Done once it has ended; ``None`` if the client ended it."""

    @property
    def closed(self) -> bool:
        """Whether it has ended."""
        return self.ended.done()

    async def receive(self) -> str | bytes | None:
        """The next message, text or bytes; ``None`` once the websocket has ended.

        Only one caller at a time may wait for it. Messages over a megabyte end the websocket.
        """
        while not (self._incoming or self.closed):
            self._arrived.clear()
            await self._arrived.wait()
        if not self._incoming:
            return None
        self._taken.set()
        return self._incoming.popleft()

    async def __aiter__(self) -> AsyncIterator[str | bytes]:
        """All messages, until the websocket has ended."""
        while (message := await self.receive()) is not None:
            yield message

    def send(self, message: str | bytes) -> None:
        """Send a message, as text or bytes.

        This never waits for the client: a client that lets 2000 messages, or two megabytes of
        them, wait is cut off. Messages sent after the end are dropped.
        """
        if self.closed:
            return
        if len(self._outgoing) >= QUEUE_MESSAGES or self._outgoing_bytes > QUEUE_BYTES:
            self._outgoing.clear()
            self.finish(FALLEN_BEHIND)
            return
        if isinstance(message, str):
            kind, content = WSMsgType.TEXT, message.encode()
        else:
            kind, content = WSMsgType.BINARY, bytes(message)
        self._outgoing.append((kind, content))
        self._outgoing_bytes += len(content)
        self._queued.set()
        self._gone.clear()

    async def sent(self) -> None:
        """Wait until all messages are on their way to the client, or the websocket has ended.

        Code that has more to send than may wait for a client does this now and then.
        """
        await self._gone.wait()

    def close(self, code: int = DONE, reason: str = "") -> None:
        """End it once everything sent before is on its way.

        :param code: 1000, or one of 3000 to 4999 that client and handler have agreed on.
        :param reason: for people; 123 bytes of it at most.
        :raises ValueError: the code is none of these.
        """
        if code != DONE and code not in OWN_CODES:
            raise ValueError(f"{code} is not a code to close a websocket with: 1000, 3000 to 4999")
        self.finish(Close(code, reason))

    # For the server itself -----------------------------------------------------------

    def finish(self, close: Close | None) -> None:
        """End it: with a close frame, or with none if the client has ended it. Idempotent."""
        if not self.closed:
            self.ended.set_result(close)
            self._arrived.set()
            self._queued.set()
            self._gone.set()

    async def take_in(self) -> None:
        """Take in what the client sends, at most one message ahead of the handler."""
        try:
            async for message in self._response:
                if message.type is WSMsgType.ERROR:
                    break
                self._incoming.append(message.data)
                self._arrived.set()
                while self._incoming:
                    self._taken.clear()
                    await self._taken.wait()
        finally:
            self.finish(None)

    async def pass_on(self) -> None:
        """Pass messages on to the client, until it has ended and all of them have gone."""
        try:
            while self._outgoing or not self.closed:
                if not self._outgoing:
                    self._queued.clear()
                    await self._queued.wait()
                    continue
                kind, content = self._outgoing.popleft()
                self._outgoing_bytes -= len(content)
                await self._response.send_frame(content, kind)
                if not self._outgoing:
                    self._gone.set()
        finally:
            self.finish(None)
