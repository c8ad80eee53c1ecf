"""What a switch makes of frames, beside a bare relay: rate without loss, round trip, time."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import psutil

from labbench.box import Box, free_ports
from labbench.report import Aim, Figure

RATES = range(30_000, 150_001, 10_000)
SECONDS = 1.0


@dataclass(slots=True)
class Target:
    """Something between two hosts.

    :param ports: of the first host, of its wire's other end, and the same of the second.
    """

    process: subprocess.Popen[bytes]
    ports: tuple[int, int, int, int]
    rates: list[float] = field(default_factory=list)
    trips: list[float] = field(default_factory=list)
    costs: list[float] = field(default_factory=list)

    def measure(self, box: Box, quick: bool) -> None:
        """One round."""
        self.trips.append(self._trip(box, 500 if quick else 3000))
        best, cost = 0, 0.0
        for rate in RATES:
            count = int(rate * SECONDS / (2 if quick else 1))
            before = self._cpu()
            # A machine that does other things as well may lose some: a second trial tells.
            if all(self._taken(box, count, rate) < count for _ in range(2)):
                break
            best, cost = rate, (self._cpu() - before) * 1e6 / count
        self.rates.append(best)
        self.costs.append(cost)

    def _cpu(self) -> float:
        times = psutil.Process(self.process.pid).cpu_times()
        return float(times.user + times.system)

    def _trip(self, box: Box, count: int) -> float:
        with _worker(box, "mirror", *self.ports[2:]) as mirror:
            _wait_ready(mirror)
            trip = _result(_worker(box, "echo", *self.ports[:2], count))
            mirror.terminate()
        return trip

    def _taken(self, box: Box, count: int, rate: int) -> float:
        taker = _worker(box, "take", *self.ports[2:])
        _wait_ready(taker)
        with _worker(box, "send", *self.ports[:2], count, rate):
            return _result(taker)


def forwarding(box: Box, quick: bool) -> list[Figure]:
    """A switch with two ports, and a loop with two sockets."""
    with _switch(box) as us, _relay(box) as them:
        for number in range(1 if quick else 3):
            for target in (us, them) if number % 2 else (them, us):
                target.measure(box, quick)

    def figure(what: str, unit: str, ours: list[float], bare: list[float], aim: Aim) -> Figure:
        return Figure(benchmark="forwarding", what=what, unit=unit, ours=ours, bare=bare, aim=aim)

    return [
        figure(
            "frames through a switch without loss",
            "1/s",
            us.rates,
            them.rates,
            Aim("ratio", 0.6, at_least=True),
        ),
        figure("round trip through it", "us", us.trips, them.trips, Aim("ratio", 2)),
        figure("processor time of a frame", "us", us.costs, them.costs, Aim("ratio", 2)),
    ]


@contextmanager
def _switch(box: Box) -> Iterator[Target]:
    home, ports = box.directory("switch"), _ports()
    wanted = {
        "name": "SW",
        "ageing": 300,
        "flood_limit": 5000,
        "ports": [{"number": number, "name": f"Ethernet{number}"} for number in (0, 1)],
        "wires": {
            str(number): {"lport": lport, "host": "127.0.0.1", "rport": rport}
            for number, (rport, lport) in enumerate((ports[:2], ports[2:]))
        },
    }
    (home / "wanted.json").write_text(json.dumps(wanted))
    program = [sys.executable, "-m", "gns3server_ethernet.switch"]
    with box.spawn([*program, "switch", "control", "wanted.json"], home) as process:
        while not (home / "control").exists():
            if process.poll() is not None:
                raise RuntimeError("the switch does not come up")
        yield Target(process, ports)
        process.terminate()


@contextmanager
def _relay(box: Box) -> Iterator[Target]:
    ports = _ports()
    first, second, third, fourth = map(str, ports)
    argv = [sys.executable, "-m", "labbench.bare_relay", second, first, fourth, third]
    home = box.directory("relay")
    with box.spawn(argv, home, _path(), stdout=subprocess.PIPE) as process:
        _wait_ready(process)
        yield Target(process, ports)
        process.terminate()


def _ports() -> tuple[int, int, int, int]:
    first = free_ports(4)
    return first, first + 1, first + 2, first + 3


def _path() -> dict[str, str]:
    return {"PYTHONPATH": ":".join(sys.path)}


def _worker(box: Box, what: str, *numbers: int) -> subprocess.Popen[bytes]:
    argv = [sys.executable, "-m", "labbench.frames", what, *map(str, numbers)]
    return box.spawn(argv, box.path, _path(), stdout=subprocess.PIPE)


def _wait_ready(process: subprocess.Popen[bytes]) -> None:
    if process.stdout is None or process.stdout.readline() != b"ready\n":
        raise RuntimeError(f"{process.args!r} is not ready")


def _result(process: subprocess.Popen[bytes]) -> float:
    with process:
        output, _ = process.communicate()
    return float(output)
