"""Where settings come from: the configuration files, and what each of them says."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path

from gns3server.settings.errors import SettingsError
from gns3server.settings.paths import home_of, xdg_directory
from gns3server.settings.server import SECTION, SERVER_SETTINGS

ENVIRONMENT_PREFIX = "GNS3_"
"""A variable ``GNS3_<SECTION>_<KEY>`` sets that key of that section."""

LARGEST = 1024 * 1024
"""Bytes of a settings file; it is read each time it changes."""

SECTION_LINE = re.compile(r"\[(?P<header>[^]]+)\]\s*(?:[#;].*)?$")
"""The beginning of a section, which a comment may follow."""

NO = frozenset({"0", "false", "no", "off"})

Sections = Mapping[str, Mapping[str, str]]
"""What a file says, as text, by section and setting in lower case."""


def variable_prefix(section: str) -> str:
    """The beginning of the names of a section's environment variables."""
    return f"{ENVIRONMENT_PREFIX}{section.upper().replace('-', '_')}_"


def config_files(environ: Mapping[str, str]) -> tuple[Path, ...]:
    """Where configuration files are looked for, the strongest last (contract 4.6, D-22).

    :raises SettingsError: the user has no home directory.
    """
    home = Path(home_of(environ)) / ".config"
    # Clients leave user and password in ~/.config, wherever XDG_CONFIG_HOME may point: if they
    # were not read there, a server that should ask for them would be open.
    user = dict.fromkeys((home, Path(xdg_directory(environ, "XDG_CONFIG_HOME") or home)))
    return (
        *(
            path
            for directory in (Path("/etc/xdg"), *user)
            for path in (directory / "GNS3.conf", directory / "GNS3" / "gns3_server.conf")
        ),
        Path("gns3_server.conf"),
    )


def read_files(
    paths: Iterable[Path], before: Mapping[Path, Sections]
) -> tuple[dict[Path, Sections], list[str]]:
    """What the existing files say, and warnings about them. Blocks.

    What a file has said still applies when the file is gone, is empty or cannot be read, so that
    no accident opens the server.

    :param before: what the files said last.
    :raises SettingsError: a file exists but cannot be used.
    """
    said: dict[Path, Sections] = {}
    warnings: list[str] = []
    for path in paths:
        old = before.get(path)
        doubt = _doubt(path)
        if doubt and not old:
            warnings.append(f"{path.absolute()} is ignored: {doubt}. Start the server elsewhere")
            continue
        try:
            new = None if doubt else _read(path, old or {})
        except OSError as error:
            if old is None:
                raise SettingsError(
                    f"{path} cannot be read: {error.strerror or error}. Let this user read it, or "
                    "set HOME to this user's own home directory"
                ) from error
            new, what = None, f"cannot be read any more ({error.strerror or error})"
        else:
            what = "is empty now" if new is not None else "is gone"
        if doubt:
            what = f"is not read any more ({doubt})"
        if old and not new:
            warnings.append(
                f"{path} {what}: what it said still counts until the server is started again"
            )
            new = old
        elif old and new:
            new = _guarded(path, old, new, warnings)
        if new is not None:
            said[path] = new
    return said, warnings


def _doubt(path: Path) -> str:
    """Why the file in the working directory may be a trap of another user; empty if it is not.

    It may name the programs to run. The server is not always started in a directory of its user's.
    """
    if path.is_absolute():
        return ""
    try:
        file, directory = path.stat(), path.absolute().parent.stat()
    except OSError:
        return ""
    if file.st_uid not in {0, os.geteuid()}:
        return "it belongs to another user"
    if (file.st_mode | directory.st_mode) & stat.S_IWOTH:
        return "every user can change it"
    return ""


def _guarded(path: Path, old: Sections, new: Sections, warnings: list[str]) -> Sections:
    """What a changed file says, and what it said of the guarding settings if it omits them now."""
    was, now = old.get(SECTION, {}), new.get(SECTION, {})
    if now.get("auth", "").strip().lower() in NO:
        return new
    kept = {
        setting.name: was[setting.name]
        for setting in SERVER_SETTINGS
        if setting.guards and not setting.fixed
        if was.get(setting.name, "").strip() and not now.get(setting.name, "").strip()
    }
    if not kept:
        return new
    warnings.append(
        f"{path} does not set {', '.join(kept)} any more: what it said of them still counts until "
        "the server is started again. To ask nobody for a password, write auth = no"
    )
    return {**new, SECTION: {**now, **kept}}


def _read(path: Path, old: Sections) -> Sections | None:
    """The sections of a file; ``None`` if there is none.

    :param old: what it said last.
    :raises OSError: it cannot be read or searched for.
    :raises SettingsError: it is not a settings file.
    """
    try:
        # Not blocking: it may be a pipe, which must not be waited for.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except PermissionError:
        # The directory that the server happens to be started in is nobody's choice.
        if path.is_absolute() or _is_found(path):
            raise
        return None
    with open(descriptor, "rb") as stream:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return None
        content = stream.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise SettingsError(f"{path} has more than {LARGEST // 1024} KiB: it is no settings file.")
    new = parse(path, content)
    # Half a password would be taken for a whole one.
    if old and new and new != old and not content.endswith(b"\n"):
        raise SettingsError(
            f"{path} may be half written: its last line has no end. End it with a line break."
        )
    return new


def _is_found(path: Path) -> bool:
    try:
        os.stat(path)
    except PermissionError:
        return False
    return True


def parse(path: Path, content: bytes) -> Sections:
    """The sections of a file's content.

    :param path: what it is called in messages.
    :raises SettingsError: it is no file of settings.
    """
    # Imported when used: most servers have no file, and it would slow down their start.
    import configparser

    parser = configparser.ConfigParser(interpolation=None, strict=False)
    # Its own lets anything follow the bracket, unread: "[Server] auth = yes" would ask nobody.
    parser.SECTCRE = SECTION_LINE
    try:
        # Editors of other systems write a byte-order mark and end lines with CR LF, or CR.
        text = content.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
        parser.read_string(text)
    except UnicodeDecodeError as error:
        raise SettingsError(
            f"{path} cannot be read: byte {error.start + 1} is not UTF-8. Save it as UTF-8"
        ) from None
    except configparser.Error as error:
        # The error's own text repeats the line, which may hold the password; so does its traceback.
        numbers = [number for number, _ in getattr(error, "errors", ())]
        line = numbers[0] if numbers else getattr(error, "lineno", 0)
        missing = isinstance(error, configparser.MissingSectionHeaderError)
        if missing and not str(getattr(error, "line", "")).startswith("["):
            raise SettingsError(
                f"{path} cannot be read: line {line} is in no section. Write [Server] above it."
            ) from None
        raise _not_a_setting(path, line) from None
    for name in parser.sections():
        for key in parser[name]:
            if key.startswith("["):
                lines = [line.strip().lower() for line in text.split("\n")]
                raise _not_a_setting(path, 1 + next(i for i, x in enumerate(lines) if key in x))
    return {name.lower(): dict(parser[name]) for name in parser.sections()}


def _not_a_setting(path: Path, line: int) -> SettingsError:
    return SettingsError(
        f"{path} cannot be read: line {line} is not a [section], a 'key = value' or a comment."
    )
