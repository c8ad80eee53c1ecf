"""The program: ``python -m gns3server.links.panel SOCKET``."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys

from gns3server.links.panel.panel import Panel

SWITCH_SECONDS = 0.0001
"""After this time a thread lets another one go on: one that writes a file holds up no frame."""


async def serve(path: str) -> None:
    """Be the panel until there is nothing to do any more."""
    panel = Panel(path)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, panel.done.set)
    await panel.run()


def main() -> None:
    """Run the panel."""
    if len(sys.argv) != 2:
        sys.exit("usage: python -m gns3server.links.panel SOCKET")
    # A collection would hold up frames. See Panel.lost for what is collected.
    gc.disable()
    gc.freeze()
    sys.setswitchinterval(SWITCH_SECONDS)
    asyncio.run(serve(sys.argv[1]))
    # A thread may wait for a disk that does not answer: nobody waits for the thread.
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
