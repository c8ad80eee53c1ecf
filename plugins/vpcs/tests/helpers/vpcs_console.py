"""The console of a virtual PC."""

from __future__ import annotations

import re
from functools import partial

from gns3server.testing import ConsoleClient

REPLY = re.compile(r"icmp_seq=\d+ .*time=")


class Console(ConsoleClient):
    """One connection to a console."""

    async def pings(self, address: str) -> bool:
        """Whether somebody answers at ``address``; asks again while packets may be on their way."""
        for _ in range(5):
            if REPLY.search(await self.run(f"ping {address} -c 2")):
                return True
        return False


open_console = partial(Console.open, prompt="VPCS> ")
"""Connect to a console and wait for its prompt."""
