"""One immutable snapshot of all settings: defaults < files < environment < command line.

The source of every value is known.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from gns3server.settings.errors import SettingsError
from gns3server.settings.paths import absolute, expand, home_of, xdg_directory
from gns3server.settings.server import SECTION, SERVER_SETTINGS, ServerSettings
from gns3server.settings.sources import Sections, config_files, read_files, variable_prefix

COMMAND_LINE = "command line"

PROGRAM_VARIABLES = {
    *("HOME", "LANG", "LANGUAGE", "LOGNAME", "PATH", "SHELL", "TERM", "TMPDIR", "TZ", "USER"),
    *("DISPLAY", "LD_LIBRARY_PATH", "WAYLAND_DISPLAY", "XAUTHORITY", "XDG_RUNTIME_DIR"),
}
"""The environment variables that every program gets, besides those of the locale."""


@dataclass(frozen=True, slots=True)
class Given:
    """A value as it was given, and its source."""

    text: str
    source: str


def split_list(text: str) -> tuple[str, ...]:
    """The items of a comma-separated setting, without the blanks around them."""
    return tuple(item.strip() for item in text.split(",") if item.strip())


@dataclass(frozen=True)
class Settings:
    """One snapshot of everything that is configured.

    :param server: the core's own section.
    :param environ: the environment the server was started in.
    :param flags: what the command line says, as text, by section.
    :param said: what each configuration file says, the strongest last.
    :param warnings: what is wrong with these files, one sentence each.
    """

    server: ServerSettings = field(default_factory=ServerSettings)
    environ: Mapping[str, str] = field(default_factory=dict)
    flags: Sections = field(default_factory=dict)
    said: Mapping[Path, Sections] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    @property
    def files(self) -> tuple[Path, ...]:
        """The configuration files that count, in order."""
        return tuple(self.said)

    def expand(self, path: str) -> Path:
        """A path as it was written, with ``~`` and variables expanded, made absolute.

        :raises SettingsError: there is no such user, variable or directory.
        """
        return absolute(expand(path, self.environ))

    @property
    def home(self) -> Path:
        """The home directory of the user who runs the server."""
        return self.expand("~")

    @property
    def projects_path(self) -> Path:
        """The parent directory of projects that are created without a path."""
        return self.expand(self.server.project_directory or self.server.projects_path)

    @property
    def images_path(self) -> Path:
        """The directory of emulator images."""
        return self.expand(self.server.images_path)

    @property
    def state_path(self) -> Path:
        """The directory of the server's own records."""
        base = xdg_directory(self.environ, "XDG_STATE_HOME") or "~/.local/state"
        return self.expand(self.server.state_path or f"{base}/gns3server")

    @property
    def console_host(self) -> str:
        """The address that consoles listen on."""
        host = self.server.console_host
        if self.server.allow_remote_console and host == ServerSettings.console_host:
            return "0.0.0.0"  # noqa: S104 (asked for)
        return host

    @property
    def search_path(self) -> str:
        """Where programs are looked up, in the form of PATH."""
        return self.environ.get("PATH", os.defpath)

    @property
    def program_environment(self) -> Mapping[str, str]:
        """The environment of every program: what most need, and nothing of the server's own.

        The server may have been started with passwords in its environment.
        """
        wanted = PROGRAM_VARIABLES | set(split_list(self.server.environment))
        return {
            name: value
            for name, value in self.environ.items()
            if name in wanted or name.startswith("LC_")
        }

    def section(self, name: str) -> Mapping[str, str]:
        """A section as text, from all sources; empty if none gives it."""
        return MappingProxyType({key: one.text for key, one in self.given(name).items()})

    def given(self, section: str) -> dict[str, Given]:
        """The values given in a section, each from the source that wins."""
        section = section.lower()
        declared = {one.name: one for one in SERVER_SETTINGS} if section == SECTION else {}
        return {
            key: one
            for key, one in self._layers(section)
            if key not in declared or declared[key].counts(one.text)
        }

    def _layers(self, section: str) -> Iterator[tuple[str, Given]]:
        for path, said in self.said.items():
            for key, text in said.get(section, {}).items():
                yield key, Given(text, str(path))
        prefix = variable_prefix(section)
        for variable, text in self.environ.items():
            if variable.startswith(prefix):
                key = variable.removeprefix(prefix).lower()
                yield key, Given(text, f"environment variable {variable}")
        for key, text in self.flags.get(section, {}).items():
            yield key, Given(text, COMMAND_LINE)


def load(
    environ: Mapping[str, str],
    flags: Mapping[str, Any] | None = None,
    files: tuple[Path, ...] | None = None,
    *,
    before: Settings | None = None,
) -> Settings:
    """Read all sources and make one snapshot.

    :param environ: the process's environment.
    :param flags: values from the command line, which win over all others: ``port`` in the
        ``[Server]`` section, ``name.key`` in another section.
    :param files: the files to read, weakest first; the usual ones by default.
    :param before: the settings so far: what a file said there still applies once it is gone.
    :raises SettingsError: a file cannot be read or a value does not fit.
    """
    if not home_of(environ).startswith("/"):
        raise SettingsError(
            f"HOME is {home_of(environ)!r}, not an absolute path: set it to the home directory"
        )
    looked_for = config_files(environ) if files is None else files
    said, warnings = read_files(looked_for, before.said if before else {})
    settings = Settings(
        environ=dict(environ),
        flags=_by_section(flags or {}),
        said=said,
        warnings=tuple(warnings),
    )
    return replace(settings, server=_server(settings))


def _by_section(flags: Mapping[str, Any]) -> Sections:
    sections: dict[str, dict[str, str]] = {}
    for name, value in flags.items():
        section, _, key = name.rpartition(".")
        sections.setdefault(section or SECTION, {})[key] = str(value)
    return sections


def _server(settings: Settings) -> ServerSettings:
    # Imported when used: it would slow down --help and --version.
    from marshmallow import EXCLUDE, ValidationError

    from gns3server.settings.fields import ServerSchema

    given = settings.given(SECTION)
    try:
        values = ServerSchema(unknown=EXCLUDE).load({name: one.text for name, one in given.items()})
    except ValidationError as error:
        wrong = error.messages_dict
        raise SettingsError(
            " ".join(f"{_of(name, given)} {wrong[name][0]}." for name in sorted(wrong))
        ) from None
    for setting in SERVER_SETTINGS:
        if setting.path and values.get(setting.name):
            try:
                settings.expand(values[setting.name])
            except SettingsError as error:
                raise SettingsError(f"{_of(setting.name, given)} cannot be used: {error}") from None
    return ServerSettings(**values)


def _of(name: str, given: Mapping[str, Given]) -> str:
    return f"{given[name].source}: the setting {name}" if name in given else f"The setting {name}"


class ConfigView(Mapping[str, Any]):
    """A plugin's live, read-only view of its own section in the newest snapshot."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = dict(values)

    def replace(self, values: Mapping[str, Any]) -> None:
        """Show a new snapshot from now on; only the plugin host calls this."""
        self._values = dict(values)

    def __getitem__(self, key: str) -> Any:
        return self._values[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


def host_names(settings: Settings) -> frozenset[str]:
    """The names, besides IP literals, by which requests may address this server."""
    return frozenset(
        name.lower()
        for name in ("localhost", socket.gethostname(), *split_list(settings.server.allowed_hosts))
    )
