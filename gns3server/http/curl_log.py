"""The record of accepted requests, as lines one could paste into a shell (``--record``)."""

from __future__ import annotations

import logging
import os
import shlex
from pathlib import Path

from aiohttp import web

from gns3server.http.access import TICKET
from gns3server.http.encoding import compact
from gns3server.http.parsing import PARSED
from gns3server.http.request_log import FACTS
from gns3server.log.output import TextQueue, is_file, open_to_append, write_all
from gns3server.log.rotation import MIB

log = logging.getLogger(__name__)


class CurlLog:
    """Appends a curl line for each accepted request to a file.

    A record without its beginning is useless: at its full size it ends, and is not rotated.

    :param size: how large the file may become, in MiB.
    :raises OSError: the file cannot be opened; the text says what to do.
    """

    def __init__(self, path: Path, size: int) -> None:
        self._path = path
        self._size = size
        try:
            self._descriptor = open_to_append(path)
        except OSError as error:
            raise OSError(
                f"the record of requests cannot be written: {error}. Choose another file for "
                "--record"
            ) from error
        # In a file, what was accepted is on record when it is carried out.
        waits = not is_file(self._descriptor)
        self._queue = TextQueue(self._write_on) if waits else None
        self._complete = True

    def __call__(self, request: web.Request) -> None:
        """Record one request, leaving out secrets: credentials, tickets, confidential bodies."""
        host = request.headers.get("Host", "localhost")
        target = request.rel_url
        if TICKET in target.query:
            target = target.without_query_params(TICKET)
        words = ["curl", "-X", request.method, f"{request.scheme}://{host}{target}"]
        route = request[FACTS].route
        if PARSED in request and not (route is not None and route.confidential):
            words += ["-d", compact(request[PARSED])]
        if self._complete:
            self._append(shlex.join(words) + "\n")

    def _append(self, text: str) -> None:
        """Write a whole line, or end the record."""
        line, reason = text.encode(errors="backslashreplace"), ""
        try:
            if self._queue is not None:
                self._queue.put(text)
                return
            end = os.fstat(self._descriptor).st_size
            reason = f"it has reached {self._size} MiB (record_size)"
            if end + len(line) <= self._size * MIB:
                if os.write(self._descriptor, line) == len(line):
                    return
                reason = "its disk is full"
                os.truncate(self._descriptor, end)
        except OSError as error:
            reason = error.strerror or str(error)
        self._end(reason)

    def _write_on(self, text: str) -> None:
        """Write to a pipe or a terminal, in a thread of its own."""
        try:
            if self._complete:
                write_all(self._descriptor, text.encode(errors="backslashreplace"))
        except OSError as error:
            self._end(error.strerror or str(error))

    def _end(self, reason: str) -> None:
        self._complete = False
        log.warning(
            "the record %s ends here: %s; move it away and start the server again to record on",
            self._path,
            reason,
        )

    def close(self) -> None:
        """Close the file. Blocks, but not for ever, if it is a pipe."""
        if self._queue is None or self._queue.drain():
            os.close(self._descriptor)
