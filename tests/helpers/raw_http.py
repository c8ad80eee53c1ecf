"""HTTP byte by byte."""

from __future__ import annotations

import asyncio
import base64
from dataclasses import dataclass
from typing import Any

import orjson


@dataclass
class RawAnswer:
    """An answer, byte for byte."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)


async def read_answer(reader: asyncio.StreamReader, *, body: bool = True) -> RawAnswer:
    """Read one answer, to the end of the stream if it has no Content-Length or no ``body``."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    first, *lines = head.removesuffix("\r\n\r\n").split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    size = int(headers["Content-Length"]) if body and "Content-Length" in headers else None
    content = await (reader.read() if size is None else reader.readexactly(size))
    return RawAnswer(int(first.split()[1]), headers, content)


class RawClient:
    """Sends bytes."""

    def __init__(self, port: int) -> None:
        self.port = port

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port)

    async def send(self, data: bytes) -> RawAnswer:
        """Send everything, read the answer, and hang up."""
        reader, writer = await self.connect()
        try:
            writer.write(data)
            return await read_answer(reader, body=not data.startswith(b"HEAD"))
        finally:
            writer.close()

    async def talk(self, data: bytes) -> bytes:
        """Send everything, and read until the server hangs up."""
        reader, writer = await self.connect()
        try:
            writer.write(data)
            return await reader.read()
        finally:
            writer.close()

    async def request(
        self, method: str, path: str, *headers: str, body: bytes = b"", host: str = "localhost"
    ) -> RawAnswer:
        """Send one request with the necessary headers and exactly these."""
        lines = [f"{method} {path} HTTP/1.1", f"Host: {host}", "Connection: close", *headers]
        if body and not any(line.startswith("Transfer-Encoding") for line in headers):
            lines.append(f"Content-Length: {len(body)}")
        return await self.send("\r\n".join([*lines, "", ""]).encode() + body)


def websocket_head(path: str, *headers: str, host: str = "localhost") -> bytes:
    """The head of a request for a websocket (RFC 6455, 4.1)."""
    key = base64.b64encode(b"sixteen bytes ..").decode()
    lines = [
        f"GET {path} HTTP/1.1",
        f"Host: {host}",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        f"Sec-WebSocket-Key: {key}",
        *headers,
    ]
    return "\r\n".join([*lines, "", ""]).encode()


def text_frame(text: bytes) -> bytes:
    """A short message from a client; its mask changes nothing (RFC 6455, 5.2)."""
    return bytes([0x81, 0x80 | len(text)]) + bytes(4) + text


CLOSE_FRAME = bytes([0x88, 0x80]) + bytes(4)
"""What a client agrees with that the server ends a websocket, or ends it itself with."""
