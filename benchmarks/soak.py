"""Let a server work for a long time, and see whether it grows: python benchmarks/soak.py."""

from __future__ import annotations

import argparse
import asyncio
import secrets
import sys

from labbench.box import Box
from labbench.soaking import LISTENERS, NODES, Sample, line, soak


def main() -> int:
    """Run and print the table; the exit code says whether the server has not grown."""
    parser = argparse.ArgumentParser(description="See whether a server grows over a long time.")
    parser.add_argument("--minutes", type=float, default=15, metavar="N", help="how long (15)")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**6), help="(random)")
    options = parser.parse_args()
    print(f"{NODES} nodes, {LISTENERS} listeners, {options.minutes:g} minutes, seed {options.seed}")
    print(line(Sample.HEADINGS))
    with Box() as box:
        run = asyncio.run(soak(box, options.minutes, options.seed))
    grown = run.grown()
    print(f"grown: {', '.join(grown) or 'nothing'}")
    return 1 if grown else 0


if __name__ == "__main__":
    sys.exit(main())
