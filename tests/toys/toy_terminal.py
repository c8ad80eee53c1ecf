"""A program that uses its terminal as simple emulators do: raw while it waits for a line.

While it carries out a command its terminal is not raw; what comes after a line's end in one read
is lost. Its commands: ``say TEXT``, ``wait PATH`` (until there is such a file, or Ctrl-C), ``name
TEXT`` (of the prompt), ``size``, ``leave`` (which it cannot), ``quit``.
"""

from __future__ import annotations

import os
import sys
import termios
import time

NAME = "PC"


def show(text: str) -> None:
    os.write(1, text.encode())


def read_line() -> str:
    """Read a line, key by key."""
    line = b""
    while True:
        for number in os.read(0, 512):
            key = bytes((number,))
            if key == b"\n":
                return line.decode()
            if key == b"\x03":
                return ""
            if key == b"\x7f" and line:
                line = line[:-1]
                show("\b \b")
            elif key >= b" " and key != b"\x7f":
                line += key
                os.write(1, key)


def carry_out(line: str) -> None:
    global NAME  # noqa: PLW0603 (it is a toy)
    command, _, rest = line.partition(" ")
    if command == "say":
        show(f"{rest}\n")
    elif command == "name":
        NAME = rest
    elif command == "size":
        show("{}x{}\n".format(*os.get_terminal_size(0)))
    elif command.startswith("le"):
        show("this is no daemon\n")
    elif command == "quit":
        sys.exit(0)
    elif command == "wait":
        show("waiting\n")
        while not os.path.exists(rest):
            time.sleep(0.005)
        show("over\n")


def main() -> None:
    cooked = termios.tcgetattr(0)
    raw = termios.tcgetattr(0)
    raw[3] &= ~(termios.ICANON | termios.ECHO | termios.ISIG)
    while True:
        try:
            show(f"\n\r{NAME}> ")
            termios.tcsetattr(0, termios.TCSANOW, raw)
            line = read_line()
            termios.tcsetattr(0, termios.TCSANOW, cooked)
            show("\n")
            carry_out(line)
        except KeyboardInterrupt:
            show("\n")


if __name__ == "__main__":
    main()
