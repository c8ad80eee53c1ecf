"""A node's console, as plain data: where its bytes come from, and what its terminal needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from gns3server.running.values import exactly, is_whole, text


@dataclass(frozen=True, slots=True, kw_only=True)
class Farewell:
    """A command by which one client takes its leave, of a program that cannot part with it.

    Once a client has entered a line that begins with ``command``, and the program has answered
    with the whole line ``refusal``, the client gets ``answer`` in its place, and its connection
    is closed. Other clients stay.
    """

    command: str
    refusal: str
    answer: str

    def __post_init__(self) -> None:
        for name in ("command", "refusal", "answer"):
            if not text(f"farewell.{name}", getattr(self, name)):
                raise ValueError(f"farewell.{name}: it is empty")


@dataclass(frozen=True, slots=True, kw_only=True)
class TerminalInput:
    """What a program's terminal needs beyond the keys that are pressed.

    :param follow: sent after each input while the terminal is raw, for a program that waits for
        more after each key; never within an escape sequence.
    :param by_line: pasted text is handed over line by line, each once the terminal is raw again,
        for a program that loses what comes while it carries out a command.
    :param break_text: what a telnet break sends; empty for the terminal's own break.
    :param farewell: a command that closes the client's own connection.
    """

    follow: str = ""
    by_line: bool = False
    break_text: str = ""
    farewell: Farewell | None = None

    def __post_init__(self) -> None:
        for name in ("follow", "break_text"):
            if not isinstance(getattr(self, name), str):
                raise ValueError(f"input.{name}: {getattr(self, name)!r:.80} is not a text")
        exactly("input.by_line", self.by_line, bool)


@dataclass(frozen=True, slots=True, kw_only=True)
class Console:
    """A console that the server serves: for many clients, with scroll-back, on one TCP port.

    :param port: the TCP port that clients connect to; the node's ``console``.
    :param source: where its bytes come from: ``terminal`` for a terminal that the program is
        given as its standard input, output and error; ``unix`` or ``tcp`` for a socket of the
        program's own that the server connects to.
    :param path: of the unix socket.
    :param source_port: number of the TCP port, on the program's loopback address.
    :param raw: the program is ready only once its terminal is raw: it then reads each key. A
        prompt would not tell, as users change it.
    :param input: what a terminal needs beyond the keys.
    :raises ValueError: a value makes no sense; the text begins with the field's name.
    """

    port: int
    source: Literal["terminal", "unix", "tcp"] = "terminal"
    path: str = ""
    source_port: int = 0
    raw: bool = False
    input: TerminalInput | None = None

    def __post_init__(self) -> None:
        if not is_whole(self.port, 1, 65535):
            raise ValueError(f"console.port: {self.port!r} is not a port (1 to 65535)")
        if self.source not in ("terminal", "unix", "tcp"):
            raise ValueError(f"console.source: {self.source!r} is not terminal, unix or tcp")
        if (self.source == "unix") != bool(self.path):
            raise ValueError("console.path: a unix socket has one, and nothing else has")
        if self.path and not text("console.path", self.path).startswith("/"):
            raise ValueError(f"console.path: {self.path!r} is not absolute")
        if (self.source == "tcp") != is_whole(self.source_port, 1, 65535):
            raise ValueError("console.source_port: a TCP port has one, and nothing else has")
        if self.source != "terminal" and (self.raw or self.input is not None):
            raise ValueError(f"console.source: a {self.source} socket is no terminal")

    @property
    def is_terminal(self) -> bool:
        """Whether the program is given a terminal."""
        return self.source == "terminal"

    def to_json(self) -> dict[str, Any]:
        """The console as a dict of JSON types; :meth:`from_json` reads it back."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Console:
        """Make a console from what :meth:`to_json` returned.

        :raises TypeError, ValueError: it is something else.
        """
        values = dict(data)
        if values.get("input") is not None:
            given = dict(values["input"])
            if given.get("farewell") is not None:
                given["farewell"] = Farewell(**given["farewell"])
            values["input"] = TerminalInput(**given)
        return cls(**values)


@dataclass(frozen=True, slots=True)
class ConsolePlace:
    """Who gets a run's terminal.

    :param socket: path of the control socket of the console server, on the run's machine.
    :param console_id: which of its consoles it is.
    """

    socket: str
    console_id: str
