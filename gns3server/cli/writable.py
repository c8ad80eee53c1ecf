"""Whether files can be made in a directory, found out by trying. Everything here blocks."""

from __future__ import annotations

import errno
import os
from pathlib import Path


def existing(path: Path) -> Path:
    """A path, or the nearest one above it that exists."""
    return next(place for place in (path, *path.parents) if os.path.lexists(place))


def check_writable(path: Path) -> None:
    """Check that a directory, or one above it that it would be made in, can be written to.

    :raises OSError: it cannot.
    """
    try:
        # A file without a name, which is gone once it is closed.
        os.close(os.open(existing(path), os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600))
    except OSError as error:
        # The file system has no files without a name.
        if error.errno not in (errno.EOPNOTSUPP, errno.EISDIR):
            raise
