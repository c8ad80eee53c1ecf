"""What nodes need of their machine, found out by trying, and said when it is missing."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gns3server.plugin import Conflict, Machine, ToolFailed
from gns3server_linux.holder.wanted import WORKS

BESIDES = ("/usr/sbin", "/sbin", "/usr/bin", "/bin")
"""Where programs are looked for that an ordinary user's PATH may leave out."""

FRR_PROGRAMS = "/usr/lib/frr"
"""Where Debian's package has the daemons."""

INSTALL = "On Debian and Ubuntu: sudo apt-get install"

PROBE_SECONDS = 10.0


def own_program(module: str) -> tuple[str, ...]:
    """The arguments by which Python runs a module of ``holder``.

    Without what Python imports for packages that are installed, which takes memory of each node;
    and with nothing of the directory that it runs in, where users can write.
    """
    begin = (
        "import sys; sys.path.append(sys.argv.pop(1)); "
        f"from gns3server_linux.holder.{module} import main; main()"
    )
    return ("-I", "-S", "-c", begin, str(Path(__file__).parents[1]))


async def find_program(machine: Machine, name: str, package: str) -> str:
    """The path of a program.

    :param package: the Debian package that has it.
    :raises Conflict: the machine has no such program.
    """
    for place in (name, *(f"{directory}/{name}" for directory in BESIDES)):
        found = await machine.find_program(place)
        if found is not None:
            return found
    raise Conflict(f"the program {name!r} was not found on its machine. {INSTALL} {package}")


async def find_shell(machine: Machine) -> tuple[str, ...]:
    """The shell of a host's console.

    :raises Conflict: there is none.
    """
    for name, options in (("bash", ("--norc", "--noprofile")), ("busybox", ("sh",))):
        found = await machine.find_program(name)
        if found is not None:
            return (found, *options)
    raise Conflict(f"its machine has neither bash nor busybox. {INSTALL} bash")


async def find_daemon(machine: Machine, name: str) -> str | None:
    """The path of one of FRR's daemons, if the machine has it."""
    return await machine.find_program(f"{FRR_PROGRAMS}/{name}")


@dataclass(frozen=True, slots=True)
class LinuxContext:
    """What all nodes of a server share.

    :param config: the plugin's section of the settings.
    """

    config: Mapping[str, Any]
    _tried: dict[Machine, str] = field(default_factory=dict)

    async def namespaces(self, machine: Machine) -> str:
        """How nodes get namespaces on a machine; tried until it has worked once.

        :raises Conflict: they get none.
        """
        if machine not in self._tried:
            ip = await find_program(machine, "ip", "iproute2")
            try:
                answer = await machine.run_tool(
                    [sys.executable, *own_program("probe"), ip],
                    limit=PROBE_SECONDS,
                )
            except ToolFailed as error:
                raise Conflict(f"namespaces cannot be tried: {error.reason}") from error
            *_, last = answer.output.strip().splitlines() or [""]
            if not last.startswith(WORKS):
                raise Conflict(last or "namespaces cannot be had, and nothing says why")
            self._tried[machine] = last.removeprefix(WORKS)
        return self._tried[machine]

    async def describe_host(self, machine: Machine) -> str:
        """What hosts run, in words.

        :raises Conflict: they cannot run.
        """
        shell = await find_shell(machine)
        return f"{shell[0]}, in namespaces {await self.namespaces(machine)}"

    async def describe_router(self, machine: Machine) -> str:
        """What routers run, in words.

        :raises Conflict: they cannot run.
        """
        version = await self.frr(machine)
        return f"FRR {version}, in namespaces {await self.namespaces(machine)}"

    async def frr(self, machine: Machine) -> str:
        """The version of FRR.

        :raises Conflict: it is not there.
        """
        zebra = await find_daemon(machine, "zebra")
        if zebra is None:
            raise Conflict(
                f"FRR was not found on its machine: there is no {FRR_PROGRAMS}/zebra. {INSTALL} frr"
                " (its service need not run: sudo systemctl disable --now frr)"
            )
        try:
            said = (await machine.run_tool([zebra, "--version"])).output.split()
        except ToolFailed as error:
            raise Conflict(f"{zebra} does not run: {error.reason}. {INSTALL} frr") from error
        return said[2] if len(said) > 2 else "of an unknown version"
