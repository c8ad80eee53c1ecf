"""Requests over kept connections, one at a time on each. Run as a script, in its own process.

It uses bare sockets and epoll, as it must take less time than the server that it asks, which
shares the machine with it.
"""

from __future__ import annotations

import json
import re
import select
import socket
import sys
import time
from typing import NamedTuple

LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
OK = b"HTTP/1.1 200 "
WARM_UP = 0.2
"""The part of the time that is not counted."""


class Result(NamedTuple):
    """How long the counted answers took, in seconds, and how many answers came in all."""

    latencies: list[float]
    answers: int


class Connection:
    """One connection and the request that is under way on it."""

    def __init__(self, address: tuple[str, int], request: bytes) -> None:
        self._socket = socket.create_connection(address)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._request = request
        self._received = b""
        self._usual = 0
        self.fileno = self._socket.fileno()
        self.sent = 0.0

    def ask(self) -> None:
        """Send the next request."""
        self.sent = time.perf_counter()
        self._socket.send(self._request)

    def receive(self) -> bool:
        """Read what has arrived; True when that completes an answer."""
        data = self._socket.recv(65536)
        if len(data) == self._usual and not self._received and data.startswith(OK):
            return True
        return self._examine(data)

    def _examine(self, data: bytes) -> bool:
        self._received += data
        if not data or not OK.startswith(self._received[: len(OK)]):
            raise RuntimeError(f"not a 200: {self._received[:500]!r}")
        head, blank, _ = self._received.partition(b"\r\n\r\n")
        length = LENGTH.search(head)
        if not blank or length is None:
            return False
        whole = len(head) + 4 + int(length[1])
        if len(self._received) < whole:
            return False
        self._usual, self._received = whole, b""
        return True


def run(address: tuple[str, int], path: str, connections: int, seconds: float) -> Result:
    """Make requests for some seconds."""
    request = f"GET {path} HTTP/1.1\r\nHost: {address[0]}:{address[1]}\r\n\r\n".encode()
    by_fd = {
        link.fileno: link for link in (Connection(address, request) for _ in range(connections))
    }
    poller = select.epoll()
    for link in by_fd.values():
        poller.register(link.fileno, select.EPOLLIN)
        link.ask()
    latencies: list[float] = []
    answers = 0
    counting_from = time.perf_counter() + seconds * WARM_UP
    end = counting_from + seconds
    now = 0.0
    while now < end:
        for fd, _ in poller.poll(5):
            link = by_fd[fd]
            if link.receive():
                answers += 1
                now = time.perf_counter()
                if now >= counting_from:
                    latencies.append(now - link.sent)
                link.ask()
    return Result(latencies, answers)


def main() -> None:
    """Print rate per second, 99th percentile in ms and number of answers as JSON."""
    host, port, path, connections, seconds = sys.argv[1:]
    result = run((host, int(port)), path, int(connections), float(seconds))
    latencies = sorted(result.latencies)
    p99 = latencies[int(len(latencies) * 0.99)] * 1000
    rate = len(latencies) / float(seconds)
    print(json.dumps({"rate": rate, "p99": p99, "answers": result.answers}))


if __name__ == "__main__":
    main()
