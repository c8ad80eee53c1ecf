"""FRR's daemons in a node, and their configuration; in its process 1."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Mapping

from gns3server_linux.holder import kernel, programs, text
from gns3server_linux.holder.files import FRR
from gns3server_linux.holder.loop import Loop
from gns3server_linux.holder.wanted import Wanted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

CONFIGURATION = f"{FRR}/frr.conf"
BESIDE = f"{CONFIGURATION}.new"
FIRST = ("zebra", "mgmtd")
"""Daemons that all others talk to; one that does not find them tries again seconds later."""

MALLOC = {
    "GLIBC_TUNABLES": "glibc.malloc.tcache_count=0",
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_TRIM_THRESHOLD_": str(128 * 1024),
}
"""Has the C library give memory back that daemons need at their start only, and keep none for each
of their threads: a quarter of it (mallopt(3))."""

OUTPUT = "/run/frr/frr.log"
"""What the daemons print. It is in memory, and ends with the node."""

READY_SECONDS = 20.0
"""How long a daemon may take to listen."""

LOOK_SECONDS = 0.005

PAUSE = 1.0
"""Seconds before a daemon is started again that has ended within that time."""


class Routing:
    """The daemons.

    :param env: their environment.
    :param tell: called with each event, and what it says.
    :param restarted: called when a daemon that had ended is there again.
    """

    def __init__(
        self,
        loop: Loop,
        wanted: Wanted,
        env: Mapping[str, str],
        tell: Callable[[str, Mapping[str, Any]], None],
        restarted: Callable[[], None],
    ) -> None:
        self._loop = loop
        self._restart = wanted.restart
        self._daemons = wanted.daemons
        (self._vtysh,) = wanted.shell
        self._env = env
        self._tell = tell
        self._restarted = restarted
        self._output = os.open(OUTPUT, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        self._saving = False
        self._missing: set[str] = set()
        """The daemons that have ended, and those that do not have their configuration again."""

    def start(self) -> None:
        """Start the daemons, and give them the stored configuration.

        :raises OSError: one of them does not come up.
        """
        others = [daemon for daemon in self._daemons if daemon not in FIRST]
        for together in (*([daemon] for daemon in self._daemons if daemon in FIRST), others):
            for daemon in together:
                self._start(daemon)
            for daemon in together:
                self._wait_for(daemon)
        if os.path.exists(CONFIGURATION):
            result: list[int] = []
            self._load(result.append)
            while not result:
                self._loop.turn(-1)

    def save(self) -> None:
        """Bring the running configuration into its file, and tell when that is done."""
        if self._saving:
            return
        try:
            self._check_complete()
            pid = self._show(BESIDE)
        except OSError as error:
            self._tell("saved", {"problem": kernel.reason(error)})
            return
        self._saving = True
        self._loop.attend(pid, self._shown)

    def _check_complete(self) -> None:
        if self._missing:
            names = ", ".join(sorted(self._missing))
            raise OSError(f"{names} has ended, and what it ran with would be lost")

    def _show(self, path: str) -> int:
        """Have vtysh write the running configuration; returns its process id."""
        output = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            argv = (self._vtysh, "-c", "show running-config no-header")
            return programs.spawn(argv, self._env, output)
        finally:
            os.close(output)

    def _shown(self, code: int) -> None:
        self._saving = False
        problem = None
        try:
            self._keep(code)
        except OSError as error:
            problem = kernel.reason(error)
            with contextlib.suppress(OSError):
                os.unlink(BESIDE)
        self._tell("saved", {"problem": problem})

    def _keep(self, code: int) -> None:
        """Have what vtysh has written be the configuration.

        :raises OSError: it is not all of it, or cannot be stored.
        """
        shown = text.read(BESIDE)
        self._check_complete()
        if code != 0 or "\nend" not in shown:
            raise OSError(f"vtysh ended with code {code}: {shown.strip()[:200]}")
        with open(BESIDE, "r+b") as written:
            os.fsync(written.fileno())
        os.replace(BESIDE, CONFIGURATION)

    def _start(self, daemon: str) -> None:
        # Consoles of daemons are unix sockets; port 0 keeps them off the network.
        argv = (f"/usr/lib/frr/{daemon}", "-A", "127.0.0.1", "-P", "0", "--log", "stdout")
        pid, began = programs.spawn(argv, self._env, self._output), time.monotonic()
        self._loop.attend(pid, lambda code: self._ended(daemon, code, began))

    def _wait_for(self, daemon: str) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while not os.path.exists(f"/run/frr/{daemon}.vty"):
            if time.monotonic() > deadline:
                raise OSError(f"{daemon} does not come up: {last_line(OUTPUT)}")
            self._loop.turn(LOOK_SECONDS)

    def _ended(self, daemon: str, code: int, began: float) -> None:
        self._missing.add(daemon)
        self._tell("daemon_ended", {"daemon": daemon, "code": code, "restarted": self._restart})
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"/run/frr/{daemon}.vty")
        if self._restart:
            soon = PAUSE if time.monotonic() - began < PAUSE else 0
            self._loop.later(soon, lambda: self._start_again(daemon))

    def _start_again(self, daemon: str) -> None:
        try:
            self._start(daemon)
        except OSError:
            # The node has as many processes as it may have: some may end.
            self._loop.later(PAUSE, lambda: self._start_again(daemon))
        else:
            self._load_when_ready(daemon, time.monotonic() + READY_SECONDS)

    def _load_when_ready(self, daemon: str, deadline: float) -> None:
        if os.path.exists(f"/run/frr/{daemon}.vty"):
            try:
                self._load(lambda _: self._is_back(daemon))
            except OSError:
                self._loop.later(PAUSE, lambda: self._load_when_ready(daemon, deadline))
        elif time.monotonic() < deadline:
            self._loop.later(LOOK_SECONDS, lambda: self._load_when_ready(daemon, deadline))

    def _is_back(self, daemon: str) -> None:
        self._missing.discard(daemon)
        self._restarted()

    def _load(self, done: Callable[[int], None]) -> None:
        """Give the daemons the stored configuration, and tell what they refuse of it."""
        said = "/run/frr/vtysh.log"
        output = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        try:
            pid = programs.spawn((self._vtysh, "-b"), self._env, output)
        finally:
            os.close(output)

        def loaded(code: int) -> None:
            lines = complaints(text.read(said))
            if lines:
                self._tell("refused", {"lines": lines[:20]})
            done(code)

        self._loop.attend(pid, loaded)


def complaints(output: str) -> list[str]:
    """What vtysh says of lines that it does not take."""
    return [line.strip() for line in output.splitlines() if line.strip().startswith(("line ", "%"))]


def last_line(path: str) -> str:
    """The last line of a file, for a message."""
    lines = text.read(path).strip().splitlines()
    return lines[-1][:300] if lines else "it has said nothing"
