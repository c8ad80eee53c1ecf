"""Where the log goes: a file that cannot fill the disk, or a stream, and neither ever fails.

A record that cannot be written (disk full, pipe closed) is lost. That is reported once on standard
error, and in the log itself, as soon as it can be written again. The standard library's handlers
print a traceback for each such record, and leave incomplete lines.
"""

from __future__ import annotations

import io
import logging
import os
import stat
import sys
from collections.abc import Callable
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

MIB = 1024 * 1024

KEPT = 3
"""How many full files are kept beside the one that is written to."""


def append_to(path: Path) -> io.FileIO:
    """Open a file to append to it, unbuffered. If it is this user's, nobody else may read it.

    :raises OSError: it cannot be opened.
    """
    file = io.FileIO(path, "ab", opener=lambda name, flags: os.open(name, flags, 0o600))
    found = os.fstat(file.fileno())
    if stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid() and found.st_mode & 0o077:
        with suppress(OSError):
            os.fchmod(file.fileno(), stat.S_IMODE(found.st_mode) & ~0o077)
    return file


class LogHandler(logging.Handler):
    """A handler that survives the failure of what it writes to.

    :param write: is given one line at a time, without its end; raises OSError or ValueError.
    """

    def __init__(self, write: Callable[[str], object]) -> None:
        super().__init__()
        self._write = write
        self._missing = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record, first noting how many are missing after a gap."""
        try:
            text = self.format(record)
        except Exception:
            self.handleError(record)
            return
        try:
            if self._missing:
                gap = f"{self._missing} records are missing here: the log could not be written"
                about = {"name": __name__, "levelname": "WARNING", "msg": gap}
                self._write(self.format(logging.makeLogRecord(about)))
                self._missing = 0
            self._write(text)
        except (OSError, ValueError) as error:
            if not self._missing:
                _tell(error)
            self._missing += 1


class LogFile:
    """A file that is rotated when it is full: FILE, FILE.1, FILE.2, FILE.3.

    :param size: of each file, in MiB.
    :raises OSError: it cannot be opened.
    """

    def __init__(self, path: Path, size: int) -> None:
        self._path = path
        self._limit = size * MIB
        self._file = append_to(path)

    def write(self, text: str) -> None:
        """Append one line, whole or not at all.

        :raises OSError: it could not be written.
        """
        line = f"{text}\n".encode(errors="backslashreplace")
        # Anything that is not a regular file has the size 0.
        size = os.fstat(self._file.fileno()).st_size
        if size and size + len(line) > self._limit:
            self._begin_another()
            size = 0
        if self._file.write(line) != len(line):
            self._file.truncate(size)
            raise OSError("its disk is full")

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _begin_another(self) -> None:
        """Put the full file aside; if files cannot be renamed, it is emptied."""
        names = [self._path, *(Path(f"{self._path}.{number}") for number in range(1, KEPT + 1))]
        try:
            for newer, older in reversed([*pairwise(names)]):
                if newer.exists():
                    newer.replace(older)
            new = append_to(self._path)
        except OSError:
            self._file.truncate(0)
        else:
            self._file.close()
            self._file = new


def _tell(error: Exception) -> None:
    """Say on standard error, which may be gone as well, that the log has a gap."""
    reason = getattr(error, "strerror", None) or error
    with suppress(OSError, ValueError):
        print(
            f"gns3server: the log cannot be written ({reason}); records will be missing in it "
            "until there is room on its disk",
            file=sys.stderr,
            flush=True,
        )
