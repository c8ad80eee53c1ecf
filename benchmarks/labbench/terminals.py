"""What the console server costs: the echo of a key, and output, beside a bare pseudo-terminal."""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import socket
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from labbench.box import Box, free_ports
from labbench.report import Figure
from labbench.servers import HOST

CROWDS = (1, 10)
LIMIT_SECONDS = 30.0
NOTHING_TYPED = b""

ECHO = ("sh", "-c", "stty raw -echo; echo ready; exec cat")
"""Shows each key, by a program and not by the terminal."""

FLOOD = (
    "stty raw -echo; echo ready; head -c 1 >/dev/null; head -c {} /dev/zero | tr '\\0' x; echo END"
)

VPCS = ("vpcs", "-m", "1", "-i", "1", "-F")
VPCS_RULES = {"follow": "\0\0", "by_line": True, "break_text": "", "farewell": None}


class Line:
    """One end of a terminal, or of a connection to a console."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.shown = b""

    def type(self, keys: bytes) -> None:
        """Type keys."""
        os.write(self.descriptor, keys)

    def read(self) -> int:
        """Read what is there, and keep the end of it; returns how much that was."""
        data = os.read(self.descriptor, 1 << 20)
        if not data:
            raise EOFError(f"it has ended after {self.shown!r}")
        self.shown = (self.shown + data)[-1000:]
        return len(data)

    def until(self, wanted: bytes) -> int:
        """Read until something is shown; returns how much that was."""
        count = 0
        while wanted not in self.shown:
            count += self.read()
        return count


class ConsoleServer:
    """A console server under test, as its controller sees it."""

    def __init__(self, box: Box) -> None:
        self._box = box
        self._home = box.directory("consoles")
        self._path = str(self._home / "control")
        command = [sys.executable, "-m", "gns3server.consoles.console_server", self._path]
        box.spawn(command, self._home)
        self._control = socket.socket(socket.AF_UNIX)
        deadline = time.monotonic() + LIMIT_SECONDS
        while self._control.connect_ex(self._path):
            if time.monotonic() > deadline:
                raise TimeoutError("the console server does not listen")
            time.sleep(0.01)
        self._answers = self._control.makefile("rb")
        self._answers.readline()

    def state(self, consoles: Sequence[Mapping[str, Any]]) -> None:
        """Say what is wanted."""
        self._call("state", {"number": 1, "consoles": consoles})

    def run(self, console: str, argv: Sequence[str]) -> None:
        """Run a program on a terminal that the console server holds."""
        master, slave = os.openpty()
        self._call("terminal", {"console": console}, master)
        os.close(master)
        spawn(self._box, self._home, slave, argv)

    def _call(self, name: str, what: Mapping[str, Any], *descriptors: int) -> None:
        call = json.dumps({"call": name, "id": 1, "with": what}).encode() + b"\n"
        socket.send_fds(self._control, [call[:1]], descriptors)
        self._control.sendall(call[1:])
        answer = json.loads(self._answers.readline())
        if "error" in answer or (answer["result"] and answer["result"]["failed"]):
            raise RuntimeError(str(answer))

    def close(self) -> None:
        """Hang up, and so end it once its programs have ended."""
        self._answers.close()
        self._control.close()


def spawn(box: Box, home: Path, slave: int, argv: Sequence[str]) -> None:
    """Run a program on a terminal, which controls it."""
    box.spawn(("setsid", "--ctty", *argv), home, stdin=slave, stdout=slave)
    os.close(slave)


@contextmanager
def bare(box: Box, argv: Sequence[str], count: int) -> Iterator[list[Line]]:
    """Programs on terminals that are held here."""
    home = box.directory("bare")
    with contextlib.ExitStack() as closing:
        lines = []
        for _ in range(count):
            master, slave = os.openpty()
            closing.callback(os.close, master)
            spawn(box, home, slave, argv)
            lines.append(Line(master))
        yield lines


@contextmanager
def served(
    box: Box, argv: Sequence[str], count: int, rules: Mapping[str, Any] | None = None
) -> Iterator[list[Line]]:
    """Programs on terminals of a console server, by telnet."""
    first = free_ports(count)
    wanted: list[dict[str, Any]] = [
        {
            "id": str(number),
            "host": HOST,
            "port": first + number,
            "source": {"kind": "terminal"},
            "scrollback": 65536,
            "transcript": None,
            "input": rules,
        }
        for number in range(count)
    ]
    with contextlib.ExitStack() as closing:
        server = ConsoleServer(box)
        closing.callback(server.close)
        server.state(wanted)
        lines = []
        for each in wanted:
            server.run(str(each["id"]), argv)
            connection = closing.enter_context(socket.create_connection((HOST, each["port"])))
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            lines.append(Line(connection.fileno()))
        yield lines


def echoes(lines: Sequence[Line], keys: int, follow: bytes = NOTHING_TYPED) -> list[float]:
    """Milliseconds from each key to its echo, typed on all lines at once, one after the other.

    :param follow: what is typed after each key, by whoever does without the console server.
    """
    poller = select.poll()
    by_descriptor = {line.descriptor: line for line in lines}
    for line in lines:
        poller.register(line.descriptor, select.POLLIN)
    taken = []
    for number in range(keys):
        key = b"%c" % (ord("a") + number % 26)
        begun = {}
        for line in lines:
            begun[line.descriptor] = time.perf_counter()
            line.type(key + follow)
        while begun:
            ready = poller.poll(LIMIT_SECONDS * 1000)
            if not ready:
                raise TimeoutError("a key has no echo")
            now = time.perf_counter()
            for descriptor, _ in ready:
                by_descriptor[descriptor].read()
                if descriptor in begun:
                    taken.append((now - begun.pop(descriptor)) * 1000)
    return taken


def p99(samples: Sequence[float]) -> float:
    """The 99th percentile."""
    return statistics.quantiles(samples, n=100)[98]


def consoles(box: Box, quick: bool) -> list[Figure]:
    """Key echo of one and of ten consoles, and the output of one, beside bare terminals."""
    rounds, keys = (3, 100) if quick else (9, 500)
    figures = []
    for count in CROWDS:
        with bare(box, ECHO, count) as them, served(box, ECHO, count) as us:
            samples = _take_turns(us, them, rounds, keys)
            figures += _echo_figures(f"key echo, {_consoles(count)}", *samples)
    if shutil.which(VPCS[0]):
        with bare(box, VPCS, 1) as them, served(box, VPCS, 1, VPCS_RULES) as us:
            samples = _take_turns(us, them, rounds, min(keys, 60), vpcs=True)
            figures += _echo_figures("key echo of VPCS", *samples)
    return [*figures, _output(box, quick, rounds)]


Samples = list[list[float]]


def _take_turns(
    us: Sequence[Line], them: Sequence[Line], rounds: int, keys: int, *, vpcs: bool = False
) -> tuple[Samples, Samples]:
    """The echoes of each round, of ours and of the bare ones."""
    ready = b"VPCS> " if vpcs else b"ready"
    for line in (*us, *them):
        line.until(ready)
    ours: Samples = []
    theirs: Samples = []
    for _ in range(rounds):
        theirs.append(echoes(them, keys, b"\0\0" if vpcs else NOTHING_TYPED))
        ours.append(echoes(us, keys))
        if vpcs:
            # Gives the line up before it becomes too long.
            for line in (*us, *them):
                line.shown = b""
                line.type(b"\x03")
                line.until(ready)
    return ours, theirs


def _echo_figures(what: str, ours: Samples, theirs: Samples) -> list[Figure]:
    summaries: dict[str, Callable[[Sequence[float]], float]] = {
        "p50": statistics.median,
        "p99": p99,
    }
    return [
        Figure(
            benchmark="consoles",
            what=f"{what}, {name}",
            unit="ms",
            ours=[summary(each) for each in ours],
            bare=[summary(each) for each in theirs],
        )
        for name, summary in summaries.items()
    ]


def _output(box: Box, quick: bool, rounds: int) -> Figure:
    size = (4 if quick else 32) * 1_000_000
    argv = ("sh", "-c", FLOOD.format(size))
    ours, theirs = [], []
    for _ in range(rounds):
        with bare(box, argv, 1) as (line,):
            theirs.append(_rate(line, size))
        with served(box, argv, 1) as (line,):
            ours.append(_rate(line, size))
    return Figure(
        benchmark="consoles", what="output of one console", unit="MB/s", ours=ours, bare=theirs
    )


def _rate(line: Line, size: int) -> float:
    line.until(b"ready")
    line.type(b"x")
    begun = time.perf_counter()
    line.until(b"END")
    return size / (time.perf_counter() - begun) / 1e6


def _consoles(count: int) -> str:
    return "1 console" if count == 1 else f"{count} consoles"
