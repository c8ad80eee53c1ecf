"""Where the log goes: a file that cannot fill the disk, or a stream, and neither ever fails.

A record that cannot be written (disk full, pipe closed) is lost. That is told once on standard
error, and in the log itself as soon as it can be written again.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from abc import abstractmethod
from pathlib import Path
from typing import TextIO

MIB = 1024 * 1024

KEPT = 3
"""How many full files are kept beside the one that is written to."""


class LogHandler(logging.Handler):
    """A handler that outlives what it writes to."""

    def __init__(self) -> None:
        super().__init__()
        self._lost = 0

    @abstractmethod
    def write(self, text: str) -> None:
        """Write one record.

        :raises OSError: it could not be written.
        """

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record, after a gap with how many are missing."""
        try:
            text = self.format(record)
        except Exception:
            self.handleError(record)
            return
        try:
            if self._lost:
                self.write(self.format(_gap(self._lost)))
                self._lost = 0
            self.write(text)
        except (OSError, ValueError) as error:
            if not self._lost:
                _tell(error)
            self._lost += 1


class LogStream(LogHandler):
    """Writes to a stream."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self._stream = stream

    def write(self, text: str) -> None:
        """Write one record, and hand it to the system at once."""
        self._stream.write(f"{text}\n")
        self._stream.flush()


class LogFile(LogHandler):
    """Appends to a file, and begins another when that has its size: FILE, FILE.1, FILE.2, FILE.3.

    :param size: of each, in MiB.
    :raises OSError: it cannot be opened.
    """

    def __init__(self, path: Path, size: int) -> None:
        super().__init__()
        self._path = path
        self._limit = size * MIB
        self._file = path.open("ab", buffering=0)

    def write(self, text: str) -> None:
        """Write one record, whole or not at all."""
        line = f"{text}\n".encode(errors="backslashreplace")
        # What is no regular file has the size 0.
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
        super().close()

    def _begin_another(self) -> None:
        """Put the full file aside; where files cannot be renamed it is emptied."""
        names = [self._path, *(Path(f"{self._path}.{number}") for number in range(1, KEPT + 1))]
        try:
            for older, newer in zip(reversed(names), reversed(names[:-1]), strict=False):
                if newer.exists():
                    newer.replace(older)
            new = self._path.open("ab", buffering=0)
        except OSError:
            self._file.truncate(0)
        else:
            self._file.close()
            self._file = new


def _gap(lost: int) -> logging.LogRecord:
    return logging.makeLogRecord(
        {
            "name": __name__,
            "levelno": logging.WARNING,
            "levelname": "WARNING",
            "msg": f"{lost} records are missing here: the log could not be written",
        }
    )


def _tell(error: Exception) -> None:
    """Say on standard error, which may be gone as well, that the log has a gap."""
    with contextlib.suppress(OSError, ValueError):
        reason = getattr(error, "strerror", None) or error
        print(
            f"gns3server: the log cannot be written ({reason}); records will be missing in it "
            "until there is room on its disk",
            file=sys.stderr,
            flush=True,
        )
