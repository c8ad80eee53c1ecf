"""Directories for sockets of tests: the path of one has 107 bytes at most (unix(7))."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory


@contextmanager
def short_directory() -> Iterator[Path]:
    """A directory for the time of a test, with a short path wherever tests have theirs."""
    with TemporaryDirectory(dir="/tmp", prefix="gns3-") as path:
        yield Path(path)
