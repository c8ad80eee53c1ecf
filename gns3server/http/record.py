"""The record of accepted requests, as lines one could paste into a shell (``--record``)."""

from __future__ import annotations

import logging
import shlex
from pathlib import Path

from aiohttp import web

from gns3server.http.encoding import compact
from gns3server.http.reading import PARSED

log = logging.getLogger(__name__)


class Recorder:
    """Appends a curl line for each accepted request to a file.

    :raises OSError: the file cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        # Line by line: what was accepted is on record when it is carried out.
        self._file = path.open("a", encoding="utf-8", errors="backslashreplace", buffering=1)

    def __call__(self, request: web.Request) -> None:
        """Record one request; its credentials are left out."""
        host = request.headers.get("Host", "localhost")
        words = ["curl", "-X", request.method, f"{request.scheme}://{host}{request.path_qs}"]
        if PARSED in request:
            words += ["-d", compact(request[PARSED])]
        try:
            self._file.write(shlex.join(words) + "\n")
        except OSError as error:
            log.warning("a request is missing in the record: %s", error)

    def close(self) -> None:
        """Close the file."""
        self._file.close()
