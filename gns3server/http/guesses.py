"""Wrong passwords cost time: from one address, few can be tried in a second.

The answer to each wrong one is given in turn. A right one is let in at once, unless very many wrong
ones come from the same address at the same time: then all attempts from there wait a moment before
they are even looked at, so that nothing is learned by hanging up early. Connections that have
shown the password once never wait, and no other address does.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Awaitable, Callable

SPACING = 0.1
"""Seconds between the answers to two wrong passwords from one address."""

LONGEST_WAIT = 10.0
"""Seconds that the answer to a wrong password may take."""

FREE = 1.0
"""Seconds of wrong passwords that may wait for their answers before others have to wait as well;
and for how long these wait."""

MOST_ADDRESSES = 1000
"""How many addresses are remembered; those whose last wrong password is longest ago are not."""

NETWORK_BITS = 64
"""What of an IPv6 address one guesser cannot choose."""


class Guesses:
    """The wrong passwords of late, by the address that they came from.

    :param sleep: waits for so many seconds.
    :param now: tells the time in seconds.
    """

    def __init__(
        self,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        now: Callable[[], float] = lambda: asyncio.get_running_loop().time(),
    ) -> None:
        self._sleep = sleep
        self._now = now
        self._busy: dict[str, float] = {}
        """Until when the wrong passwords from an address keep it busy, those of late last."""

    def __len__(self) -> int:
        """How many addresses are remembered."""
        return len(self._busy)

    async def before(self, address: str | None) -> None:
        """Wait before a password from an address is looked at, if very many are wrong."""
        if self._busy and self._left(_guesser(address)) > FREE:
            await self._sleep(FREE)

    async def wrong(self, address: str | None) -> None:
        """Wait for the turn of the answer to a wrong password."""
        guesser = _guesser(address)
        wait = min(self._left(guesser) + SPACING, LONGEST_WAIT)
        self._busy.pop(guesser, None)
        self._busy[guesser] = self._now() + wait
        if len(self._busy) > MOST_ADDRESSES:
            del self._busy[next(iter(self._busy))]
        await self._sleep(wait)

    def _left(self, guesser: str) -> float:
        return max(self._busy.get(guesser, 0.0) - self._now(), 0.0)


def _guesser(address: str | None) -> str:
    """Whom an address stands for: whoever has an IPv6 network has all addresses in it."""
    if address is None or ":" not in address:
        return address or ""
    bare = address.partition("%")[0]
    return str(ipaddress.ip_network((bare, NETWORK_BITS), strict=False))
