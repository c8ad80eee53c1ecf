"""The settings of the ``[Server]`` section, each declared once.

Everything about a setting is declared in its line here. No source is read here, so that the help
and the version are shown without delay.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from gns3server import __version__

SECTION = "server"
MOST = 1_000_000
"""The upper bound of numbers that have none of their own."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Setting:
    """One setting, of the server or of a plugin.

    :param kind: ``str``, ``bool`` or ``int``.
    :param choices: the words that it may be; any text if there are none.
    :param least: the smallest number, or the name of the setting that it must not be below.
    :param flags: its options on the command line.
    :param fixed: it keeps its value from the start of the server, whatever a reload reads.
    :param guards: the server is open without it: neither an empty value nor a file that no longer
        mentions it takes it away.
    :param secret: it is never shown.
    :param path: it is a path, which may begin with ``~`` or hold ``$HOME``.
    """

    section: str
    name: str
    kind: str
    default: Any
    help: str
    choices: tuple[str, ...] = ()
    least: int | str = 1
    most: int = MOST
    flags: tuple[str, ...] = ()
    fixed: bool = False
    guards: bool = False
    secret: bool = False
    path: bool = False

    def counts(self, text: str) -> bool:
        """Whether a value counts; if not, a weaker source or the default applies."""
        return bool(text.strip()) or not (self.guards or (self.kind == "str" and self.default))


def setting(default: Any, help_text: str, flags: str = "", **rules: Any) -> Any:
    """Declare one setting of the ``[Server]`` section.

    :param flags: its options, with blanks between them.
    :param rules: further fields of :class:`Setting`.
    """
    metadata = {"help": help_text, "flags": tuple(flags.split()), **rules}
    return dataclasses.field(default=default, metadata=metadata)


@dataclass(frozen=True, kw_only=True)
class ServerSettings:
    """The ``[Server]`` section, as it was written: paths are not expanded."""

    host: str = setting("127.0.0.1", "address to listen on", fixed=True, flags="--host")
    port: int = setting(
        8000,
        "TCP port to listen on; 0 takes a free one",
        least=0,
        most=65535,
        fixed=True,
        flags="--port",
    )
    ssl: bool = setting(
        False, "serve HTTPS; needs certfile and certkey", fixed=True, guards=True, flags="--ssl"
    )
    certfile: str = setting(
        "", "certificate chain, a PEM file", path=True, fixed=True, flags="--certfile"
    )
    certkey: str = setting(
        "", "private key of the certificate, a PEM file", path=True, fixed=True, flags="--certkey"
    )
    local: bool = setting(
        False,
        "the server's only user is on this machine: clients may choose project paths, "
        "reload the settings and end the server",
        flags="-L --local",
    )
    auth: bool = setting(
        False, "ask for user and password (HTTP Basic), if user is not empty", guards=True
    )
    user: str = setting("", "the user who may call when auth is on", guards=True)
    password: str = setting("", "the password of that user", guards=True, secret=True)
    console_host: str = setting(
        "127.0.0.1",
        "address that consoles listen on; whoever reaches it can use them without a password",
        fixed=True,
    )
    allow_remote_console: bool = setting(
        False,
        "consoles can be reached from other machines: if console_host is not set, they listen on "
        "0.0.0.0",
        fixed=True,
        flags="-A --allow",
    )
    console_scrollback: int = setting(
        64, "how much of what a console has shown a new client gets, in KiB", least=0, most=16384
    )
    console_transcripts: bool = setting(
        False, "add all that consoles show to the file console.log in each node's directory"
    )
    quiet: bool = setting(False, "write no log to standard output", fixed=True, flags="-q --quiet")
    debug: bool = setting(
        False,
        "log everything: reads, the JSON of requests and answers, command lines",
        fixed=True,
        flags="-d --debug",
    )
    log: str = setting(
        "",
        "write the log to this file instead of standard output",
        path=True,
        fixed=True,
        flags="--log",
    )
    log_size: int = setting(
        10,
        "how large the log file may become, in MiB; three older ones are kept beside it",
        fixed=True,
    )
    record: str = setting(
        "",
        "append every accepted request to this file, as a curl line",
        path=True,
        fixed=True,
        flags="--record",
    )
    record_size: int = setting(
        100, "how large that file may become, in MiB; then recording ends", fixed=True
    )
    projects_path: str = setting("~/GNS3/projects", "where new projects are made", path=True)
    project_directory: str = setting("", "overrides projects_path", path=True)
    images_path: str = setting("~/GNS3/images", "where emulator images are kept", path=True)
    state_path: str = setting(
        "",
        "directory of the server's own records; XDG state directory by default",
        path=True,
        fixed=True,
        flags="--state-path",
    )
    console_start_port_range: int = setting(
        2000, "first TCP port for consoles", most=65535, fixed=True
    )
    console_end_port_range: int = setting(
        5000, "last TCP port for consoles", least="console_start_port_range", most=65535, fixed=True
    )
    udp_start_port_range: int = setting(10000, "first UDP port for wires", most=65535, fixed=True)
    udp_end_port_range: int = setting(
        20000, "last UDP port for wires", least="udp_start_port_range", most=65535, fixed=True
    )
    link_path: str = setting(
        "auto",
        "what is between the ends of new links: nothing (direct), a process that can filter, "
        "suspend and capture them (relayed), or that where it may be needed (auto)",
        choices=("auto", "direct", "relayed"),
    )
    max_capture_size: int = setting(
        1024, "how large a captured link's file may become, in MiB, if its start does not say"
    )
    max_starting: int = setting(32, "how many nodes may come up at the same time", fixed=True)
    max_projects: int = setting(1000, "how many projects may be open")
    max_nodes: int = setting(10000, "how many nodes the open projects may have together")
    max_listeners: int = setting(
        5000, "how many notification streams, followed files and websockets may be open"
    )
    max_events: int = setting(5000, "how many events a project keeps for clients that were away")
    max_image_size: int = setting(16384, "how large an uploaded image may be, in MiB")
    announced_version: str = setting(__version__, "what GET /v1/version says")
    allowed_origins: str = setting("", "web origins that may call the API, separated by commas")
    allowed_hosts: str = setting("", "more names this server is reached by, separated by commas")
    disabled_plugins: str = setting("", "plugins not to load, separated by commas", fixed=True)
    environment: str = setting(
        "", "more environment variables that programs get, separated by commas", fixed=True
    )
    keep_nodes: bool = setting(
        False,
        "a signal that ends the server leaves its nodes running, for the next server",
        flags="--keep-nodes",
    )
    strict_plugins: bool = setting(
        False,
        "a plugin that fails keeps the server from starting",
        fixed=True,
        flags="--strict-plugins",
    )


SERVER_SETTINGS = tuple(
    Setting(section=SECTION, name=one.name, kind=str(one.type), default=one.default, **one.metadata)
    for one in dataclasses.fields(ServerSettings)
)
"""All settings of the section, in the order of their declaration."""
