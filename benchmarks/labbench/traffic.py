"""Sends, receives and echoes frames, as nodes do. Run as a script: see ``main``."""

from __future__ import annotations

import hashlib
import json
import select
import socket
import statistics
import sys
import time
from typing import Any

from gns3server.links.panel.frames import FrameReader, ask_for_buffer

HOST = "127.0.0.1"
BURST = 32
SILENCE_SECONDS = 0.5
PATIENCE_SECONDS = 10.0

COMPARED = 5000
"""Of so many frames the numbers are compared with those of another run."""


def end(port: int, far: int) -> socket.socket:
    """A socket that sends to a port and receives from it."""
    connection = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    ask_for_buffer(connection)
    connection.bind((HOST, port))
    connection.connect((HOST, far))
    return connection


def send(port: int, far: int, seconds: float, size: int, rate: float) -> dict[str, Any]:
    """Send numbered frames.

    :param rate: how many a second; 0 for as many as can be.
    """
    connection = end(port, far)
    rest = bytes(size - 8)
    sent = 0
    begun = now = time.monotonic()
    while now - begun < seconds:
        due = int((now - begun) * rate) if rate else sent + BURST
        for number in range(sent, min(due, sent + BURST)):
            connection.send(number.to_bytes(8, "big") + rest)
        sent = max(sent, min(due, sent + BURST))
        now = time.monotonic()
    return {"sent": sent, "rate": sent / (now - begun)}


def receive(port: int, far: int) -> dict[str, Any]:
    """Receive until nothing has come for a while."""
    connection, reader = end(port, far), FrameReader()
    poll = select.poll()
    poll.register(connection, select.POLLIN)
    print("ready", flush=True)
    got = size = 0
    first = last = 0.0
    numbers: list[bytes] = []
    while poll.poll(1000 * (SILENCE_SECONDS if got else PATIENCE_SECONDS)):
        frames = reader.read(connection.fileno())
        last = time.monotonic()
        if not got:
            # The first frame begins the time, and is not counted in it.
            first, size = last, -len(frames[0])
        got += len(frames)
        size += sum(map(len, frames))
        if len(numbers) < COMPARED:
            numbers += [frame[:8] for frame in frames]
    seconds = max(last - first, 1e-9)
    return {
        "got": got,
        "rate": (got - 1) / seconds,
        "kbit_per_s": size * 8 / 1000 / seconds,
        "first_numbers": hashlib.sha256(b"".join(numbers[:COMPARED])).hexdigest(),
    }


def ping(port: int, far: int, count: int) -> dict[str, Any]:
    """Send frames one after the other, each once the one before has come back."""
    connection = end(port, far)
    times = []
    for _ in range(count):
        begun = time.perf_counter()
        connection.send(bytes(100))
        connection.recv(65536)
        times.append(time.perf_counter() - begun)
        # Not in the rhythm of anything else.
        time.sleep(0.0003)
    return {"seconds": statistics.median(times)}


def echo(port: int, far: int) -> None:
    """Send back whatever comes."""
    connection = end(port, far)
    print("ready", flush=True)
    while True:
        connection.send(connection.recv(65536))


def main() -> None:
    """``send PORT FAR SECONDS SIZE RATE``, ``ping PORT FAR COUNT``, ``receive`` or ``echo``."""
    what, port, far, *more = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), *sys.argv[4:]
    if what == "send":
        result = send(port, far, float(more[0]), int(more[1]), float(more[2]))
    elif what == "receive":
        result = receive(port, far)
    elif what == "ping":
        result = ping(port, far, int(more[0]))
    else:
        echo(port, far)
        return
    print(json.dumps(result))


if __name__ == "__main__":
    main()
