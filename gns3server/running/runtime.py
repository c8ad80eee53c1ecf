"""Directories with short paths for the sockets of running nodes. All of it blocks.

The path of a unix socket has 107 bytes at most (unix(7)), and projects may be anywhere.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
from contextlib import suppress
from pathlib import Path

from gns3server.errors import Conflict
from gns3server.files.private import DIRECTORY_MODE

NAME = "run"
"""What the directory above them is called in the state directory."""

LONGEST = 50
"""Limit of the path above a node's own directory, in bytes: over half is left for names."""


def runtime_base(state: Path, user_runtime: str | None) -> Path:
    """Where a server's nodes have these directories: the same place after each restart.

    :param state: the server's state directory, which is used if its path is short enough.
    :param user_runtime: the user's runtime directory, if there is one
        (XDG Base Directory Specification).
    """
    if len(os.fsencode(state / NAME)) <= LONGEST:
        return state / NAME
    mark = hashlib.sha256(os.fsencode(state)).hexdigest()[:8]
    if user_runtime and len(os.fsencode(user_runtime)) <= LONGEST - 20:
        return Path(user_runtime, f"gns3server-{mark}")
    return Path("/tmp", f"gns3server-{os.getuid()}-{mark}")  # noqa: S108 (made and checked below)


def runtime_directory(base: Path, node_id: str) -> Path:
    """The directory of one node; it need not exist."""
    return base / hashlib.sha256(node_id.encode()).hexdigest()[:12]


def make(directory: Path) -> None:
    """Make a node's directory, for this user alone.

    :raises Conflict: it cannot be made, or another user has made it.
    """
    try:
        for place in (directory.parent, directory):
            place.mkdir(DIRECTORY_MODE, parents=True, exist_ok=True)
            found = place.lstat()
            if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
                raise Conflict(
                    f"{place} is another user's: remove it, or choose another state_path."
                )
    except OSError as error:
        raise Conflict(
            f"The directory {directory} for sockets cannot be made: {error.strerror}. Make room, "
            "or choose another state_path."
        ) from error


def remove(directory: Path) -> None:
    """Remove a node's directory, if it has one.

    :raises OSError: it cannot be removed.
    """
    with suppress(FileNotFoundError):
        shutil.rmtree(directory)


def remove_base(base: Path) -> None:
    """Remove the directory above, unless something is in it."""
    with suppress(OSError):
        base.rmdir()
