"""One console of a run, and what the console server is told of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from gns3server.running.spec import LaunchSpec

TRANSCRIPT = "console.log"
"""The name of a transcript, in the directory of its node."""


@dataclass(slots=True)
class Served:
    """A console of a run that this server watches.

    :param host: the address that it is served on.
    :param scrollback: in bytes.
    :param opened: the console server has it, and has or gets its terminal.
    :param transcribed: all output is added to a file as well.
    """

    run_id: str
    spec: LaunchSpec
    lost: Callable[[], None]
    host: str
    scrollback: int
    opened: bool = False
    has_lost_terminal: bool = False
    transcribed: bool = False
    wanted: Mapping[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        self.describe()

    @property
    def transcript(self) -> Path:
        """The file that all output is added to, if it is."""
        return self.spec.directory / TRANSCRIPT

    def describe(self) -> None:
        """Put into words for the console server what is wanted now.

        Not at each call: all consoles are told with each change of one of them.
        """
        console = self.spec.console
        if console is None:
            raise ValueError(f"run {self.run_id} has no console")
        source: dict[str, Any] = {"kind": console.source}
        if console.source == "unix":
            source["path"] = console.path
        elif console.source == "tcp":
            source |= {"host": "127.0.0.1", "port": console.source_port}
        self.wanted = {
            "id": self.run_id,
            "host": self.host,
            "port": console.port,
            "source": source,
            "scrollback": self.scrollback,
            "transcript": str(self.transcript) if self.transcribed else None,
            "input": None if console.input is None else asdict(console.input),
        }
