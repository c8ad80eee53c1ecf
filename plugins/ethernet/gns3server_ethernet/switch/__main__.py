"""The program: ``python -m gns3server_ethernet.switch KIND CONTROL WANTED``.

KIND is ``switch`` or ``hub``; CONTROL is the path of the unix socket to listen on; WANTED is a file
that says what is wanted at first. If its input is a terminal, commands are answered there.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
import time
from collections.abc import Mapping
from typing import Any

from gns3server_ethernet.switch.bridge import Bridge, Hub
from gns3server_ethernet.switch.console import Console
from gns3server_ethernet.switch.control import Control, Handler
from gns3server_ethernet.switch.learning import Switch
from gns3server_ethernet.switch.loop import Loop
from gns3server_ethernet.switch.wanted import Wanted

KINDS: Mapping[str, type[Bridge]] = {"switch": Switch, "hub": Hub}


class Program:
    """One switch or hub, with its control socket and its terminal."""

    def __init__(self, kind: str, control: str) -> None:
        self._loop = Loop()
        self._bridge = KINDS[kind](self._loop, self._tell_limited)
        self._control_path = control
        self._control: Control | None = None
        self._console = Console(self._bridge)

    def run(self, wanted: Mapping[str, Any]) -> None:
        """Forward frames for ever.

        :raises OSError: a wire or the control socket cannot be used.
        """
        for number, why in self._configure(wanted)["failed"].items():
            raise OSError(f"port {number} cannot be wired: {why}")
        if os.isatty(sys.stdin.fileno()):
            self._console.serve(self._loop, os.ttyname(sys.stdin.fileno()))
        handlers: dict[str, Handler] = {"configure": self._configure, "counters": self._counters}
        if isinstance(self._bridge, Switch):
            handlers |= {"addresses": self._addresses, "flush": self._flush}
        # When it listens, the program counts as ready.
        self._control = Control(self._loop, self._control_path, handlers)
        self._loop.run(self._bridge.tick)

    def _configure(self, values: Mapping[str, Any]) -> dict[str, Any]:
        return {"failed": self._bridge.configure(Wanted.read(values))}

    def _counters(self, _: Mapping[str, Any]) -> list[Any]:
        return [port.counters for _, port in sorted(self._bridge.ports.items())]

    def _addresses(self, _: Mapping[str, Any]) -> Any:
        if isinstance(self._bridge, Switch):
            return [address._asdict() for address in self._bridge.addresses()]
        return []

    def _flush(self, _: Mapping[str, Any]) -> None:
        if isinstance(self._bridge, Switch):
            self._bridge.flush()

    def _tell_limited(self, values: Mapping[str, Any]) -> None:
        ports = ", ".join(map(str, values["ports"]))
        self._console.show(
            f"{time.strftime('%Y-%m-%d %H:%M:%S')} flooding is limited to {values['limit']} frames "
            f"a second, {values['dropped']} from port {ports} were dropped: "
            + ("it is over" if values["over"] else "there may be a loop of wires")
        )
        if self._control is not None:
            self._control.tell("flood_limited", values)


def main() -> None:
    """Run, until a signal ends it."""
    kind, control, path = sys.argv[1:]
    # A terminal that goes away, and keys on it, end no switch.
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTSTP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)
    with open(path, encoding="utf-8") as file:
        wanted = json.load(file)
    program = Program(kind, control)
    # Nothing here refers to itself: frames need no garbage collection, which would delay them.
    gc.freeze()
    gc.disable()
    try:
        program.run(wanted)
    except (OSError, ValueError) as error:
        sys.exit(f"cannot run: {error}")


if __name__ == "__main__":
    main()
