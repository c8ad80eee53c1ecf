"""Archives of projects from anywhere: what they hold is checked before it is unpacked.

All functions block.
"""

from __future__ import annotations

import errno
import re
import stat
import zipfile
from pathlib import Path

from gns3server.plugin import Conflict
from gns3server_v2.wording import FILE_NAME

MOST_ENTRIES = 20_000
"""Files of one archive."""

LARGEST_WHOLE = 64 * 1024**3
"""Bytes of all files of an archive together, unpacked."""

MOST_RATIO, FREE_BYTES = 1100, 1024 * 1024
"""How much a file may shrink: deflate cannot do more. Small files may shrink as they like."""

PIECE = 1024 * 1024

UNFIT = (errno.EILSEQ, errno.EINVAL, errno.EISDIR, errno.ENAMETOOLONG, errno.ENOTDIR)
"""Errors of names that no file can have, or not beside those of others."""

WANTED = re.compile(r"project-files/([a-z0-9_-]+)/([0-9a-fA-F-]{36})/.+|[^/]+")
"""What is unpacked: files of nodes, and those beside the project's own. The rest is left out."""


def project_file(archive: zipfile.ZipFile, largest: int) -> bytes:
    """The project file of an archive that is checked.

    :raises Conflict: the archive holds what no archive should, or no project.
    """
    entries = archive.infolist()
    if len(entries) > MOST_ENTRIES:
        raise Conflict(f"The archive has more than {MOST_ENTRIES} files, and was not read.")
    if sum(entry.file_size for entry in entries) > LARGEST_WHOLE:
        raise Conflict(f"The archive holds more than {LARGEST_WHOLE} bytes, and was not read.")
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
