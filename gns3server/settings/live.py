"""The live settings: read again while the server runs, and replaced for everybody at once."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from gns3server.settings.schema import Settings
from gns3server.settings.server import SERVER_SETTINGS
from gns3server.settings.sources import config_files

Stamps = dict[Path, tuple[int, int, int]]


class Read(Protocol):
    """Makes a snapshot of all sources."""

    def __call__(self, *, before: Settings | None) -> Settings:
        """Read them.

        :param before: the snapshot so far, so that no source is forgotten.
        """


class LiveSettings:
    """The live settings: one snapshot, replaced as a whole when the files are read again.

    ``on_change`` is called with each new snapshot before it takes effect, and may refuse it with
    a :class:`~gns3server.settings.errors.SettingsError`; ``after_reload`` is called afterwards.

    :param read: makes a snapshot of all sources.
    :raises SettingsError: the first snapshot cannot be made.
    """

    def __init__(self, read: Read) -> None:
        self._read = read
        self.current = read(before=None)
        self.on_change: Callable[[Settings], None] = lambda _: None
        self.after_reload: Callable[[Settings], None] = lambda _: None
        self._stamps = self._seen = self._look()

    def reload(self) -> None:
        """Read everything again; fixed settings keep their values. Blocks.

        :raises SettingsError: a source cannot be used; nothing has changed.
        """
        self._stamps = self._look()
        new, old = self._read(before=self.current), self.current.server
        kept = {one.name: getattr(old, one.name) for one in SERVER_SETTINGS if one.fixed}
        later = [name for name, value in kept.items() if getattr(new.server, name) != value]
        warnings = new.warnings
        if later:
            names = ", ".join(later)
            warnings += (f"changes to {names} take effect when the server is started again",)
        server = dataclasses.replace(new.server, **kept)
        new = dataclasses.replace(new, server=server, warnings=warnings)
        self.on_change(new)
        self.current = new
        self.after_reload(new)

    def is_stale(self) -> bool:
        """Whether a file has come, gone or changed since it was read, and is complete. Blocks.

        A file that differs at each look is still being written.
        """
        seen, self._seen = self._seen, self._look()
        return seen == self._seen != self._stamps

    def _look(self) -> Stamps:
        stamps = {}
        for path in config_files(self.current.environ):
            with contextlib.suppress(OSError):
                # This time also changes when a new mode lets us read the file again.
                status = path.stat()
                stamps[path] = (status.st_ctime_ns, status.st_size, status.st_ino)
        return stamps
