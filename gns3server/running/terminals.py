"""A terminal for a program, handed to the console server before the program is started. Blocks.

A program whose terminal is held by nobody any more gets SIGHUP. So the console server, which
outlives this server, has the terminal's other end before there is a program.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import socket
import struct
import termios
from collections.abc import Sequence

from gns3server.running.console import ConsolePlace
from gns3server.running.helper_client import CALL_SECONDS
from gns3server.running.runs import LaunchFailed

COLUMNS, ROWS = 80, 24
"""The size of a terminal that nobody has looked at yet."""


def open_terminal(place: ConsolePlace) -> int:
    """Make a terminal, and give its other end to the console server.

    :returns: the descriptor that a program uses; the caller must close it.
    :raises LaunchFailed: there is none to be had, or the console server does not take it.
    """
    try:
        master, slave = os.openpty()
    except OSError as error:
        raise LaunchFailed(f"no terminal can be had: {error.strerror or error}") from error
    try:
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("4H", ROWS, COLUMNS, 0, 0))
        _hand_over(master, place)
    except BaseException as error:
        os.close(slave)
        if isinstance(error, (OSError, ValueError, KeyError)):
            raise LaunchFailed(f"the console server does not take its terminal: {error}") from error
        raise
    finally:
        os.close(master)
    return slave


def is_raw(terminal: int) -> bool:
    """Whether a terminal hands over each key as it is pressed, and does not show it itself.

    :param terminal: a descriptor of either end.
    :raises OSError: its other end is closed.
    """
    try:
        local = termios.tcgetattr(terminal)[3]
    except termios.error as error:
        raise OSError(*error.args) from error
    return not local & (termios.ICANON | termios.ECHO)


def leading_a_session(argv: Sequence[str], search_path: str | None) -> list[str]:
    """A command that gives a program its standard input as its controlling terminal.

    Without one, Ctrl+C interrupts nothing, and a closed terminal ends nothing (tty(4)).

    :param argv: the program and its arguments.
    :param search_path: where programs are looked up.
    :raises LaunchFailed: there is no such command.
    """
    setsid = shutil.which("setsid", path=search_path)
    if setsid is None:
        raise LaunchFailed("the program setsid was not found: install the package util-linux")
    # It keeps its process id: the program takes its place.
    return [setsid, "--ctty", *argv]


def _hand_over(master: int, place: ConsolePlace) -> None:
    call = {"call": "terminal", "id": 1, "with": {"console": place.console_id}}
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(CALL_SECONDS)
        connection.connect(place.socket)
        with connection.makefile("rb") as answers:
            answers.readline()
            socket.send_fds(connection, [json.dumps(call).encode() + b"\n"], [master])
            answer = json.loads(answers.readline())
    if "error" in answer:
        raise ValueError(answer["error"])
