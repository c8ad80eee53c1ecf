"""Starts the programs of a node; in its process 1."""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import signal
import sys
import termios
from array import array
from collections.abc import Callable, Mapping, Sequence

from gns3server_linux.holder.files import HOME

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

TERMINAL = 0
"""The node's console, as this process has it."""


def environment(name: str) -> dict[str, str]:
    """What the node's programs get: what the server gives to all programs, and their own.

    :param name: its host name.
    """
    return {
        **os.environ,
        "HOME": HOME,
        "HOSTNAME": name,
        "LOGNAME": "root",
        "PATH": PATH,
        "PS1": r"root@\h:\w# ",
        "SHELL": "/bin/sh",
        "TERM": "xterm-256color",
        "USER": "root",
        # A shell of many users keeps no history of one, and a pager on a console helps nobody.
        "HISTFILE": "",
        "VTYSH_HISTFILE": "/dev/null",
        "VTYSH_PAGER": "cat",
    }


def spawn_at_terminal(argv: Sequence[str], env: Mapping[str, str]) -> int:
    """Start a program that the console belongs to; returns its process id."""
    return _start(argv, env, _take_terminal)


def spawn(argv: Sequence[str], env: Mapping[str, str], output: int) -> int:
    """Start a program without a terminal; returns its process id.

    :param output: the descriptor of what it prints to.
    """
    return _start(argv, env, lambda: _to(output))


def _start(argv: Sequence[str], env: Mapping[str, str], prepare: Callable[[], None]) -> int:
    """Start a program, and return once its process has become that.

    :raises OSError: the node has as many processes as it may have.
    """
    turning, turned = os.pipe()
    try:
        pid = os.fork()
    except OSError:
        os.close(turning)
        os.close(turned)
        raise
    if pid == 0:
        _exec(argv, env, prepare)
    os.close(turned)
    # The other end is closed by execve(2), or by the end of the process.
    os.read(turning, 1)
    os.close(turning)
    return pid


class Terminal:
    """The console; it is not there when nobody serves it."""

    def __init__(self) -> None:
        self._fresh: list[Any] | None = None

    def refresh(self) -> bool:
        """Have it be as it was at first, whatever the last program has made of it.

        :returns: whether it is there.
        """
        try:
            if self._fresh is None:
                self._fresh = termios.tcgetattr(TERMINAL)
            termios.tcsetattr(TERMINAL, termios.TCSANOW, self._fresh)
        except termios.error:
            return False
        return True

    def show(self, text: bytes) -> None:
        """Show a text, unless nobody takes what is shown."""
        room = select.poll()
        room.register(TERMINAL, select.POLLOUT)
        if room.poll(0):
            with contextlib.suppress(OSError):
                os.write(TERMINAL, text)

    def drop_empty_line(self) -> None:
        """Drop the line that was typed if there is nothing in it; any other waits to be read."""
        with contextlib.suppress(OSError):
            (waiting,) = array("i", fcntl.ioctl(TERMINAL, termios.FIONREAD, bytes(4)))
            if waiting == 1:
                os.read(TERMINAL, 1)


def _take_terminal() -> None:
    os.setsid()
    fcntl.ioctl(TERMINAL, termios.TIOCSCTTY, 0)


def _to(output: int) -> None:
    os.setsid()
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(output, 1)
    os.dup2(output, 2)


def _exec(argv: Sequence[str], env: Mapping[str, str], prepare: Callable[[], None]) -> None:
    """Turn a new process into a program."""
    code = 126
    try:
        for number in (
            *(signal.SIGHUP, signal.SIGINT, signal.SIGTSTP, signal.SIGQUIT),
            *(signal.SIGPIPE, signal.SIGXFSZ, signal.SIGCHLD),
        ):
            signal.signal(number, signal.SIG_DFL)
        prepare()
        # By its path: to search for it, Python would import more, and may be out of reach in here.
        os.execve(argv[0], list(argv), dict(env))
    except OSError as error:
        code = 127
        print(f"{argv[0]}: {error.strerror}", file=sys.stderr, flush=True)
    finally:
        os._exit(code)
