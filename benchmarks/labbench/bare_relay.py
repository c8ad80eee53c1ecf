"""The yardstick for frames: a loop that hands on what comes in by one socket to the other.

Run with ``LPORT RPORT LPORT RPORT``, of its two sockets; it prints a line once it is ready.
"""

from __future__ import annotations

import contextlib
import select
import socket
import sys

BATCH = 64
LONGEST = 65536


def open_socket(lport: int, rport: int) -> socket.socket:
    """One end of a wire."""
    end = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    for option in (socket.SO_RCVBUF, 33):  # SO_RCVBUFFORCE
        with contextlib.suppress(OSError):
            end.setsockopt(socket.SOL_SOCKET, option, 4 * 1024 * 1024)
    end.bind(("127.0.0.1", lport))
    end.connect(("127.0.0.1", rport))
    return end


def main() -> None:
    """Hand frames on for ever."""
    first, second, third, fourth = map(int, sys.argv[1:])
    ends = [open_socket(first, second), open_socket(third, fourth)]
    poller = select.epoll()
    others = {}
    for end, other in (ends, reversed(ends)):
        poller.register(end, select.EPOLLIN)
        others[end.fileno()] = end.recv, other.send
    print("ready", flush=True)
    while True:
        for descriptor, _ in poller.poll():
            receive, send = others[descriptor]
            with contextlib.suppress(BlockingIOError, ConnectionRefusedError):
                for _ in range(BATCH):
                    send(receive(LONGEST))


if __name__ == "__main__":
    main()
