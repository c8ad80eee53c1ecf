"""The three standard streams, which may be closed, full, or read by nobody."""

from __future__ import annotations

import atexit
import io
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from typing import BinaryIO, TextIO

from gns3server.log.output import TextQueue, is_file, write_all

NOBODY_READS = 128 + signal.SIGPIPE
"""The exit code when whoever read the output has gone: the one that shells have for SIGPIPE."""


def open_closed_streams() -> None:
    """Give streams that are closed the null device.

    Otherwise the first files that are opened would become standard output and standard error.
    """
    # Each takes the lowest number that is free.
    while (null := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(null, True)
    os.close(null)
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "r" if name == "stdin" else "w"))  # noqa: SIM115


def queue_output() -> None:
    """Have nobody who prints to a pipe or a terminal, such as a plugin, wait for its reader."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if not is_file(stream.fileno()):
            stream.flush()
            setattr(sys, name, QueuedOutput(stream))


def write_text(stream: TextIO, text: str) -> None:
    """Write to the descriptor of a stream at once, however long that takes.

    :raises OSError: it cannot be written.
    """
    write_all(stream.fileno(), text.encode(stream.encoding, "backslashreplace"))


class Output(io.TextIOBase):
    """Stands for an output stream.

    :param stream: has a descriptor.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    @property
    def encoding(self) -> str:  # type: ignore[override]  # typeshed has a plain attribute
        """The encoding of the text."""
        return self._stream.encoding

    @property
    def buffer(self) -> BinaryIO:
        """The stream of bytes below, which may wait."""
        return self._stream.buffer

    def fileno(self) -> int:
        """The descriptor that is written to."""
        return self._stream.fileno()

    def isatty(self) -> bool:
        """Whether it is a terminal."""
        return self._stream.isatty()

    def writable(self) -> bool:
        """It is."""
        return True


class QueuedOutput(Output):
    """An output stream that never waits for a reader and never fails: too much text is dropped."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._queue = TextQueue(self._write_now)
        atexit.register(self._queue.drain)

    def write(self, text: str, /) -> int:
        """Have a text written."""
        with suppress(OSError):
            self._queue.put(text)
        return len(text)

    def _write_now(self, text: str) -> None:
        with suppress(OSError):
            write_text(self._stream, text)


class CannotPrint(Exception):
    """Standard output takes no more: ``reason`` says why."""

    def __init__(self, reason: OSError) -> None:
        super().__init__(str(reason))
        self.reason = reason


class CheckedOutput(Output):
    """An output stream whose failures are not taken for those of anything else.

    :raises CannotPrint: by each method that writes.
    """

    def write(self, text: str, /) -> int:
        """Write a text."""
        try:
            return self._stream.write(text)
        except OSError as error:
            raise CannotPrint(error) from error

    def flush(self) -> None:
        """Write what is in the buffer."""
        try:
            self._stream.flush()
        except OSError as error:
            raise CannotPrint(error) from error


@contextmanager
def printing() -> Iterator[None]:
    """A context in which a command prints, whose output may end before it does.

    Whoever reads may have seen enough, as ``head`` has: then the process ends without a word.

    :raises SystemExit: standard output takes no more.
    """
    try:
        with redirect_stdout(CheckedOutput(sys.stdout)) as output:
            try:
                yield
            finally:
                output.flush()
    except CannotPrint as error:
        # What is left in the buffer is written when the interpreter ends.
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)
        if isinstance(error.reason, BrokenPipeError):
            raise SystemExit(NOBODY_READS) from None
        why = error.reason.strerror
        print(f"gns3server: the output cannot be written: {why}", file=sys.stderr)
        raise SystemExit(1) from None
