"""What a VPCS binary can do, found out by asking it.

Features are detected, not versions compared: version texts such as ``0.8b`` and
``0.8 beta1`` do not sort (contract 5.4).
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from functools import partial

from gns3server.plugin import Conflict, FileStamp, Machine, ToolFailed

BANNER = re.compile(r"Virtual PC Simulator, version ([0-9a-z.]+)")
REFUSED = "invalid option"

INSTALL_HINT = (
    "Install it (on Debian and Ubuntu: sudo apt-get install vpcs), or name the program as "
    "vpcs_path in the [VPCS] section of the settings."
)

Key = tuple[Machine, str, FileStamp]
"""Machine, path, size and modification time: what tells one binary from another."""


@dataclass(frozen=True, slots=True)
class Binary:
    """One VPCS program.

    :param relay_free: it understands ``-R``, which keeps it from binding a relay port.
    """

    path: str
    version: str
    relay_free: bool


class BinaryProbe:
    """Asks each binary once, and again when its file has changed or it failed to answer."""

    def __init__(self) -> None:
        self._asked: dict[Key, asyncio.Task[Binary]] = {}

    async def examine(self, path: str, machine: Machine) -> Binary:
        """What the program at ``path`` of a machine can do.

        ``-R -v`` prints the banner in every version since 0.5b1, preceded by a
        complaint where ``-R`` is not known (contract 5.4).

        :raises Conflict: it is not VPCS, or is too old.
        """
        try:
            key = (machine, path, await machine.stamp_file(path))
        except OSError as error:
            raise Conflict(f"{path} cannot be read: {error.strerror}. {INSTALL_HINT}") from error
        if key not in self._asked:
            self._asked[key] = asyncio.create_task(self._ask(path, machine))
            self._asked[key].add_done_callback(partial(self._forget_failed, key))
        # Shared by all PCs that start meanwhile: a lab of 200 PCs asks once. Shielded, because
        # one of their starts may be cancelled.
        return await asyncio.shield(self._asked[key])

    def _forget_failed(self, key: Key, asked: asyncio.Task[Binary]) -> None:
        if asked.cancelled() or asked.exception() is not None:
            del self._asked[key]

    async def _ask(self, path: str, machine: Machine) -> Binary:
        try:
            output = (await machine.run_tool([path, "-R", "-v"])).output
        except ToolFailed as error:
            raise Conflict(f"{path} does not run: {error.reason}. {INSTALL_HINT}") from error
        found = BANNER.search(output)
        if found is None:
            raise Conflict(
                f"{path} did not say which version of VPCS it is, so it cannot be used. "
                f"{INSTALL_HINT}"
            )
        version = found[1]
        if is_too_old(version):
            raise Conflict(
                f"{path} is VPCS {version}; version 0.5b1 or newer is needed. {INSTALL_HINT}"
            )
        return Binary(path, version, relay_free=REFUSED not in output)


def is_too_old(version: str) -> bool:
    """Whether a version text is older than 0.5b1."""
    numbers = [int(digits) for digits in re.findall(r"\d+", version)[:2]]
    return numbers < [0, 5] or version.startswith("0.5a")
