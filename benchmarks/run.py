"""Measure the server: python benchmarks/run.py [--quick] [--json FILE] [NAME ...]."""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import sys
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from labbench import (
    adopting,
    busy_consoles,
    clients,
    durability,
    events,
    forwarding,
    guest_wires,
    guests,
    nodes,
    rates,
    relays,
    routers,
    starting,
    terminals,
)
from labbench.box import INTERRUPTS, Box
from labbench.report import Figure, table

Benchmark = Callable[[Box, bool], list[Figure]]

BENCHMARKS: dict[str, Benchmark] = {
    "start": starting.first_answer,
    "projects": starting.first_answer_with_projects,
    "restart": adopting.restart,
    "import": starting.imports,
    "memory": starting.memory,
    "requests": rates.requests,
    "nodes": nodes.hundred,
    "events": events.delivery,
    "durability": durability.creation,
    "idle": nodes.idle,
    "relays": relays.relays,
    "forwarding": forwarding.forwarding,
    "hosts": routers.frames,
    "routers": routers.routers,
    "guests": guests.guests,
    "wires": guest_wires.wires,
    "consoles": terminals.consoles,
    "busy": busy_consoles.busy,
    "clients": clients.clients,
}


def make_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description="Measure the server beside bare programs.")
    parser.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help=f"what to measure (default: all): {', '.join(BENCHMARKS)}",
    )
    parser.add_argument("--quick", action="store_true", help="few rounds: rough figures")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all samples there")
    parser.add_argument("--dir", metavar="DIRECTORY", help="where servers under test may write")
    return parser


def machine() -> dict[str, Any]:
    """The machine that it was measured on."""
    return {
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0],
        "kernel": platform.release(),
        "python": platform.python_version(),
        "aiohttp": version("aiohttp"),
        "gns3server": version("gns3server"),
    }


def measure(names: Sequence[str], quick: bool, directory: str | None) -> list[Figure]:
    """Run benchmarks one after the other, each in its own box."""
    figures = []
    for name in names:
        begun = time.monotonic()
        print(f"{name} ...", end="", file=sys.stderr, flush=True)
        with Box(directory) as box:
            figures += BENCHMARKS[name](box, quick)
        print(f" {time.monotonic() - begun:.0f} s", file=sys.stderr)
    return figures


def main() -> int:
    """Measure, print, and say with the exit code whether every aim was met."""
    parser = make_parser()
    options = parser.parse_args()
    if unknown := set(options.names) - set(BENCHMARKS):
        parser.error(f"there is no benchmark called {', '.join(sorted(unknown))}")
    for number in INTERRUPTS:
        signal.signal(number, signal.default_int_handler)
    before = machine()
    try:
        figures = measure(options.names or list(BENCHMARKS), options.quick, options.dir)
    except KeyboardInterrupt:
        print(" interrupted: everything that was started has been ended", file=sys.stderr)
        return 130
    print(table(figures))
    missed = [figure.what for figure in figures if figure.verdict == "MISSED"]
    print(f"\nmissed: {'; '.join(missed) or 'none'}")
    if options.json:
        result = {"machine": before, "figures": [figure.as_json() for figure in figures]}
        options.json.write_text(json.dumps(result, indent=2) + "\n")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
