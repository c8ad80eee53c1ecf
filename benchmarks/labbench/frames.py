"""Sends frames, or takes them: a process each, so that neither slows the other down.

``send LPORT RPORT COUNT RATE`` sends frames at a rate; ``take LPORT RPORT`` prints how many have
come when a last one has, or none for a second; ``echo LPORT RPORT COUNT`` prints the median of as
many round trips, in microseconds, with a ``mirror LPORT RPORT`` at the other end.
"""

from __future__ import annotations

import contextlib
import socket
import statistics
import sys
import time

HERE, THERE = b"\x02\x00\x00\x00\x00\x01", b"\x02\x00\x00\x00\x00\x02"
TYPE = bytes.fromhex("88b5")  # for experiments (IEEE 802)
SIZE = 100
LAST = b"last"
TICK = 0.001
SILENCE = 1.0


def frame(to: bytes, source: bytes, text: bytes = b"") -> bytes:
    """A frame of the usual size."""
    return (to + source + TYPE + text).ljust(SIZE, b".")


def open_socket(lport: int, rport: int) -> socket.socket:
    """A host's end of a wire."""
    end = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    for option in (socket.SO_RCVBUF, 33):  # SO_RCVBUFFORCE
        with contextlib.suppress(OSError):
            end.setsockopt(socket.SOL_SOCKET, option, 16 * 1024 * 1024)
    end.bind(("127.0.0.1", lport))
    end.connect(("127.0.0.1", rport))
    end.settimeout(SILENCE)
    return end


def send(end: socket.socket, count: int, rate: int) -> None:
    """Send frames, a handful each millisecond."""
    data, begun, sent = frame(THERE, HERE), time.perf_counter(), 0
    while sent < count:
        due = min(count, int((time.perf_counter() - begun) * rate) + 1)
        for _ in range(due - sent):
            end.send(data)
        sent = due
        time.sleep(TICK)
    # Whatever was to come has come by then.
    time.sleep(SILENCE / 2)
    end.send(frame(THERE, HERE, LAST))


def take(end: socket.socket) -> int:
    """Count the frames that come."""
    end.send(frame(HERE, THERE))  # for a switch to learn where we are
    print("ready", flush=True)
    end.settimeout(30)
    count, receive = 0, end.recv
    while receive(2048)[14:18] != LAST:
        count += 1
    return count


def echo(end: socket.socket, count: int) -> float:
    """Median microseconds of a round trip."""
    data, samples = frame(THERE, HERE), []
    for _ in range(count):
        begun = time.perf_counter()
        end.send(data)
        end.recv(2048)
        samples.append(time.perf_counter() - begun)
    return statistics.median(samples) * 1e6


def mirror(end: socket.socket) -> None:
    """Send back whatever comes."""
    data = frame(HERE, THERE)
    end.send(data)
    print("ready", flush=True)
    end.settimeout(None)
    while True:
        end.recv(2048)
        end.send(data)


def main() -> None:
    """Do what the arguments say."""
    what, lport, rport, *more = sys.argv[1:]
    with open_socket(int(lport), int(rport)) as end:
        if what == "send":
            send(end, *map(int, more))
        elif what == "take":
            print(take(end))
        elif what == "echo":
            print(echo(end, *map(int, more)))
        else:
            mirror(end)


if __name__ == "__main__":
    main()
