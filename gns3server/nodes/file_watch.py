"""Reading a file in such a way that every later change of what was read leaves an event.

All functions block: call them off the loop.
"""

from __future__ import annotations

import os
import stat

from gns3server.running.inotify import CONTENT, ENTRIES, Inotify

Place = tuple[int, bytes]
"""Where events would tell that an answer has become wrong: a watch, and the name that matters
in the directory it is on; an empty name for a file."""

LARGEST = 16 * 1024
"""Bytes of a file that is worth keeping."""

DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
FILE = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_NOCTTY | os.O_CLOEXEC


def read_watched(inotify: Inotify, path: str, places: list[Place]) -> bytes | None:
    """A file's content, or ``None`` when there is no such file; right until a place has an event.

    Walks down from the root. Each directory is watched before a name is looked up in
    it, and the file before it is read: whatever changes afterwards is told, be it
    a directory high up that is renamed or the file by another of its names.

    :param places: gets the places, those too that were found before an error.
    :raises OSError: it cannot be read, or not so: not watched, a link on the way, too large.
    """
    parts = os.fsencode(path).split(b"/")[1:]
    if not path.startswith("/") or not {b"", b".", b".."}.isdisjoint(parts):
        raise OSError("only a plain absolute path can be walked")
    handle = os.open("/", DIRECTORY)
    try:
        for number, part in enumerate(parts, 1):
            places.append((inotify.watch(handle, ENTRIES), part))
            try:
                found = os.open(part, FILE if number == len(parts) else DIRECTORY, dir_fd=handle)
            except FileNotFoundError:
                return None
            os.close(handle)
            handle = found
        places.append((inotify.watch(handle, CONTENT), b""))
        return _content(handle)
    finally:
        os.close(handle)


def _content(handle: int) -> bytes:
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        raise OSError("not a regular file")
    with open(handle, "rb", closefd=False) as stream:
        content = stream.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise OSError("too large to be kept")
    return content
