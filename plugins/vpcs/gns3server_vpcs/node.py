"""A virtual PC."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gns3server.plugin import (
    Change,
    Conflict,
    Console,
    Farewell,
    LaunchSpec,
    Machine,
    ProcessNode,
    TerminalInput,
)
from gns3server_vpcs.binary import INSTALL_HINT, Binary, BinaryProbe
from gns3server_vpcs.wires import wire

SCRIPT = "startup.vpc"
"""VPCS runs this file in its working directory at start, and ``save`` writes it."""

TIMER_SLACK_NS = 5_000_000
"""One thread of VPCS sleeps 100 microseconds in a loop. With 5 ms of slack an
idle PC costs 1 % of a core instead of 8 to 12 %, and pings stay below 2 ms."""

KEYS = TerminalInput(
    # After a key VPCS waits for a tenth of a second for more, unless two NULs follow it.
    follow="\0\0",
    # While it carries out a command it loses what is typed.
    by_line=True,
    # It takes "di" for "disconnect", and whatever is longer.
    farewell=Farewell(command="di", refusal="NOT daemon mode", answer="Good-bye"),
)
"""What is special about its terminal."""


@dataclass(frozen=True, slots=True)
class VpcsContext:
    """What all virtual PCs of a server share."""

    config: Mapping[str, Any]
    probe: BinaryProbe

    async def binary(self, machine: Machine) -> Binary:
        """The program that PCs on a machine run.

        :raises Conflict: it is missing, or cannot be used.
        """
        configured = self.config["vpcs_path"]
        path = await machine.find_program(configured)
        if path is None:
            raise Conflict(
                f"the program {configured!r} was not found on its machine, or is not executable. "
                f"{INSTALL_HINT}"
            )
        return await self.probe.examine(path, machine)

    async def describe(self, machine: Machine) -> str:
        """That program, in words; raises as :meth:`binary`."""
        found = await self.binary(machine)
        return f"{found.path}, version {found.version}"


class VpcsNode(ProcessNode):
    """A virtual PC: an IP stack with a console and one Ethernet port."""

    async def launch_spec(self) -> LaunchSpec:
        """The command line of contract 5.1, for whatever version is installed."""
        nio = self.nio()
        if nio is None:
            raise Conflict(
                f"This VPCS instance must be connected in order to start: plug a NIO into VM "
                f"{self.name!r} first."
            )
        binary = await self._binary()
        plugged = await wire(nio, self.machine)
        return LaunchSpec(
            argv=(
                binary.path,
                "-m",
                str(self.number),
                "-i",
                "1",
                *(("-R",) if binary.relay_free else ()),
                *plugged.options,
                *((SCRIPT,) if await self.read_file(SCRIPT) is not None else ()),
            ),
            cwd=str(self.directory),
            ports=plugged.ports,
            may_bind=() if binary.relay_free else plugged.relay,
            timer_slack_ns=TIMER_SLACK_NS,
            console=Console(port=self.console, raw=True, input=KEYS),
        )

    async def _binary(self) -> Binary:
        context: VpcsContext = self.type.context
        try:
            return await context.binary(self.machine)
        except Conflict as error:
            raise Conflict(f"VM {self.name!r} cannot be started: {error.message}") from error

    async def prepare(self, values: Mapping[str, Any]) -> Change:
        """Write the script if one is given, with the name filled in; otherwise rename inside it."""
        name = values.get("name") or self.name
        if "startup_script" in values and not (
            values["startup_script"] is None and await self.read_file(SCRIPT) is None
        ):
            text = (values["startup_script"] or "").replace("%h", name)
        elif name == self.name:
            # As with every new PC without a script: nothing has to be read.
            return Change()
        else:
            stored = await self.read_file(SCRIPT)
            if stored is None:
                return Change()
            text = rename(stored.decode(errors="surrogateescape"), self.name, name)
        return Change(files={SCRIPT: text.encode(errors="surrogateescape")})


def rename(script: str, old: str, new: str) -> str:
    """A script with a PC's name changed: whole words only (D-27), and ``%h``.

    Parts joined by ``.``, ``:``, ``/`` or ``-`` are one word: a PC called ``1`` must not ruin
    ``ip 10.0.0.1/24``.
    """
    name = rf"(?<![\w:/])(?<!\w[.-]){re.escape(old)}(?![.:/-]*\w)|%h"
    return re.sub(name, lambda _: new, script)
