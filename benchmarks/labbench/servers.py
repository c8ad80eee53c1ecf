"""The servers under test, each a child process with its own home, ports and records."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from labbench.box import STOP_SECONDS, Box, free_ports

HERE = Path(__file__).parent
HOST = "127.0.0.1"
START_SECONDS = 30.0
POLL_SECONDS = 0.001
NODES = 200
"""How many nodes there are ports for in the ranges of our server."""


@dataclass(frozen=True, slots=True)
class Server:
    """A child process that serves HTTP.

    :param path: something that it answers with 200.
    """

    process: subprocess.Popen[bytes]
    port: int
    path: str
    log: Path

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://{HOST}:{self.port}"

    def cpu_seconds(self) -> float:
        """Processor time that it has used."""
        times = psutil.Process(self.process.pid).cpu_times()
        return float(times.user + times.system)

    def wait_first_answer(self) -> None:
        """Return at the first HTTP 200."""
        request = f"GET {self.path} HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n".encode()
        deadline = time.monotonic() + START_SECONDS
        while not _answers(self.port, request):
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the server does not answer:\n{self.log.read_text()[-2000:]}")
            time.sleep(POLL_SECONDS)

    def stop(self) -> None:
        """End it cleanly, or else by force."""
        self.process.terminate()
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def _answers(port: int, request: bytes) -> bool:
    try:
        with socket.create_connection((HOST, port), timeout=START_SECONDS) as link:
            link.sendall(request)
            return link.recv(65536).startswith(b"HTTP/1.1 200 ")
    except (ConnectionError, TimeoutError):
        return False


def start_ours(
    box: Box, home: Path, port: int | None = None, *, extra: Mapping[str, str] | None = None
) -> Server:
    """Start the server as its user would, with the settings that it ships with.

    :param port: the port of an earlier server, to start one again in the same place.
    :param extra: further environment variables.
    """
    port = free_ports(3 * NODES + 1) if port is None else port
    settings = {
        "HOST": HOST,
        "PORT": port,
        "STATE_PATH": home / "state",
        "PROJECTS_PATH": home / "projects",
        "IMAGES_PATH": home / "images",
        "CONSOLE_START_PORT_RANGE": port + 1,
        "CONSOLE_END_PORT_RANGE": port + NODES,
        # Twice as many as nodes, because a type may keep companions of its ports free.
        "UDP_START_PORT_RANGE": port + NODES + 1,
        "UDP_END_PORT_RANGE": port + 3 * NODES,
    }
    environment = {f"GNS3_SERVER_{name}": str(value) for name, value in settings.items()}
    log = home / "server.log"
    with log.open("ab") as stream:
        process = box.spawn(_our_command(), home, {**environment, **(extra or {})}, stdout=stream)
    return Server(process, port, "/v1/version", log)


def _our_command() -> list[str]:
    script = Path(sys.executable).with_name("gns3server")
    return [str(script)] if script.exists() else [sys.executable, "-m", "gns3server"]


def start_bare(box: Box, home: Path, script: str = "hello.py", path: str = "/") -> Server:
    """Start a yardstick from this directory."""
    port = free_ports(1)
    log = home / "bare.log"
    with log.open("ab") as stream:
        argv = [sys.executable, str(HERE / script), str(port)]
        process = box.spawn(argv, home, stdout=stream)
    return Server(process, port, path, log)


@contextmanager
def ours(box: Box) -> Iterator[Server]:
    """Our server, answering, while the context lasts."""
    with closing_server(start_ours(box, box.directory("ours"))) as server:
        server.wait_first_answer()
        yield server


@contextmanager
def bare(box: Box) -> Iterator[Server]:
    """A bare server, answering, while the context lasts."""
    with closing_server(start_bare(box, box.directory("bare"))) as server:
        server.wait_first_answer()
        yield server


@contextmanager
def closing_server(server: Server) -> Iterator[Server]:
    """Stop a server at the end of the context."""
    try:
        yield server
    finally:
        server.stop()
