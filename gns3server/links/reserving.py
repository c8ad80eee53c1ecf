"""The UDP ports of links: two for its nodes, and two more for the link panel if it is relayed."""

from __future__ import annotations

import logging
from contextlib import ExitStack
from dataclasses import replace
from functools import partial

from gns3server.errors import Conflict
from gns3server.links.link import LinkEnd
from gns3server.ports import Holder, Use
from gns3server.running.machine import Machine
from gns3server.storage.link_rows import LinkEndRow, LinkRow

log = logging.getLogger(__name__)


class LinkPorts:
    """Reserves the ports of a project's links. Those of the panel come from the top of the range,
    so that nodes go on getting the lowest ones.
    """

    def __init__(self, project_id: str, machine: Machine) -> None:
        self._project_id = project_id
        self._machine = machine

    async def reserve(self, link_id: str, end: LinkEnd, undo: ExitStack) -> LinkEndRow:
        """Reserve a port for the node of an end.

        :param undo: releases it.
        :raises Conflict: no port is left.
        """
        local = await self._allocate(link_id, undo)
        return LinkEndRow(node_id=end.node_id, adapter=end.adapter, port=end.port, local=local)

    async def reserve_relay(self, link: LinkRow, undo: ExitStack) -> LinkRow:
        """Reserve the panel's ports for a link that is to be relayed, if it has none yet.

        :param undo: releases them.
        :raises Conflict: no port is left.
        """
        ends = [
            replace(end, relay=end.relay or await self._allocate(link.id, undo, highest=True))
            for end in link.ends
        ]
        return replace(link, ends=(ends[0], ends[1]))

    async def hold(self, link: LinkRow) -> LinkRow:
        """Reserve the ports of a link that was there before, and get others for those taken since.

        :returns: the link with the ports that it has now.
        """
        one, other = [
            replace(
                end,
                local=await self._hold(link.id, end.local),
                relay=None
                if end.relay is None
                else await self._hold(link.id, end.relay, highest=True),
            )
            for end in link.ends
        ]
        return replace(link, ends=(one, other))

    def release(self, link: LinkRow, keep: LinkRow | None = None) -> None:
        """Release the ports of a link.

        :param keep: the same link as it is now: its ports stay reserved.
        """
        kept = set() if keep is None else ports_of(keep)
        for port in ports_of(link) - kept:
            self._machine.ports.udp.release(port, self._holder(link.id))

    async def _allocate(self, link_id: str, undo: ExitStack, *, highest: bool = False) -> int:
        holder = self._holder(link_id)
        port = await self._machine.allocate_port("udp", holder, highest=highest)
        undo.callback(partial(self._machine.ports.udp.release, port, holder))
        return port

    async def _hold(self, link_id: str, port: int, *, highest: bool = False) -> int:
        holder = self._holder(link_id)
        try:
            self._machine.ports.udp.hold(port, holder)
        except Conflict as error:
            new = await self._machine.allocate_port("udp", holder, highest=highest)
            log.warning("link %s gets UDP port %d instead: %s", link_id, new, error)
            return new
        return port

    def _holder(self, link_id: str) -> Holder:
        return Holder(self._project_id, Use.LINK, detail=link_id)


def ports_of(link: LinkRow) -> set[int]:
    """All ports of a link."""
    ports = {port for end in link.ends for port in (end.local, end.relay)}
    return {port for port in ports if port is not None}
