"""What is on a disk, before and after."""

from __future__ import annotations

import hashlib
import os
import subprocess
from contextlib import suppress
from pathlib import Path


def names_below(directory: Path) -> set[str]:
    """Everything below a directory, relative to it."""
    return {str(entry.relative_to(directory)) for entry in directory.rglob("*")}


def fill(ballast: Path, spare: int = 0) -> None:
    """Use up the disk that a file is on, except for ``spare`` bytes."""
    with suppress(OSError), ballast.open("ab", buffering=0) as stream:
        while True:
            stream.write(bytes(4096))
    os.truncate(ballast, ballast.stat().st_size - spare)


def md5(content: bytes) -> str:
    """The MD5 sum of some content, in the form of the API."""
    return hashlib.md5(content).hexdigest()


def copy_by_another_process(place: Path, copy: Path) -> None:
    """Copy files that are open here: SQLite's locks do not survive the closing of one."""
    subprocess.run(["cp", "-a", place, copy], check=True)
