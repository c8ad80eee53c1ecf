"""The live settings: read again while the server runs, seen by everybody at once."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable
from pathlib import Path

from gns3server.settings.schema import Settings, config_files

FIXED = frozenset(
    {
        "host",
        "port",
        "ssl",
        "certfile",
        "certkey",
        "quiet",
        "debug",
        "log",
        "record",
        "state_path",
        "max_starting",
        "disabled_plugins",
        "strict_plugins",
        "console_start_port_range",
        "console_end_port_range",
        "udp_start_port_range",
        "udp_end_port_range",
    }
)
"""What keeps the value that it had at the start, whatever a reload reads."""


class LiveSettings:
    """The live settings: one snapshot, replaced as a whole when the files are read again.

    ``on_change`` is called with each new snapshot before it counts, and may refuse it
    with a :class:`~gns3server.settings.schema.SettingsError`.

    :param read: makes a snapshot of all sources.
    :raises SettingsError: the first snapshot cannot be made.
    """

    def __init__(self, read: Callable[[], Settings]) -> None:
        self._read = read
        self.current = read()
        self.on_change: Callable[[Settings], None] = lambda _: None
        self._stamps = self._look()

    def reload(self) -> None:
        """Read everything again; what is :data:`FIXED` keeps its value. Blocks.

        :raises SettingsError: a source cannot be used; nothing has changed.
        """
        self._stamps = self._look()
        new, old = self._read(), self.current.server
        kept = {name: getattr(old, name) for name in FIXED}
        new = dataclasses.replace(new, server=dataclasses.replace(new.server, **kept))
        self.on_change(new)
        self.current = new

    def is_stale(self) -> bool:
        """Whether a file has come, gone or changed since it was read. Blocks."""
        return self._look() != self._stamps

    def _look(self) -> dict[Path, tuple[int, int]]:
        stamps = {}
        for path in config_files(self.current.environ):
            with contextlib.suppress(OSError):
                status = path.stat()
                stamps[path] = (status.st_mtime_ns, status.st_size)
        return stamps
