"""All links of a panel, and the calls by which the server has them."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Mapping
from functools import partial
from typing import Any

from gns3server.links.panel.frames import FrameReader
from gns3server.links.panel.link import Link
from gns3server.links.panel.schedule import Schedule
from gns3server.links.panel.wanted import WantedLink, read_link, read_links
from gns3server.running.control import Caller, ControlServer, Takeover
from gns3server.running.threads import SeparateThreads

KIND = "links"
PROTOCOL = 1

FIRST_CALLER_SECONDS = 30.0
"""How long a panel without links waits for somebody to call."""

THREADS = 4


class Panel:
    """Does what the server says, and ends when it has no link and nobody calls.

    To be made on the loop.

    :param path: of its socket.
    :raises OSError: this machine does not give what it needs.
    """

    def __init__(self, path: str) -> None:
        self.done = asyncio.Event()
        self._control = ControlServer(
            path,
            kind=KIND,
            protocol=PROTOCOL,
            handlers={"state": self._state, "status": self._status, "follow": self._follow},
            ended=self._caller_gone,
        )
        self._links: dict[str, Link] = {}
        self._reader = FrameReader()
        self._schedule = Schedule()
        self._threads = SeparateThreads("capture files", THREADS, ready=1)
        self._turn = asyncio.Lock()

    async def run(self) -> None:
        """Listen until there is nothing to do any more.

        :raises OSError: the path cannot be used.
        """
        self._control.listen()
        asyncio.get_running_loop().call_later(FIRST_CALLER_SECONDS, self._end_if_idle)
        await self.done.wait()
        self._control.close()
        await asyncio.gather(*(link.close() for link in self._links.values()))
        self._threads.close()
        self._schedule.close()

    async def _state(self, _caller: Caller, what: Mapping[str, Any]) -> Mapping[str, Any]:
        links = read_links(what)
        number = what.get("number")
        async with self._turn:
            failed: dict[str, str] = {}
            wanted: dict[str, WantedLink] = {}
            for link_id, given in links:
                try:
                    wanted[link_id] = read_link(given)
                except ValueError as error:
                    failed[link_id] = str(error)
            # Whatever is given up comes first: its ports may be wanted elsewhere.
            named = {link_id for link_id, _ in links}
            gone = [self._links.pop(link_id) for link_id in self._links.keys() - named]
            await asyncio.gather(*(link.close() for link in gone))
            for link_id, link in wanted.items():
                self._link(link_id).let_go(link)
            results = await asyncio.gather(
                *(self._links[link_id].apply(link) for link_id, link in wanted.items()),
                return_exceptions=True,
            )
            failed |= _reasons(dict(zip(wanted, results, strict=True)))
        # Nothing is collected by itself, and what has failed leaves circles behind.
        gc.collect()
        return {"number": number, "failed": failed}

    async def _status(self, _caller: Caller, _what: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"links": {link_id: link.status() for link_id, link in self._links.items()}}

    async def _follow(self, _caller: Caller, what: Mapping[str, Any]) -> Takeover:
        link_id = what.get("link")
        link = self._links.get(link_id) if isinstance(link_id, str) else None
        if link is None:
            raise ValueError("there is no such link")
        if link.capture is None:
            raise ValueError("this link is not being captured")
        link.capture.check_followers()
        return Takeover(None, link.capture.send_to)

    def _link(self, link_id: str) -> Link:
        if link_id not in self._links:
            told = partial(self._told, link_id)
            self._links[link_id] = Link(self._reader, self._schedule, told, self._threads)
        return self._links[link_id]

    def _told(self, link_id: str, event: str, what: Mapping[str, Any]) -> None:
        self._control.tell(event, {"link": link_id, **what})

    def _caller_gone(self) -> None:
        # The same of connections.
        gc.collect()
        self._end_if_idle()

    def _end_if_idle(self) -> None:
        if not self._links and not self._control.callers:
            self.done.set()


def _reasons(results: Mapping[str, BaseException | None]) -> dict[str, str]:
    """Why links cannot be had as they are wanted.

    :raises BaseException: what is no reason, but a bug.
    """
    reasons = {}
    for link_id, error in results.items():
        if isinstance(error, OSError):
            reasons[link_id] = error.strerror or str(error)
        elif isinstance(error, ValueError):
            reasons[link_id] = str(error)
        elif error is not None:
            raise error
    return reasons
