"""Archives of projects from anywhere: what they hold is checked before it is unpacked.

All functions block, but for the coroutine.
"""

from __future__ import annotations

import asyncio
import errno
import lzma
import re
import shutil
import stat
import time
import zipfile
import zlib
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from gns3server.plugin import Conflict
from gns3server_v2.wording import FILE_NAME, IMAGES, SNAPSHOTS, SUFFIX

MOST_ENTRIES = 20_000
"""Files of one archive."""

LARGEST_WHOLE = 64 * 1024**3
"""Bytes of all files of an archive together, unpacked."""

MOST_RATIO, FREE_BYTES = 1100, 1024 * 1024
"""How much a file may shrink: deflate cannot do more. Small files may shrink as they like."""

PIECE = 1024 * 1024

UNFIT = (errno.EILSEQ, errno.EINVAL, errno.EISDIR, errno.ENAMETOOLONG, errno.ENOTDIR)
"""Errors of names that no file can have, or not beside those of others."""

BROKEN = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, NotImplementedError)
"""What a broken archive raises."""

SNAPSHOT = re.compile(f"{SNAPSHOTS}[^/]+{re.escape(SUFFIX)}")
"""A snapshot in an archive, which is an archive of its own."""

IMAGE = re.compile(f"{IMAGES}([^/]+)/([^/]+)")
"""An image in an archive."""

MOST_IMAGES = 100
"""Images of one archive: each is an open file until all of them are there."""

MOST_SNAPSHOTS = 100
"""Snapshots of one archive."""

WANTED = re.compile(r"project-files/([a-z0-9_-]+)/([0-9a-fA-F-]{36})/.+|[^/]+")
"""What is unpacked: files of nodes, and those beside the project's own. The rest is left out."""


def project_file(archive: zipfile.ZipFile, largest: int) -> bytes:
    """The project file of an archive that is checked.

    :raises Conflict: the archive holds what no archive should, or no project.
    """
    entries = archive.infolist()
    _check_measure(len(entries), sum(entry.file_size for entry in entries))
    names = set()
    for entry in entries:
        _check(entry)
        if entry.filename in names:
            raise Conflict(f"The archive has the file {entry.filename!r:.200} twice.")
        names.add(entry.filename)
    if FILE_NAME not in names:
        raise Conflict(f"The archive has no {FILE_NAME}: it is none of a project.")
    with archive.open(FILE_NAME) as file:
        return file.read(largest + 1)


@dataclass(frozen=True, slots=True)
class CameSnapshot:
    """A snapshot that has come in an archive, as an archive of its own.

    :param place: where that is now.
    :param created: seconds since 1970, as far as the archive tells it.
    """

    place: Path
    name: str
    created: float

    @property
    def what(self) -> str:
        """What it is called in messages."""
        return f"The archive of the snapshot {self.name!r:.200}"


@contextmanager
def opened(place: Path, what: str = "The archive") -> Iterator[zipfile.ZipFile]:
    """An archive, to be read in the context.

    :param what: what it is called in messages.
    :raises Conflict: it is broken.
    """
    try:
        with zipfile.ZipFile(place) as archive:
            yield archive
    except BROKEN as error:
        raise Conflict(f"{what} is broken: {error}.") from error


def find_snapshots(place: Path, directory: Path) -> list[CameSnapshot]:
    """Take the snapshots out of an archive that is checked, the oldest first.

    Each is an archive, which is not checked yet, but all of them together are.

    :param directory: where to put these archives.
    :raises Conflict: one is broken, or they hold more than an archive may.
    :raises OSError: one cannot be written.
    """
    with opened(place) as archive:
        entries = archive.infolist()
        files, size = len(entries), sum(entry.file_size for entry in entries)
        found: list[CameSnapshot] = []
        for entry in entries:
            if not SNAPSHOT.fullmatch(entry.filename):
                continue
            if len(found) == MOST_SNAPSHOTS:
                raise Conflict(f"The archive has more than {MOST_SNAPSHOTS} snapshots.")
            target = directory / f".snapshot-{len(found)}"
            with archive.open(entry) as source, target.open("xb") as file:
                shutil.copyfileobj(source, file, PIECE)
            name = unquote(entry.filename.removeprefix(SNAPSHOTS).removesuffix(SUFFIX))
            came = CameSnapshot(target, name, _moment(entry))
            with opened(target, came.what) as inner:
                files += len(inner.infolist())
                size += sum(each.file_size for each in inner.infolist())
            _check_measure(files, size)
            found.append(came)
    return sorted(found, key=lambda came: came.created)


def find_images(archive: zipfile.ZipFile) -> list[tuple[zipfile.ZipInfo, str, str]]:
    """The images in an archive that is checked: each with the directory of its kind, and its name.

    :raises Conflict: there are too many.
    """
    found = [
        (entry, each[1], each[2])
        for entry in archive.infolist()
        if (each := IMAGE.fullmatch(entry.filename))
    ]
    if len(found) > MOST_IMAGES:
        raise Conflict(f"The archive has more than {MOST_IMAGES} images.")
    return found


async def read_entry(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> AsyncIterator[bytes]:
    """The content of a file of an archive, piece by piece, read off the loop."""
    with await asyncio.to_thread(archive.open, entry) as source:
        while piece := await asyncio.to_thread(source.read, PIECE):
            yield piece


def _moment(entry: zipfile.ZipInfo) -> float:
    try:
        return time.mktime((*entry.date_time, 0, 0, -1))
    except (ValueError, OverflowError):
        return 0.0


def _check_measure(files: int, size: int) -> None:
    """Refuse an archive that is too large.

    :param files: how many it holds.
    :param size: their bytes.
    :raises Conflict: says so.
    """
    if files > MOST_ENTRIES:
        raise Conflict(f"The archive has more than {MOST_ENTRIES} files, and was not read.")
    if size > LARGEST_WHOLE:
        raise Conflict(f"The archive holds more than {LARGEST_WHOLE} bytes, and was not read.")


def _check(entry: zipfile.ZipInfo) -> None:
    """Refuse an entry that would leave the directory, is no file, or grows beyond measure.

    :raises Conflict: says which.
    """
    name, mode = entry.filename, entry.external_attr >> 16
    parts = name.rstrip("/").split("/")
    if "\\" in name or "\0" in name or any(part in ("", ".", "..") for part in parts):
        raise Conflict(f"The archive has a file that is not below it: {name!r:.200}.")
    if mode and not (stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_IFMT(mode) == 0):
        raise Conflict(f"The archive has a link or a device, which is not unpacked: {name!r:.200}.")
    if entry.flag_bits & 1:
        raise Conflict("The archive is encrypted: make one without a password.")
    if entry.file_size > entry.compress_size * MOST_RATIO + FREE_BYTES:
        raise Conflict(f"The archive has a file that is larger than it can be: {name!r:.200}.")


def unpack(archive: zipfile.ZipFile, directory: Path) -> None:
    """Unpack the files of an archive that is checked into a directory that is ours alone.

    :raises Conflict: a file is broken.
    :raises OSError: it cannot be written.
    """
    for entry in archive.infolist():
        name = entry.filename
        if entry.is_dir() or name == FILE_NAME or not WANTED.fullmatch(name):
            continue
        if name.startswith((".", "project.db")):
            continue
        target = directory / name
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(entry) as source, target.open("xb") as file:
                while piece := source.read(PIECE):
                    file.write(piece)
        except (zipfile.BadZipFile, EOFError, NotImplementedError) as error:
            raise Conflict(f"The archive is broken: {error}.") from error
        except FileExistsError as error:
            raise Conflict(f"The archive has the file {name!r:.200} twice.") from error
        except OSError as error:
            if error.errno in UNFIT:
                raise Conflict(
                    f"The archive has a file that cannot be written here: {name!r:.200}: "
                    f"{error.strerror}."
                ) from error
            raise
