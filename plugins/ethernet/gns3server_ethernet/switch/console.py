"""What a user may ask at the program's terminal."""

from __future__ import annotations

import contextlib
import os
import termios
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby

from gns3server_ethernet.switch.bridge import Bridge
from gns3server_ethernet.switch.learning import Switch
from gns3server_ethernet.switch.loop import Lines, Loop
from gns3server_ethernet.switch.wanted import DOT1Q, QINQ

LONGEST = 4096
"""Bytes of a command; a terminal hands over no longer lines."""

Command = Callable[[], Iterator[str]]


class Console:
    """Answers commands, one a line.

    :param bridge: what they are about.
    """

    def __init__(self, bridge: Bridge) -> None:
        self._bridge = bridge
        self._lines: Lines | None = None
        self._commands: dict[str, tuple[str, Command]] = {
            "show ports": ("the ports, and what they have counted", self._ports),
            "help": ("these commands", self._help),
        }
        if isinstance(bridge, Switch):
            self._commands = {
                "show mac": ("the addresses that the switch knows", self._addresses),
                "show vlan": ("the VLANs and their ports", self._vlans),
                "clear mac": ("forget all addresses", self._flush),
                **self._commands,
            }

    def serve(self, loop: Loop, terminal: str) -> None:
        """Answer at a terminal.

        :param terminal: its path. It is opened anew, so that nobody else's calls on it return
            without having waited.
        """
        flags = os.O_RDWR | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
        descriptor = os.open(terminal, flags)
        attributes = termios.tcgetattr(descriptor)
        # Ctrl-D is no end: many users may share the terminal, and it is not opened again.
        attributes[6][termios.VEOF] = b"\0"
        termios.tcsetattr(descriptor, termios.TCSANOW, attributes)
        self._lines = Lines(loop, descriptor, take=self._take, ended=self._ended, longest=LONGEST)
        self._lines.write(self._prompt)

    def show(self, message: str) -> None:
        """Say what nobody has asked for: at the terminal, or where the program's output goes."""
        if self._lines is None:
            # The disk may be full, and a terminal gone: that ends no switch.
            with contextlib.suppress(OSError):
                print(message, flush=True)
        else:
            self._lines.write(f"\n{message}\n".encode() + self._prompt)

    def answer(self, command: str) -> list[str]:
        """The lines that answer a command."""
        words = command.split()
        if not words:
            return []
        found = [name for name in self._commands if matches(words, name)]
        if len(found) == 1:
            return list(self._commands[found[0]][1]())
        what = "could be several commands" if found else "is not a command"
        return [f"'{' '.join(words)[:60]}' {what}: 'help' lists them."]

    @property
    def _prompt(self) -> bytes:
        return f"{printable(self._bridge.name)[:40]}> ".encode()

    def _take(self, line: bytes) -> None:
        answer = self.answer(line.decode(errors="replace"))
        if self._lines is not None:
            self._lines.write("".join(f"{text}\n" for text in answer).encode() + self._prompt)

    def _ended(self) -> None:
        self._lines = None

    # The commands -------------------------------------------------------------------

    def _help(self) -> Iterator[str]:
        for name, (meaning, _) in self._commands.items():
            yield f"{name:12}{meaning}"

    def _ports(self) -> Iterator[str]:
        yield from table(
            ("Port", "Name", "Type", "VLAN", "Wired", "Received", "Sent", "Dropped"),
            [
                (
                    str(number),
                    printable(port.wanted.name),
                    port.wanted.type,
                    str(port.wanted.vlan),
                    "no" if port.socket is None else "yes",
                    str(port.received_frames),
                    str(port.sent_frames),
                    str(port.malformed + port.wrong_vlan + port.limited + port.unsent),
                )
                for number, port in sorted(self._bridge.ports.items())
            ],
        )

    def _addresses(self) -> Iterator[str]:
        if isinstance(self._bridge, Switch):
            ports = self._bridge.ports
            yield from table(
                ("VLAN", "Address", "Port", "Age"),
                [
                    (
                        str(known.vlan),
                        known.mac_address,
                        printable(ports[known.port_number].wanted.name),
                        f"{known.age} s",
                    )
                    for known in self._bridge.addresses()
                ],
            )

    def _vlans(self) -> Iterator[str]:
        ports = [port.wanted for _, port in sorted(self._bridge.ports.items())]
        yield from table(
            ("VLAN", "Ports"),
            [
                (str(vlan), ", ".join(printable(port.name) for port in group))
                for vlan, group in groupby(
                    sorted((port for port in ports if port.type != DOT1Q), key=vlan_of), vlan_of
                )
            ],
        )
        for port in ports:
            if port.type == DOT1Q:
                yield f"{printable(port.name)} (dot1q) has all VLANs, {port.vlan} without a tag."
            elif port.type == QINQ:
                tag = f"{port.vlan} of type {port.ethertype}"
                yield f"{printable(port.name)} (qinq) gets the tag {tag} around its frames."

    def _flush(self) -> Iterator[str]:
        if isinstance(self._bridge, Switch):
            self._bridge.flush()
        yield "All addresses are forgotten."


def vlan_of(port: object) -> int:
    """The VLAN of a port, to sort by."""
    return int(getattr(port, "vlan", 0))


def matches(words: Sequence[str], command: str) -> bool:
    """Whether words are a command, or begin like its words."""
    names = command.split()
    return len(words) == len(names) and all(
        name.startswith(word.lower()) for word, name in zip(words, names, strict=True)
    )


def printable(text: str) -> str:
    """A text that does nothing to a terminal."""
    return "".join(character if character.isprintable() else "?" for character in text)


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Rows below heads, in columns."""
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    for row in (heads, *rows):
        yield "  ".join(map(str.ljust, row, widths)).rstrip()
