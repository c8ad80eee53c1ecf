"""A small client of the API, for the demo and for tests."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import aiohttp
import orjson


@dataclass(frozen=True, slots=True)
class Answer:
    """What the server answered."""

    method: str
    path: str
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def route(self) -> str:
        """The pattern of the route that answered (``X-Route``), empty if there is none."""
        return self.headers.get("X-Route", "")

    @property
    def json(self) -> Any:
        """The body as a value."""
        return orjson.loads(self.body)


class Client:
    """Sends requests to one server.

    :param url: where it is, as ``http://127.0.0.1:8000``.
    :param check: called with every answer; raises when it is not as documented.
    """

    def __init__(self, url: str, check: Callable[[Answer], None] | None = None) -> None:
        self.url = url
        self._check = check
        self._session = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=60), connector=aiohttp.TCPConnector(limit=0)
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._session.close()

    async def request(
        self,
        method: str,
        path: str,
        value: Any = None,
        *,
        data: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send one request.

        :param value: sent as JSON unless it is ``None``.
        :param data: raw body instead, as bytes or an asynchronous iterator of them.
        """
        if value is not None:
            data = orjson.dumps(value)
        async with self._session.request(
            method, self.url + path, data=data, headers=headers, allow_redirects=False
        ) as response:
            answer = Answer(method, path, response.status, response.headers, await response.read())
        if self._check is not None:
            self._check(answer)
        return answer

    async def get(self, path: str) -> Answer:
        """GET without a body."""
        return await self.request("GET", path)

    async def post(self, path: str, value: Any = None) -> Answer:
        """POST ``value``, or no body."""
        return await self.request("POST", path, value)

    async def put(self, path: str, value: Any) -> Answer:
        """PUT ``value``."""
        return await self.request("PUT", path, value)

    async def delete(self, path: str) -> Answer:
        """DELETE."""
        return await self.request("DELETE", path)

    @asynccontextmanager
    async def listen(self, path: str = "/v1/notifications") -> AsyncIterator[AsyncIterator[Any]]:
        """Listen to a notification stream; yields an iterator of events that ends with it."""
        timeout = aiohttp.ClientTimeout(total=None)
        async with self._session.get(self.url + path, timeout=timeout) as response:

            async def events() -> AsyncIterator[Any]:
                async for line in response.content:
                    yield orjson.loads(line)

            yield events()
