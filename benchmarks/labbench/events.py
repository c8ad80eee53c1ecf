"""How fast an event reaches all listeners, beside a bare fan-out."""

from __future__ import annotations

import asyncio
import select
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

from labbench import servers
from labbench.api import TYPE, new_lab
from labbench.box import Box
from labbench.report import Aim, Figure
from labbench.servers import HOST, Server, closing_server, start_bare

LISTENERS = (1, 50, 200)
LIMIT_SECONDS = 10.0
PAUSE_SECONDS = 0.02
PING = b'{"action": "ping"}\n'


class Delivery(NamedTuple):
    """Milliseconds from a request until the first and until the last listener has its line."""

    first: float
    last: float


class Audience:
    """Some listeners to one stream, and a connection that causes events."""

    def __init__(self, port: int, stream: str, cause: str, listeners: int) -> None:
        self._cause = cause
        self._asker = socket.create_connection((HOST, port))
        self._asker.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._links = {}
        self._poller = select.epoll()
        request = f"GET {stream} HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode()
        for _ in range(listeners):
            link = socket.create_connection((HOST, port))
            link.sendall(request)
            self._links[link.fileno()] = link
            self._poller.register(link.fileno(), select.EPOLLIN)
        self._until_all_have(PING)

    def close(self) -> None:
        """Hang up."""
        self._poller.close()
        for link in (self._asker, *self._links.values()):
            link.close()

    def cause(self, name: str) -> Delivery:
        """Cause an event that carries this name, and wait until every listener has its line."""
        body = f'{{"name": "{name}"}}'
        head = f"POST {self._cause} HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: application/json\r\n"
        request = f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode()
        begun = time.perf_counter()
        self._asker.sendall(request)
        first, last = self._until_all_have(f'"name": "{name}"'.encode())
        answer = self._asker.recv(65536)
        if not answer.startswith(b"HTTP/1.1 201 "):
            raise RuntimeError(f"no event: {answer!r}")
        return Delivery((first - begun) * 1000, (last - begun) * 1000)

    def _until_all_have(self, text: bytes) -> tuple[float, float]:
        missing = dict.fromkeys(self._links, b"")
        first = now = 0.0
        while missing:
            ready = self._poller.poll(LIMIT_SECONDS)
            if not ready:
                raise RuntimeError(f"{len(missing)} listeners were told nothing")
            for fd, _ in ready:
                received = missing.get(fd, b"") + self._links[fd].recv(65536)
                if text in received:
                    now = time.perf_counter()
                    first = first or now
                    missing.pop(fd, None)
                elif fd in missing:
                    missing[fd] = received
        return first, now


@dataclass(slots=True)
class Pair:
    """The measurements of ours and of the bare server in the same rounds."""

    ours: list[Delivery] = field(default_factory=list)
    bare: list[Delivery] = field(default_factory=list)


def delivery(box: Box, quick: bool) -> list[Figure]:
    """Time from the request that causes an event until the last listener has it."""
    home = box.directory("fan")
    with (
        servers.ours(box) as us,
        closing_server(start_bare(box, home, "fan.py", "/listen")) as them,
    ):
        them.wait_first_answer()
        figures = []
        for listeners in LISTENERS:
            pair = asyncio.run(_measure(us, them, listeners, 10 if quick else 40))
            figures += _figures(listeners, pair)
        return figures


async def _measure(us: Server, them: Server, listeners: int, rounds: int) -> Pair:
    async with new_lab(us) as lab:
        stream, cause = f"{lab.path}/notifications", f"{lab.path}/{TYPE}/vms"
        with (
            _audience(us.port, stream, cause, listeners) as our_audience,
            _audience(them.port, "/listen", "/publish", listeners) as their_audience,
        ):
            return await asyncio.to_thread(_in_turns, our_audience, their_audience, rounds)


def _in_turns(ours: Audience, bare: Audience, rounds: int) -> Pair:
    pair = Pair()
    for number in range(rounds):
        pair.ours.append(ours.cause(f"ours {number}"))
        time.sleep(PAUSE_SECONDS)
        pair.bare.append(bare.cause(f"bare {number}"))
        time.sleep(PAUSE_SECONDS)
    return pair


@contextmanager
def _audience(port: int, stream: str, cause: str, listeners: int) -> Iterator[Audience]:
    audience = Audience(port, stream, cause, listeners)
    try:
        yield audience
    finally:
        audience.close()


def _figures(listeners: int, pair: Pair) -> list[Figure]:
    who = "listener" if listeners == 1 else "listeners"
    figures = [
        Figure(
            benchmark="events",
            what=f"event to {listeners} {who}, from the request",
            unit="ms",
            ours=[sample.last for sample in pair.ours],
            bare=[sample.last for sample in pair.bare],
            aim=Aim("ratio", 1.5) if listeners == max(LISTENERS) else None,
        )
    ]
    if listeners > 1:
        figures.append(
            Figure(
                benchmark="events",
                what=f"event to {listeners} {who}, first to last",
                unit="ms",
                ours=[sample.last - sample.first for sample in pair.ours],
                bare=[sample.last - sample.first for sample in pair.bare],
            )
        )
    return figures
