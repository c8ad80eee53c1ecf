"""Process 1 of a node: prepares it, and starts its daemons and its shell."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import resource
import signal
import socket
import struct
import sys
import time
from collections.abc import Mapping

from gns3server_linux.holder import files, kernel, programs, text
from gns3server_linux.holder.loop import Loop
from gns3server_linux.holder.messages import Messages
from gns3server_linux.holder.routing import MALLOC, Routing
from gns3server_linux.holder.wanted import STARTUP, Wanted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

STARTUP_SECONDS = 3.0
"""How long a node waits for the script before it counts as started."""

INVITATION = b"\nPress RETURN to get started.\n"
"""What a router's console shows until a line is typed: vtysh takes as much memory as two daemons,
and most consoles are never looked at."""

PAUSE = 1.0
"""Seconds before a shell or daemon is started again that has ended within that time."""

LEAST_PROCESSES = 301
"""The kernel takes no smaller ``kernel.pid_max`` (linux/threads.h, RESERVED_PIDS)."""

SIOCETHTOOL = 0x8946
OFFLOADS = (0x17, 0x1F, 0x24)
"""ETHTOOL_STXCSUM, _STSO, _SGSO of linux/ethtool.h: frames leave the node as they must look."""


class Inside:
    """The process.

    :param channel: the holder's process, whose end is the end of all.
    """

    def __init__(self, channel: socket.socket) -> None:
        self._loop = Loop()
        self._messages = Messages(channel)
        self._routing: Routing | None = None
        self._shell: int | None = None
        self._terminal = programs.Terminal()

    def run(self) -> None:
        """Wait to be begun, then serve until the holder ends."""
        self._loop.add(self._messages.connection.fileno(), self._told)
        self._loop.run()

    def _told(self) -> None:
        messages = self._messages.receive()
        if messages is None:
            # The kernel ends whatever is left in the namespace of an ended process 1.
            os._exit(0)
        for message in messages:
            if message["do"] == "begin":
                self._begin(message["with"])
            elif message["do"] == "save" and self._routing is not None:
                self._routing.save()

    def _begin(self, values: Mapping[str, Any]) -> None:
        kernel.end_with_parent(signal.SIGKILL)
        try:
            wanted = Wanted.read(values)
            self._prepare(wanted)
            env = programs.environment(wanted.name)
            if wanted.daemons:
                env |= MALLOC
                self._routing = Routing(self._loop, wanted, env, self._tell, self._end_shell)
                self._routing.start()
            self._begin_console(wanted, env)
        except (OSError, ValueError) as error:
            self._tell("failed", {"why": kernel.reason(error)})
            return
        self._tell("up", {})

    def _tell(self, event: str, values: Mapping[str, Any]) -> None:
        self._messages.send({"event": event, "with": values})

    # What is there once -----------------------------------------------------------------

    def _prepare(self, wanted: Wanted) -> None:
        socket.sethostname(wanted.name)
        files.prepare(wanted.home, wanted.name, router=bool(wanted.daemons))
        limit_processes(wanted.most_processes)
        for name, value in wanted.sysctls.items():
            try:
                text.write("/".join(("/proc/sys", *name.split("."))), value)
            except OSError as error:
                raise ValueError(f"sysctl {name} cannot be {value!r}: {error.strerror}") from error
        switch_on("lo")
        for number in range(len(wanted.addresses)):
            refuse_offloads(f"eth{number}")
            switch_on(f"eth{number}")

    # The console ------------------------------------------------------------------------

    def _begin_console(self, wanted: Wanted, env: Mapping[str, str]) -> None:
        if not (self._terminal.refresh() and os.path.isfile(STARTUP)):
            self._show_shell(wanted, env)
            return
        pid = programs.spawn_at_terminal(("/bin/sh", STARTUP), env)
        done: list[int] = []

        def ended(code: int) -> None:
            done.append(code)
            self._show_shell(wanted, env)

        self._loop.attend(pid, ended)
        over: list[bool] = []
        self._loop.later(STARTUP_SECONDS, lambda: over.append(True))
        # Who asks for a started node finds it as the script has left it, unless that takes long.
        while not done and not over:
            self._loop.turn(-1)

    def _show_shell(self, wanted: Wanted, env: Mapping[str, str]) -> None:
        """Have the console show the shell, or what to do for one."""
        if not self._terminal.refresh():
            return
        if not wanted.daemons:
            self._start_shell(wanted, env)
            return
        self._terminal.show(INVITATION)

        def typed() -> None:
            self._loop.remove(programs.TERMINAL)
            self._terminal.drop_empty_line()
            self._start_shell(wanted, env)

        # The line is the shell's, unless it is empty.
        self._loop.add(programs.TERMINAL, typed)

    def _start_shell(self, wanted: Wanted, env: Mapping[str, str]) -> None:
        began = time.monotonic()

        def ended(_: int) -> None:
            self._shell = None
            soon = PAUSE if time.monotonic() - began < PAUSE else 0
            self._loop.later(soon, lambda: self._show_shell(wanted, env))

        try:
            self._shell = programs.spawn_at_terminal(wanted.shell, env)
        except OSError:
            # The node has as many processes as it may have: some may end.
            self._loop.later(PAUSE, lambda: self._show_shell(wanted, env))
        else:
            self._loop.attend(self._shell, ended)

    def _end_shell(self) -> None:
        """End vtysh: one that runs does not talk to daemons that have come later."""
        if self._shell is not None:
            os.kill(self._shell, signal.SIGTERM)


def limit_processes(most: int) -> None:
    """Have a fork bomb end at the node's own limit, where the kernel has one for a namespace.

    An ordinary user's processes are limited by the kernel for each user namespace; root's by how
    many process ids a PID namespace has, since Linux 6.14.
    """
    if not is_machines_root():
        resource.setrlimit(resource.RLIMIT_NPROC, (most, most))
    # Older kernels have one value for the whole machine, which is not ours to change.
    if kernel_version() >= (6, 14):
        with contextlib.suppress(OSError):
            text.write("/proc/sys/kernel/pid_max", str(max(most, LEAST_PROCESSES)))


def kernel_version() -> tuple[int, ...]:
    """The first two numbers of the kernel's version."""
    return tuple(int(part) for part in os.uname().release.split("-")[0].split(".")[:2])


def is_machines_root() -> bool:
    """Whether number 0 in here is the root of the machine, or the one of a user namespace."""
    return text.read("/proc/self/uid_map").split()[1] == "0"


def switch_on(interface: str) -> None:
    """As ``ip link set up``."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        request = struct.Struct("16sh22x")
        answer = fcntl.ioctl(any_socket, 0x8913, request.pack(interface.encode(), 0))
        flags = request.unpack(answer)[1] | 1
        fcntl.ioctl(any_socket, 0x8914, request.pack(interface.encode(), flags))


def refuse_offloads(interface: str) -> None:
    """Have the kernel finish frames before they leave: nobody on the wire would do it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        for command in OFFLOADS:
            value = (ctypes.c_uint32 * 2)(command, 0)
            request = struct.pack("16sP16x", interface.encode(), ctypes.addressof(value))
            try:
                fcntl.ioctl(any_socket, SIOCETHTOOL, request)
            except OSError as error:
                if error.errno != errno.EOPNOTSUPP:
                    raise


def main(channel: socket.socket) -> None:
    """Serve until the holder ends."""
    try:
        Inside(channel).run()
    except BaseException as error:
        print(f"process 1 has failed: {error!r}", file=sys.stderr, flush=True)
        raise
