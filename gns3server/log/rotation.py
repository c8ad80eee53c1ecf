"""Where the log goes: a file that cannot fill the disk, or a stream, and neither ever fails.

A record that cannot be written (disk full, pipe closed, terminal stopped) is lost. That is reported
once on standard error, and in the log itself, as soon as it can be written again. The standard
library's handlers print a traceback for each such record, and leave incomplete lines.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

from gns3server.log.output import TextQueue, is_file, open_to_append, write_all

MIB = 1024 * 1024

KEPT = 3
"""How many full files are kept beside the one that is written to."""


class Lines:
    """Writes lines; where some could not be written, it notes how many are missing. Never fails.

    :param write: is given one line at a time, or two, without the last one's end; raises OSError or
        ValueError if it does not write them all.
    :param note: makes the line that says how many are missing.
    """

    def __init__(self, write: Callable[[str], object], note: Callable[[int], str]) -> None:
        self._write = write
        self._note = note
        self._missing = 0

    def write(self, line: str) -> None:
        """Write a line, first noting how many are missing after a gap."""
        # At once: there may be room for the note alone.
        text = f"{self._note(self._missing)}\n{line}" if self._missing else line
        try:
            self._write(text)
        except (OSError, ValueError) as error:
            if not self._missing:
                _tell(error)
            self._missing += 1
        else:
            self._missing = 0


class LogHandler(logging.Handler):
    """A handler that survives the failure of what it writes to.

    :param write: is given one line at a time, without its end; raises OSError or ValueError.
    :param waits: whether it may wait for a reader. Then a thread of its own writes, and the
        records that come while too much waits are missing.
    """

    def __init__(self, write: Callable[[str], object], *, waits: bool = False) -> None:
        super().__init__()
        self._lines = Lines(write, self._note)
        self._queue: TextQueue | None = None
        if waits:
            self._queue = TextQueue(self._lines.write)
            self._lines = Lines(self._queue.put, self._note)

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record."""
        try:
            text = self.format(record)
        except Exception:
            self.handleError(record)
        else:
            self._lines.write(text)

    def flush(self) -> None:
        """Wait until everything is written, but not for ever."""
        if self._queue is not None:
            self._queue.drain()

    def _note(self, missing: int) -> str:
        gap = f"{missing} records are missing here: the log could not be written"
        about = {"name": __name__, "levelname": "WARNING", "msg": gap}
        return self.format(logging.makeLogRecord(about))


class LogFile:
    """A file that is rotated when it is full: FILE, FILE.1, FILE.2, FILE.3.

    A program that rotates logs may put it aside or remove it as well: the next line goes into a
    new file.

    :param size: of each file, in MiB.
    :raises OSError: it cannot be opened.
    """

    def __init__(self, path: Path, size: int) -> None:
        self._path = path
        self._limit = size * MIB
        self._descriptor = open_to_append(path)
        self.waits = not is_file(self._descriptor)
        """Whether it is something else than a file, and writing may wait for a reader."""

    def write(self, text: str) -> None:
        """Append one line, whole or not at all.

        :raises OSError: it could not be written.
        """
        line = f"{text}\n".encode(errors="backslashreplace")
        if self.waits:
            write_all(self._descriptor, line)
            return
        size = self._find_end()
        if size and size + len(line) > self._limit:
            self._begin_another()
            size = 0
        if os.write(self._descriptor, line) != len(line):
            os.truncate(self._descriptor, size)
            raise OSError("its disk is full")

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)

    def _find_end(self) -> int:
        """The size of the file of this name, which is opened if it is not ours."""
        ours = os.fstat(self._descriptor)
        try:
            if os.path.samestat(os.stat(self._path), ours):
                return ours.st_size
        except FileNotFoundError:
            pass
        self._open_anew()
        return os.fstat(self._descriptor).st_size

    def _open_anew(self) -> None:
        new = open_to_append(self._path)
        if not is_file(new):
            os.close(new)
            raise OSError(f"{self._path} is no file any more")
        os.close(self._descriptor)
        self._descriptor = new

    def _begin_another(self) -> None:
        """Put the full file aside; if files cannot be renamed, it is emptied."""
        names = [self._path, *(Path(f"{self._path}.{number}") for number in range(1, KEPT + 1))]
        try:
            for newer, older in reversed([*pairwise(names)]):
                if newer.exists():
                    newer.replace(older)
            self._open_anew()
        except OSError:
            os.truncate(self._descriptor, 0)


def _tell(error: Exception) -> None:
    """Say on standard error, which may be gone as well, that the log has a gap."""
    reason = getattr(error, "strerror", None) or error
    with suppress(OSError, ValueError):
        print(
            f"gns3server: the log cannot be written ({reason}): records are missing in it until it "
            "can be written again",
            file=sys.stderr,
            flush=True,
        )
