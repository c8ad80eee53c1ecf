"""The file of a capture, written by a thread of its own: a slow disk holds up no frame."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Callable
from pathlib import Path
from queue import Empty, SimpleQueue

from gns3server.files.private import open_private
from gns3server.files.safe_open import directory_beneath
from gns3server.links.panel.pcap import HEADER, end_of_whole_records, header, snapshot_length
from gns3server.links.panel.pcap import whole_records as whole
from gns3server.links.panel.wanted import WantedCapture
from gns3server.running.threads import start_thread

MAX_WAITING = 32 * 1024 * 1024
"""Bytes that may wait for the disk."""

WRITE_SIZE = 1024 * 1024
"""Bytes that are written at once, if so many wait."""

FLAGS = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK


class CaptureEnded(Exception):
    """Nothing more can be written; the text says why."""


class CaptureFile:
    """Writes records to a file, behind those that are there. Opening it blocks.

    :param ended: called once, in the thread: with the reason if nothing more can be
        written, or with ``None`` when all is written after :meth:`close`.
    :raises OSError: the file cannot be opened or made, or another process writes it.
    :raises ValueError: it is something else than a capture.
    """

    def __init__(self, wanted: WantedCapture, ended: Callable[[str | None], None]) -> None:
        self.written = 0
        """How many bytes have been written of those that were handed over."""
        self._handed_over = 0
        self._max_bytes = wanted.max_bytes
        self._ended = ended
        self._chunks: SimpleQueue[bytes | None] = SimpleQueue()
        self._descriptor = open_capture(wanted.path, wanted.beneath)
        try:
            self._end = _begin(self._descriptor, wanted.snapshot_length)
            start_thread("capture", self._run)
        except BaseException:
            os.close(self._descriptor)
            raise

    def write(self, chunk: bytes) -> bool:
        """Hand records over to the thread.

        :returns: False if too much waits for the disk already: they are lost.
        """
        if self._handed_over - self.written + len(chunk) > MAX_WAITING:
            return False
        self._handed_over += len(chunk)
        self._chunks.put(chunk)
        return True

    def close(self) -> None:
        """Have the file closed once all is written that was handed over."""
        self._chunks.put(None)

    def _run(self) -> None:
        reason = None
        try:
            # What a crash has torn comes before anything new.
            self._end = end_of_whole_records(self._descriptor)
            os.ftruncate(self._descriptor, self._end)
            while data := self._next():
                self._write(data)
                self.written += len(data)
        except CaptureEnded as error:
            reason = str(error)
        except OSError as error:
            reason = os.strerror(error.errno or errno.EIO)
        os.close(self._descriptor)
        self._ended(reason)

    def _next(self) -> bytes:
        """All that waits, up to a bound; nothing at the end."""
        chunk = self._chunks.get()
        chunks, size = [], 0
        try:
            while chunk is not None:
                chunks.append(chunk)
                size += len(chunk)
                if size >= WRITE_SIZE:
                    break
                chunk = self._chunks.get_nowait()
            else:
                # The end must be found again after this has been written.
                self._chunks.put(None)
        except Empty:
            pass
        return b"".join(chunks)

    def _write(self, data: bytes) -> None:
        if not os.fstat(self._descriptor).st_nlink:
            raise CaptureEnded("the file was removed")
        room = self._max_bytes - self._end
        if len(data) > room:
            fits, _ = whole(data, room)
            self._write_all(data[:fits])
            raise CaptureEnded(f"the file has reached its bound of {self._max_bytes} bytes")
        self._write_all(data)

    def _write_all(self, data: bytes) -> None:
        done = 0
        try:
            while done < len(data):
                done += os.pwrite(self._descriptor, data[done:], self._end + done)
        except OSError:
            # The disk is full, say: leave no half record.
            os.ftruncate(self._descriptor, self._end + whole(data, done)[0])
            raise
        self._end += done


def open_capture(path: Path, beneath: Path | None) -> int:
    """Open the file of a capture, or make it; a link is not followed. Blocks.

    :param beneath: a directory that it must be in, reached by no link; directories on
        the way are made.
    :raises OSError: as the file system says, or another process writes it.
    :raises ValueError: it is no file, or not in that directory.
    """
    if beneath is None:
        return _opened(path)
    if beneath not in path.parents:
        raise ValueError(f"it is not in {beneath}")
    with directory_beneath(beneath, path.parent, make=True) as parent:
        return _opened(parent / path.name)


def _opened(path: Path) -> int:
    try:
        descriptor = open_private(path, FLAGS)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        raise OSError(errno.ELOOP, "it is a symbolic link") from error
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ValueError("it is not a regular file")
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise OSError(errno.EBUSY, "another capture writes to it") from error
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _begin(descriptor: int, length: int) -> int:
    """See that a file has a header; returns where its records begin."""
    beginning = os.pread(descriptor, HEADER.size, 0)
    if len(beginning) < HEADER.size and header(length).startswith(beginning):
        # New, or its maker was stopped at once.
        os.ftruncate(descriptor, 0)
        if os.pwrite(descriptor, header(length), 0) < HEADER.size:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    else:
        snapshot_length(beginning)
    return HEADER.size
