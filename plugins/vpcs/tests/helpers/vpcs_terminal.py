"""A program on a terminal of its own, as a person would use it."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self

import pytest

PROMPT = r"VPCS> "

SILENCE = 2.0
"""Seconds after which a person would press Enter to see whether anybody is there."""


QUIET = 0.3
"""Seconds after which a person would take a prompt for the last one."""


class Terminal:
    """Runs a program on a pseudo-terminal; what it shows is read up to what is expected.

    Every failure shows all that was on the screen.
    """

    def __init__(self, argv: Sequence[str], env: Mapping[str, str], limit: float = 40.0) -> None:
        self._limit = limit
        self._master, slave = pty.openpty()
        try:
            self.process = subprocess.Popen(
                argv, stdin=slave, stdout=slave, stderr=slave, env=env, start_new_session=True
            )
        finally:
            os.close(slave)
        self._screen = ""
        self._read_to = 0
        self._ended = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self._master)

    def expect(self, pattern: str, *, press_enter: bool = False) -> re.Match[str]:
        """Read until ``pattern`` is on the screen, after what was expected before.

        :param press_enter: do so whenever nothing is shown for a while.
        """
        deadline = time.monotonic() + self._limit
        while time.monotonic() < deadline:
            found = self._find(pattern, SILENCE)
            if found is not None:
                return found
            if press_enter:
                self.type("")
        pytest.fail(f"{pattern!r} was never shown:\n{self}")

    def type(self, line: str) -> None:
        """Type a line and press Enter."""
        os.write(self._master, line.encode() + b"\r")

    def press(self, key: str) -> None:
        """Press one key."""
        os.write(self._master, key.encode())

    def at_prompt(self, command: str, *, first: bool, prompt: str = PROMPT) -> None:
        """Wait for the prompt, type a command and press Enter once all of it is to be seen.

        VPCS loses what is typed in the moment when it shows its prompt, and in some versions
        shows a client no ``first`` one unless Enter is pressed. A person would notice.
        """
        deadline = time.monotonic() + self._limit
        self.expect(prompt, press_enter=first)
        os.write(self._master, command.encode())
        while self._find(re.escape(command), SILENCE) is None:
            assert time.monotonic() < deadline, f"{command!r} could not be typed:\n{self}"
            self.type("")
            self.expect(prompt)
            while self._find(prompt, QUIET):
                pass  # It shows another one after each Enter that was pressed too early.
            os.write(self._master, command.encode())
        self.type("")

    def _find(self, pattern: str, limit: float) -> re.Match[str] | None:
        deadline = time.monotonic() + limit
        while True:
            found = re.compile(pattern).search(self._screen, self._read_to)
            if found is not None:
                self._read_to = found.end()
                return found
            assert not self._ended, f"the program ended before it showed {pattern!r}:\n{self}"
            left = deadline - time.monotonic()
            if left <= 0:
                return None
            self._read_more(left)

    def wait_for_end(self) -> int:
        """Read until the program has ended; returns its exit code."""
        deadline = time.monotonic() + self._limit
        while not self._ended:
            left = deadline - time.monotonic()
            assert left > 0, f"it does not end:\n{self}"
            self._read_more(left)
        return self.process.wait(self._limit)

    def __str__(self) -> str:
        return self._screen

    def _read_more(self, limit: float) -> None:
        """Wait for more to be shown, so long."""
        ready, _, _ = select.select([self._master], [], [], limit)
        if not ready:
            return
        try:
            shown = os.read(self._master, 65536)
        except OSError:
            # Linux says so when the last process on the terminal has gone.
            shown = b""
        self._ended = not shown
        self._screen += shown.decode(errors="replace")
