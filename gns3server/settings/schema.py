"""Typed settings: defaults < system file < user file < ./file < environment < flags.

One immutable snapshot; only this module and ``__main__`` read the environment.
"""

from __future__ import annotations

import dataclasses
import os
import re
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from gns3server import __version__

SECTION = "server"
ENVIRONMENT_PREFIX = "GNS3_"
"""A variable ``GNS3_<SECTION>_<KEY>`` sets that key of that section."""

TRUE = frozenset({"1", "true", "yes", "on"})
FALSE = frozenset({"0", "false", "no", "off", ""})
WHOLE_NUMBER = re.compile(r"-?[0-9]{1,9}")


class SettingsError(Exception):
    """A setting cannot be used; the text names it, its source and what it may be."""


def option(default: Any, help_text: str) -> Any:
    """Declare one setting of the ``[Server]`` section."""
    return field(default=default, metadata={"help": help_text})


@dataclass(frozen=True, kw_only=True)
class ServerSettings:
    """The ``[Server]`` section. Paths may begin with ``~``."""

    host: str = option("127.0.0.1", "address to listen on")
    port: int = option(8000, "TCP port to listen on; 0 takes a free one")
    ssl: bool = option(False, "serve HTTPS; needs certfile and certkey")
    certfile: str = option("", "certificate chain, a PEM file")
    certkey: str = option("", "its private key, a PEM file")
    local: bool = option(False, "the server's only user is on this machine: allow project paths")
    auth: bool = option(False, "ask for user and password (HTTP Basic), if user is not empty")
    user: str = option("", "who may call when auth is on")
    password: str = option("", "the password of that user")
    allow_remote_console: bool = option(
        False, "emulators that can choose let consoles be reached from other machines"
    )
    quiet: bool = option(False, "write no log to standard output")
    debug: bool = option(
        False, "log everything: reads, the JSON of requests and answers, command lines"
    )
    log: str = option("", "write the log to this file instead of standard output")
    log_size: int = option(
        10, "how large the log file may become, in MiB; three older ones are kept beside it"
    )
    record: str = option("", "append every accepted request to this file, as a curl line")
    record_size: int = option(100, "how large that file may become, in MiB; then recording ends")
    projects_path: str = option("~/GNS3/projects", "where new projects are made")
    project_directory: str = option("", "overrides projects_path")
    images_path: str = option("~/GNS3/images", "where emulator images are kept")
    state_path: str = option("", "the server's own records; XDG state directory by default")
    console_start_port_range: int = option(2000, "first TCP port for consoles")
    console_end_port_range: int = option(5000, "last TCP port for consoles")
    udp_start_port_range: int = option(10000, "first UDP port for wires")
    udp_end_port_range: int = option(20000, "last UDP port for wires")
    max_starting: int = option(32, "how many nodes may come up at the same time")
    max_projects: int = option(1000, "how many projects may be open")
    max_nodes: int = option(10000, "how many nodes the open projects may have together")
    max_listeners: int = option(
        5000,
        "how many notification streams, followed files and websockets may be open",
    )
    max_events: int = option(5000, "how many events a project keeps for clients that were away")
    max_image_size: int = option(16384, "how large an uploaded image may be, in MiB")
    announced_version: str = option(__version__, "what GET /v1/version says")
    allowed_origins: str = option("", "web origins that may call the API, separated by commas")
    allowed_hosts: str = option("", "more names this server is reached by, separated by commas")
    disabled_plugins: str = option("", "plugins not to load, separated by commas")
    keep_nodes: bool = option(
        False, "a signal that ends the server leaves what runs to the next one"
    )
    strict_plugins: bool = option(False, "a plugin that fails keeps the server from starting")


def split_list(text: str) -> tuple[str, ...]:
    """The items of a comma-separated setting, blanks around them removed."""
    return tuple(item.strip() for item in text.split(",") if item.strip())


@dataclass(frozen=True)
class Settings:
    """One snapshot of everything that is configured.

    :param server: the core's own section.
    :param sections: every other section as text, by lower-case name; plugins
        read theirs through the schema they declare.
    :param environ: the environment the server was started in; child processes
        inherit it.
    :param files: the configuration files that were read, in order.
    """

    server: ServerSettings = field(default_factory=ServerSettings)
    sections: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    environ: Mapping[str, str] = field(default_factory=dict)
    files: tuple[Path, ...] = ()

    def expand(self, path: str) -> Path:
        """A path as it was written, ``~`` and the current directory put in."""
        home = self.environ.get("HOME", "/")
        return Path(home + path[1:] if path == "~" or path.startswith("~/") else path).absolute()

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
        base = self.environ.get("XDG_STATE_HOME") or "~/.local/state"
        return self.expand(self.server.state_path or f"{base}/gns3server")

    @property
    def search_path(self) -> str:
        """Where programs are looked up, in the form of PATH."""
        return self.environ.get("PATH", os.defpath)

    def section(self, name: str) -> Mapping[str, str]:
        """A plugin's section as text, its environment variables put on top; empty if absent."""
        values = dict(self.sections.get(name.lower(), {}))
        prefix = f"{ENVIRONMENT_PREFIX}{name.upper().replace('-', '_')}_"
        for key, value in self.environ.items():
            if key.startswith(prefix):
                values[key.removeprefix(prefix).lower()] = value
        return MappingProxyType(values)


def config_files(environ: Mapping[str, str]) -> tuple[Path, ...]:
    """Where configuration files are looked for, the strongest last (contract 4.6, D-22)."""
    home = Path(environ.get("HOME", "/")) / ".config"
    # Clients leave user and password in ~/.config, wherever XDG_CONFIG_HOME may lead: not to
    # read them there would open a server that was to ask for them.
    user = dict.fromkeys((home, Path(environ.get("XDG_CONFIG_HOME") or home)))
    return (
        *(
            path
            for directory in (Path("/etc/xdg"), *user)
            for path in (directory / "GNS3.conf", directory / "GNS3" / "gns3_server.conf")
        ),
        Path("gns3_server.conf"),
    )


def read_file(path: Path) -> dict[str, dict[str, str]]:
    """The sections of a configuration file as text, by lower-case name. Blocks.

    :raises SettingsError: it cannot be read.
    """
    # Most servers have no file; their start must not pay for it.
    import configparser

    parser = configparser.ConfigParser(interpolation=None, strict=False)
    try:
        with path.open(encoding="utf-8") as stream:
            parser.read_file(stream)
    except configparser.Error as error:
        # Its own text repeats the line, which may hold the password; so would its traceback.
        numbers = [number for number, _ in getattr(error, "errors", ())]
        line = numbers[0] if numbers else getattr(error, "lineno", 0)
        raise SettingsError(
            f"{path} cannot be read: line {line} is no [section], no 'key = value' and no comment."
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} cannot be read: {error}") from error
    return {name.lower(): dict(parser[name]) for name in parser.sections()}


def _typed(name: str, kind: str, value: Any, source: str) -> Any:
    text = str(value).strip()
    if kind == "str":
        return text
    if kind == "bool":
        if text.lower() in TRUE | FALSE:
            return text.lower() in TRUE
    elif WHOLE_NUMBER.fullmatch(text):
        return int(text)
    wanted = "yes or no" if kind == "bool" else "a whole number"
    raise SettingsError(f"{source}: the setting {name} must be {wanted}, not {text!r}.")


def _server_values(values: Mapping[str, Any], source: str) -> dict[str, Any]:
    known = {f.name: str(f.type) for f in dataclasses.fields(ServerSettings)}
    return {
        name: _typed(name, known[name], value, source)
        for name, value in values.items()
        if name in known
    }


def _check(server: ServerSettings) -> None:
    def within(name: str, low: int, high: int) -> None:
        value = getattr(server, name)
        if not low <= value <= high:
            raise SettingsError(f"The setting {name} must be {low} to {high}, not {value}.")

    within("port", 0, 65535)
    for kind in ("console", "udp"):
        within(f"{kind}_start_port_range", 1, 65535)
        within(f"{kind}_end_port_range", getattr(server, f"{kind}_start_port_range"), 65535)
    for name in (
        *("max_starting", "max_projects", "max_nodes", "max_listeners", "max_events"),
        *("max_image_size", "log_size", "record_size"),
    ):
        within(name, 1, 1_000_000)


def load(
    environ: Mapping[str, str],
    flags: Mapping[str, Any] | None = None,
    files: tuple[Path, ...] | None = None,
) -> Settings:
    """Read all sources and make one snapshot.

    :param environ: the process's environment.
    :param flags: ``[Server]`` values from the command line, which win over all.
    :param files: the files to read, weakest first; the usual ones by default.
    :raises SettingsError: a file cannot be read or a value does not fit.
    """
    values: dict[str, Any] = {}
    sections: dict[str, dict[str, str]] = {}
    looked_for = config_files(environ) if files is None else files
    found = tuple(path for path in looked_for if path.is_file())
    for path in found:
        for name, section in read_file(path).items():
            if name == SECTION:
                values.update(_server_values(section, str(path)))
            else:
                sections.setdefault(name, {}).update(section)
    prefix = f"{ENVIRONMENT_PREFIX}{SECTION.upper()}_"
    for key, value in environ.items():
        if key.startswith(prefix):
            name = key.removeprefix(prefix).lower()
            values.update(_server_values({name: value}, f"environment variable {key}"))
    values.update(_server_values(flags or {}, "command line"))
    server = ServerSettings(**values)
    _check(server)
    return Settings(server, sections, dict(environ), found)


class ConfigView(Mapping[str, Any]):
    """A plugin's live, read-only view of its own section, always of the newest snapshot."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = dict(values)

    def replace(self, values: Mapping[str, Any]) -> None:
        """Show a new snapshot from now on; called by the host alone."""
        self._values = dict(values)

    def __getitem__(self, key: str) -> Any:
        return self._values[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


def host_names(settings: Settings) -> frozenset[str]:
    """The names, besides IP literals, under which requests may address this server."""
    return frozenset(
        name.lower()
        for name in ("localhost", socket.gethostname(), *split_list(settings.server.allowed_hosts))
    )
