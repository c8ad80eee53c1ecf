"""Paths as they are written in settings, with ``~``, ``~user`` and ``$HOME`` in them."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from gns3server.settings.errors import SettingsError

VARIABLE = re.compile(r"\$(?:([A-Za-z_]\w*)|\{(\w+)\})", re.ASCII)


def home_of(environ: Mapping[str, str]) -> str:
    """The home directory of the user, from HOME or the password database.

    :raises SettingsError: neither has it.
    """
    return environ.get("HOME") or _home_on_record(None)


def xdg_directory(environ: Mapping[str, str], name: str) -> str | None:
    """The directory that a variable names, if it is to be followed.

    A relative one is not valid and has to be ignored (XDG Base Directory Specification).
    """
    path = environ.get(name, "")
    return path if path.startswith("/") else None


def expand(path: str, environ: Mapping[str, str]) -> str:
    """A path with ``~``, ``~user`` and variables expanded; a relative one stays relative.

    :raises SettingsError: there is no such user or variable.
    """

    def value(found: re.Match[str]) -> str:
        name = found[1] or found[2]
        known = home_of(environ) if name == "HOME" else environ.get(name)
        if not known:
            raise SettingsError(
                f"the path {path!r} names the variable {name}, which is not set: set it, or write "
                "the path out"
            )
        return known

    first, slash, rest = path.partition("/")
    if first == "~":
        first = home_of(environ)
    elif first.startswith("~"):
        first = _home_on_record(first[1:])
    else:
        return VARIABLE.sub(value, path)
    return first + slash + VARIABLE.sub(value, rest)


def absolute(path: str) -> Path:
    """A path made absolute from the directory that the server was started in.

    :raises SettingsError: that directory no longer exists.
    """
    try:
        return Path(path).absolute()
    except OSError as error:
        raise SettingsError(
            f"the path {path!r} is relative, and the directory that the server was started in "
            "cannot be used: start it in another one, or give the whole path"
        ) from error


def _home_on_record(user: str | None) -> str:
    # Imported when used: most paths do not need the password database.
    import pwd

    try:
        return (pwd.getpwuid(os.geteuid()) if user is None else pwd.getpwnam(user)).pw_dir
    except KeyError:
        pass
    if user is None:
        raise SettingsError(
            f"HOME is not set, and the user {os.geteuid()} is not in the password database, so "
            "there is no home directory: set HOME"
        )
    raise SettingsError(
        f"the path begins with '~{user}', and there is no user {user!r}: write the path out"
    )
