"""Send frames: python -m labbench.packets INTERFACE COUNT RATE, in the network that has it.

Prints how many seconds that took. With ``bare`` for the interface, in a network of its own, it
makes a veth pair first, sends through that, and prints how many frames have come out as well.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from pathlib import Path

FRAME = b"\xff" * 6 + b"\x02" + b"\0" * 5 + b"\x88\xb5" + bytes(46)
"""The shortest frame, to all, of a type that is kept for experiments: nobody answers it."""

GROUP = 32
"""How many are sent before the clock is looked at."""


def send(interface: str, count: int, rate: float) -> float:
    """Send frames at a rate; returns the seconds that it took."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as way:
        way.bind((interface, 0))
        begun = time.perf_counter()
        for number in range(0, count, GROUP):
            while time.perf_counter() - begun < number / rate:
                pass
            for _ in range(min(GROUP, count - number)):
                way.send(FRAME)
        return time.perf_counter() - begun


def main() -> None:
    """Send, and say what came of it."""
    interface, count, rate = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    if interface != "bare":
        print(send(interface, count, rate))
        return
    for command in (
        "link add here type veth peer name there",
        "link set here up",
        "link set there up",
    ):
        subprocess.run(["ip", *command.split()], check=True)
    seconds = send("here", count, rate)
    lines = Path("/proc/net/dev").read_text().splitlines()
    received = next(line.split()[2] for line in lines if line.strip().startswith("there:"))
    print(seconds, received)


if __name__ == "__main__":
    main()
