"""What to run, as plain data that can be stored, compared and sent to another machine."""

from __future__ import annotations

import base64
import math
import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from gns3server.running.console import Console
from gns3server.running.values import exactly, is_whole, plain_name, text

DEFAULT_LOG_LIMIT = 1024 * 1024

SIGNALS = frozenset(signal.valid_signals())
"""All signals of this machine; to list them takes longer than all other checks of a spec."""

SOCKET_PATH_BYTES = 107
"""The longest path of a unix socket (unix(7): 108 with the NUL character at its end)."""


@dataclass(frozen=True, slots=True)
class Port:
    """A port of a machine, on all its addresses.

    :raises ValueError: ``kind`` is neither "tcp" nor "udp", or ``number`` is not in 1..65535.
    """

    kind: Literal["tcp", "udp"]
    number: int

    def __post_init__(self) -> None:
        if self.kind not in ("tcp", "udp"):
            raise ValueError(f"kind: {self.kind!r} is neither 'tcp' nor 'udp'")
        if not is_whole(self.number, 1, 65535):
            raise ValueError(f"number: {self.number!r} is not a port (1 to 65535)")

    def __str__(self) -> str:
        return f"{self.kind.upper()} port {self.number}"


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchSpec:
    """One run of a program: what to start, and how to tell that it is ready.

    :param argv: program and arguments; the program is best given by its absolute path.
    :param cwd: absolute working directory, in the project's directory; made when it is missing.
    :param env: added to the environment that every program gets; see the setting ``environment``.
    :param files: content by plain name, written into ``cwd`` before the start.
    :param ports: ports that the program's processes must have bound when it is ready.
    :param sockets: absolute paths of unix sockets that must listen, held by the program's
        processes, when it is ready.
    :param may_bind: further ports that it may bind.
    :param ready_limit: seconds that it may take to become ready.
    :param stop_signal: the signal that asks it to end.
    :param stop_limit: seconds that it has to end before it is killed.
    :param timer_slack_ns: nanoseconds by which the kernel may delay its timers; ``None`` is
        the usual value.
    :param children: number of child processes without which it is of no use.
    :param log_name: plain name of the file in ``cwd`` that takes its output.
    :param log_limit: bytes beyond which only the end of the output is kept.
    :param console: the console that the server serves for it, if any. On a terminal, there is no
        file that takes its output.
    :raises ValueError: a value makes no sense; the text begins with the field's name.
    """

    argv: tuple[str, ...]
    cwd: str
    env: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, bytes] = field(default_factory=dict)
    ports: tuple[Port, ...] = ()
    sockets: tuple[str, ...] = ()
    may_bind: tuple[Port, ...] = ()
    ready_limit: float = 30.0
    stop_signal: int = signal.SIGTERM
    stop_limit: float = 3.0
    timer_slack_ns: int | None = None
    children: int = 0
    log_name: str = "node.log"
    log_limit: int = DEFAULT_LOG_LIMIT
    console: Console | None = None

    def __post_init__(self) -> None:
        # Copies: the maker of the spec must not be able to change it afterwards.
        for name in ("argv", "ports", "sockets", "may_bind"):
            value = getattr(self, name)
            if isinstance(value, (str, bytes)):
                raise ValueError(
                    f"{name}: {value!r} is a single text: give its parts one by one, in a tuple"
                )
            object.__setattr__(self, name, tuple(value))
        for name in ("env", "files"):
            object.__setattr__(self, name, dict(getattr(self, name)))
        self._check_command()
        self._check_files()
        self._check_ports()
        self._check_numbers()

    def _check_command(self) -> None:
        if not self.argv or not self.argv[0]:
            raise ValueError("argv: no program is named")
        for part in self.argv:
            text("argv", part)
        if not self.cwd.startswith("/") or "\0" in self.cwd:
            raise ValueError(f"cwd: {self.cwd!r} is not an absolute path")
        for part in (*self.env, *self.env.values()):
            text("env", part)
        if any(not name or "=" in name for name in self.env):
            raise ValueError("env: a name is empty or holds '='")

    def _check_files(self) -> None:
        plain_name("log_name", self.log_name)
        for name, content in self.files.items():
            plain_name("files", name)
            exactly("files", content, bytes)
        if self.log_name in self.files:
            raise ValueError(f"files: {self.log_name!r} is the name of the log")

    def _check_ports(self) -> None:
        if self.console is not None:
            if not isinstance(self.console, Console):
                raise ValueError(f"console: {self.console!r:.80} is not a Console")
            if Port("tcp", self.console.port) in self.ports:
                raise ValueError("ports: the console's port is bound by the server, not by it")
        for name in ("ports", "may_bind"):
            ports = getattr(self, name)
            if not all(isinstance(port, Port) for port in ports):
                raise ValueError(f"{name}: it holds something other than a Port")
            if len(set(ports)) != len(ports):
                raise ValueError(f"{name}: a port is named twice")

        for path in self.sockets:
            if not text("sockets", path).startswith("/"):
                raise ValueError(f"sockets: {path!r} is not an absolute path")
            if len(os.fsencode(path)) > SOCKET_PATH_BYTES:
                raise ValueError(f"sockets: {path!r} is longer than {SOCKET_PATH_BYTES} bytes")

    def _check_numbers(self) -> None:
        _check_range("ready_limit", self.ready_limit, above=0)
        _check_range("stop_limit", self.stop_limit, least=0)
        _check_range("children", self.children, least=0)
        _check_range("log_limit", self.log_limit, least=1)
        if self.timer_slack_ns is not None:
            _check_range("timer_slack_ns", self.timer_slack_ns, least=1)
        if self.stop_signal not in SIGNALS:
            raise ValueError(f"stop_signal: {self.stop_signal!r} is not a signal")

    @property
    def reserved_ports(self) -> tuple[Port, ...]:
        """The ports that it binds, and the one that its console is served on."""
        return (*self.ports, *((Port("tcp", self.console.port),) if self.console else ()))

    @property
    def on_terminal(self) -> bool:
        """Whether it is given a terminal."""
        return self.console is not None and self.console.is_terminal

    def goes_on(self, recorded: int, living: int) -> bool:
        """Whether a run can be continued, by how many of its recorded processes live.

        A run that was never recorded, or has lost a process, cannot.
        """
        return living == recorded > self.children

    @property
    def directory(self) -> Path:
        """Where it runs, going by names alone: ``cwd`` without ``..``."""
        return Path(os.path.normpath(self.cwd))

    def is_in(self, directory: Path) -> bool:
        """Whether it runs in a directory or below it."""
        return self.directory.is_relative_to(directory)

    def moved(self, source: Path, target: Path) -> LaunchSpec:
        """The same once a directory that it may run in has another path."""
        if not self.is_in(source):
            return self
        return replace(self, cwd=str(target / self.directory.relative_to(source)))

    def to_json(self) -> dict[str, Any]:
        """The spec as a dict of JSON types; :meth:`from_json` reads it back."""
        return {
            "argv": list(self.argv),
            "cwd": self.cwd,
            "env": dict(self.env),
            "files": {name: base64.b64encode(data).decode() for name, data in self.files.items()},
            "ports": [[port.kind, port.number] for port in self.ports],
            "sockets": list(self.sockets),
            "may_bind": [[port.kind, port.number] for port in self.may_bind],
            "ready_limit": self.ready_limit,
            "stop_signal": int(self.stop_signal),
            "stop_limit": self.stop_limit,
            "timer_slack_ns": self.timer_slack_ns,
            "children": self.children,
            "log_name": self.log_name,
            "log_limit": self.log_limit,
            "console": None if self.console is None else self.console.to_json(),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> LaunchSpec:
        """Make a spec from what :meth:`to_json` returned.

        :raises ValueError: it is something else.
        """
        try:
            values = dict(data)
            for name in ("ports", "may_bind"):
                values[name] = tuple(Port(kind, number) for kind, number in values.get(name, ()))
            if values.get("console") is not None:
                values["console"] = Console.from_json(values["console"])
            values["files"] = {
                name: base64.b64decode(text, validate=True)
                for name, text in values.get("files", {}).items()
            }
            return cls(**values)
        except (TypeError, AttributeError) as error:
            raise ValueError(f"not a stored launch spec: {error}") from error


def _check_range(
    name: str, value: float, *, least: float = -math.inf, above: float = -math.inf
) -> None:
    if type(value) not in (int, float) or not math.isfinite(value):
        raise ValueError(f"{name}: {value!r} is not a number")
    if value < least or value <= above:
        raise ValueError(f"{name}: {value!r} is too small")
