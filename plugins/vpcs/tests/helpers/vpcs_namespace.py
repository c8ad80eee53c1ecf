"""A network namespace for tests that need literal ports, and what to do without one."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

KEEPER = """
import fcntl, socket, struct, sys
SIOCSIFFLAGS, IFF_UP, IFF_LOOPBACK = 0x8914, 0x1, 0x8
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
    fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sh", b"lo", IFF_UP | IFF_LOOPBACK))
print("up", flush=True)
sys.stdin.read()
"""
"""Brings the loopback interface up, says so, and keeps the namespace until its input ends."""

PortName = tuple[str, int]
"""As ``("tcp", 8000)``."""


def taken(ports: Iterable[PortName]) -> list[PortName]:
    """Those of the ports that cannot be bound here and now."""
    busy = []
    for kind, number in ports:
        transport = socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM
        with socket.socket(socket.AF_INET, transport) as probe:
            if kind == "tcp":
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("0.0.0.0", number))
            except OSError:
                busy.append((kind, number))
    return busy


@contextmanager
def own_network(ports: Iterable[PortName]) -> Iterator[tuple[str, ...]]:
    """Have ``ports`` to oneself while the context lasts.

    Yields the words to put before a command so that it runs there: none where
    no namespace can be had and the ports are free.

    :raises AssertionError: no namespace, and a port is taken.
    """
    ordinary = os.geteuid() != 0
    argv = ["unshare", "-Urn" if ordinary else "-n", sys.executable, "-I", "-S", "-c", KEEPER]
    try:
        keeper = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
    except OSError as error:
        yield without_namespace(ports, str(error))
        return
    with keeper:
        assert keeper.stdin is not None
        assert keeper.stdout is not None
        assert keeper.stderr is not None
        if keeper.stdout.readline() != "up\n":
            yield without_namespace(ports, keeper.stderr.read().strip())
            return
        options = ["-U", "--preserve-credentials"] if ordinary else []
        try:
            yield "nsenter", "-t", str(keeper.pid), *options, "-n", "--"
        finally:
            keeper.stdin.close()


def without_namespace(ports: Iterable[PortName], why: str) -> tuple[str, ...]:
    """Make do without a namespace, if the ports are free."""
    busy = taken(ports)
    assert not busy, (
        f"This test needs the ports {busy}, which are in use, and no network namespace can be "
        f"had ({why}): stop what uses them, or allow namespaces."
    )
    return ()
