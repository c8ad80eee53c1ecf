"""Why files cannot be read or written: the true reason, and what helps against it."""

from __future__ import annotations

import errno
import os
import pwd
from pathlib import Path

from gns3server.errors import advice_sentence

FORBIDDEN = (errno.EACCES, errno.EPERM)
"""How the kernel says that the user may not do it."""

FILE_REMEDY = "Make it a regular file that the server's user may read and write."
DIRECTORY_REMEDY = "Make the directory writable for the server's user."
STATE_REMEDY = "Make it a directory of the server's user, with nothing but regular files in it."


def remedy(error: OSError, place: Path | None = None, otherwise: str = FILE_REMEDY) -> str:
    """A sentence that says what helps against an error about a file. Blocks.

    :param place: the file, if the error does not name it.
    :param otherwise: what to say of an error that there is no other advice for.
    """
    named = error.filename
    place = Path(named) if isinstance(named, str) else place
    if error.errno in FORBIDDEN:
        return "Make it writable for the server's user." if place is None else _permit(place)
    if error.errno == errno.EFBIG:
        return "Put the right file in its place, from a backup for instance."
    return advice_sentence(error) or otherwise


def obstacle(*places: Path) -> OSError | None:
    """What keeps this process from writing to some files and directories. Blocks.

    None of them is opened. Those that do not exist are left out.

    :returns: an error that names what is in the way, as far as that can be told.
    """
    for place in places:
        try:
            disk = os.statvfs(place)
        except PermissionError as error:
            return error
        except OSError:
            continue
        wanted = os.R_OK | os.W_OK | (os.X_OK if place.is_dir() else 0)
        number = errno.EROFS if disk.f_flag & os.ST_RDONLY else errno.EACCES
        if number == errno.EROFS or not os.access(place, wanted):
            return OSError(number, os.strerror(number), str(place))
    return None


def _permit(place: Path) -> str:
    """How the server's user gets to use what it may not use now."""
    me = os.geteuid()
    for directory in reversed(place.parents):
        if os.path.exists(directory) and not os.access(directory, os.X_OK):
            who = "u" if directory.stat().st_uid == me else "o"
            return f"Let the server's user search {directory} (chmod {who}+x {directory})."
    try:
        # What does not exist would have to be made.
        place = place if os.path.lexists(place) else place.parent
        status = place.stat()
    except OSError:
        return f"Make {place} readable and writable for the server's user."
    whole = "-R " if place.is_dir() else ""
    if status.st_uid != me:
        return (
            f"{place} belongs to {_user(status.st_uid)}: give it to the server's user "
            f"(chown {whole}{_user(me)} {place})."
        )
    if status.st_mode & 0o600 != 0o600:
        return f"Make {place} readable and writable for the server's user (chmod u+rwX {place})."
    return f"Something else than its mode protects {place}: see lsattr and getfacl."


def _user(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)
