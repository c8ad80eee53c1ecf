"""Kill a server with running labs again and again: python benchmarks/crash_loop.py [--kills N]."""

from __future__ import annotations

import argparse
import asyncio
import secrets
import sys

from crashloop.client import Violation
from crashloop.emulators import virtual_pcs
from crashloop.loop import CrashLoop
from labbench.box import Box


def main() -> int:
    """Run the loop and print its summary; the exit code says whether all promises were kept."""
    parser = argparse.ArgumentParser(description="Kill a server with running labs again and again.")
    parser.add_argument("--kills", type=int, default=100, metavar="N", help="how often (100)")
    parser.add_argument("--seed", type=int, help="the seed of an earlier run, to repeat it")
    options = parser.parse_args()
    seed = secrets.randbelow(10**6) if options.seed is None else options.seed
    with Box() as box:
        loop = CrashLoop(box, virtual_pcs(box.directory("emulator")), seed, options.kills)
        try:
            print(asyncio.run(loop.run()))
        except Violation as violation:
            print(violation, file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
