"""QEMU's programs on a machine: which there are, what they are, and what they emulate."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import PurePath

from gns3server.plugin import Conflict, FileStamp, Machine, ToolFailed
from gns3server_qemu.schemas import PLATFORMS

VERSION = re.compile(r"version\s+([^\s,]+)")
"""What follows the word (contract 2.7): "QEMU emulator version 2.2.0, Copyright ..."."""

INSTALL_HINT = (
    "Install it (on Debian and Ubuntu: sudo apt-get install qemu-system-x86 qemu-utils), or name "
    "another program as qemu_path."
)

EMULATORS = re.compile(r"qemu-system.*|qemu-kvm.*|qemu|qemu\.exe")
DISK_TOOLS = re.compile(r"qemu-img|qemu-img\.exe")

LIST = """
IFS=:
for directory in $PATH; do
    case $directory in /*) ;; *) continue ;; esac
    directory=$(cd -P -- "$directory" 2>/dev/null && pwd) || continue
    for file in "$directory"/qemu*; do
        [ -f "$file" ] && [ -x "$file" ] && printf '%s\\n' "$file"
    done
done
"""
"""Prints the programs of the machine's PATH. A relative directory is nobody's in particular."""

OLD_NAMES = {"qemu": "i386", "qemu-kvm": "x86_64"}
"""What programs emulate whose names do not say it: ``qemu`` is of before QEMU 1.0."""

Key = tuple[Machine, str, FileStamp]
"""Machine, path, size and modification time: what tells one program from another."""


@dataclass(frozen=True, slots=True)
class Program:
    """A program and its version, as it tells it."""

    path: str
    version: str

    @property
    def numbers(self) -> tuple[int, ...]:
        """The version for comparisons: its first two numbers."""
        return tuple(int(digits) for digits in re.findall(r"\d+", self.version)[:2])


def version_in(output: str) -> str | None:
    """The version that a program of QEMU has printed (QEMU-09)."""
    found = VERSION.search(output)
    return None if found is None else found[1]


def platform_of(path: str) -> str | None:
    """What a program emulates, by its name; ``None`` if that does not tell."""
    name = PurePath(path).name.removesuffix(".exe")
    named = name.removeprefix("qemu-system-")
    return next(
        (known for known in (named, named.removesuffix("w")) if known in PLATFORMS),
        OLD_NAMES.get(name),
    )


def program_for(platform: str) -> str:
    """The name of the program that emulates a platform (QEMU-12)."""
    return f"qemu-system-{platform}"


class Programs:
    """Asks each program for its version once, and again when its file has changed."""

    def __init__(self) -> None:
        self._asked: dict[Key, asyncio.Task[Program]] = {}

    async def examine(self, path: str, machine: Machine) -> Program:
        """The program at ``path`` of a machine.

        :raises Conflict: it cannot be run, or is none of QEMU's.
        """
        try:
            key = (machine, path, await machine.stamp_file(path))
        except OSError as error:
            raise Conflict(f"{path} cannot be read: {error.strerror}. {INSTALL_HINT}") from error
        if key not in self._asked:
            self._asked[key] = asyncio.create_task(self._ask(path, machine))
            self._asked[key].add_done_callback(partial(self._forget_failed, key))
        # Shared by all that start meanwhile, of which one may be cancelled.
        return await asyncio.shield(self._asked[key])

    def _forget_failed(self, key: Key, asked: asyncio.Task[Program]) -> None:
        if asked.cancelled() or asked.exception() is not None:
            del self._asked[key]

    async def _ask(self, path: str, machine: Machine) -> Program:
        try:
            output = (await machine.run_tool([path, "--version"])).output
        except ToolFailed as error:
            raise Conflict(f"{path} does not run: {error.reason}. {INSTALL_HINT}") from error
        version = version_in(output)
        if version is None:
            raise Conflict(
                f"{path} did not say which version of QEMU it is, so it cannot be used. "
                f"{INSTALL_HINT}"
            )
        return Program(path, version)

    async def list_all(self, machine: Machine, names: re.Pattern[str]) -> Sequence[Program]:
        """The programs in a machine's PATH, by path. What does not run is left out (D-21).

        :param names: matches the names of those that are wanted.
        """
        shell = await machine.find_program("sh")
        if shell is None:
            return ()
        try:
            output = (await machine.run_tool([shell, "-c", LIST])).output
        except ToolFailed:
            return ()
        paths = sorted(
            {path for path in output.splitlines() if names.fullmatch(PurePath(path).name)}
        )
        found = await asyncio.gather(
            *(self.examine(path, machine) for path in paths), return_exceptions=True
        )
        for outcome in found:
            if isinstance(outcome, BaseException) and not isinstance(outcome, Conflict):
                raise outcome
        return [program for program in found if isinstance(program, Program)]
