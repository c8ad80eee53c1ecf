"""A place for everything that a run of the benchmarks starts or writes, cleaned up at its end."""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO

import psutil

MARK = "LABBENCH"
"""Environment variable that marks every process that a box has started, and their children."""

STOP_SECONDS = 15.0

INTERRUPTS = (signal.SIGINT, signal.SIGTERM)

LOWEST, HIGHEST = 20000, 32000
"""Ports are taken from here on: below those that the kernel gives to outgoing connections."""


class Box:
    """A directory, and processes that carry its mark; both are gone at the end."""

    def __init__(self, parent: str | None = None) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="labbench-", dir=parent))
        self._mark = uuid.uuid4().hex
        self._numbers = iter(range(1, 1_000_000))

    def __enter__(self) -> Box:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # A second Ctrl-C must not interrupt the cleaning.
        former = {number: signal.signal(number, signal.SIG_IGN) for number in INTERRUPTS}
        self.close()
        for number, handler in former.items():
            signal.signal(number, handler)

    def directory(self, name: str) -> Path:
        """A new directory."""
        path = self.path / f"{name}-{next(self._numbers)}"
        path.mkdir()
        return path

    def spawn(
        self,
        argv: Sequence[str],
        home: Path,
        extra: Mapping[str, str] | None = None,
        *,
        stdin: int = subprocess.DEVNULL,
        stdout: int | IO[bytes] = subprocess.DEVNULL,
    ) -> subprocess.Popen[bytes]:
        """Start a program that sees none of its caller's settings.

        It gets its own session, so that Ctrl-C reaches only us and we end it cleanly.
        """
        environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "LANG": "C.UTF-8",
            "HOME": str(home),
            MARK: self._mark,
            "GNS3_SERVER_ENVIRONMENT": MARK,
            **(extra or {}),
        }
        return subprocess.Popen(
            argv,
            cwd=home,
            env=environment,
            stdin=stdin,
            stdout=stdout,
            stderr=subprocess.STDOUT if stdout is not subprocess.PIPE else None,
            start_new_session=True,
        )

    def processes(self) -> Iterator[psutil.Process]:
        """All processes that carry the mark: those started here, and those that they started."""
        for process in psutil.process_iter():
            try:
                if process.environ().get(MARK) == self._mark:
                    yield process
            except psutil.Error:
                continue

    def close(self) -> None:
        """End the processes that still run and remove the directory."""
        for end in (psutil.Process.terminate, psutil.Process.kill):
            for process in self.processes():
                with suppress(psutil.NoSuchProcess):
                    end(process)
            self._wait_until_gone()
        shutil.rmtree(self.path, ignore_errors=True)

    def _wait_until_gone(self) -> None:
        # Zombies have no environment, so those that nobody reaps do not count.
        deadline = time.monotonic() + STOP_SECONDS
        while any(self.processes()) and time.monotonic() < deadline:
            time.sleep(0.05)


def free_ports(count: int) -> int:
    """The first of ``count`` successive ports that nobody uses, for TCP and for UDP."""
    for _ in range(1000):
        first = random.randrange(LOWEST, HIGHEST - count)
        if all(_is_free(port) for port in range(first, first + count)):
            return first
    raise RuntimeError(f"this machine does not have {count} successive free ports")


def _is_free(port: int) -> bool:
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with socket.socket(socket.AF_INET, kind) as probe:
            try:
                probe.bind(("0.0.0.0", port))
            except OSError:
                return False
    return True
