"""Follows links: a guest sees that one of its own is suspended, or goes on."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from gns3server.plugin import LabError, LinkView, Server
from gns3server_qemu.context import QemuContext

log = logging.getLogger(__name__)


@asynccontextmanager
async def following_links(server: Server, context: QemuContext) -> AsyncIterator[None]:
    """Have guests see what becomes of their links while the context lasts."""
    following = asyncio.create_task(_follow(server, context))
    try:
        yield
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)


async def _follow(server: Server, context: QemuContext) -> None:
    fell_behind = True
    while fell_behind:
        with server.events() as events:
            async for event in events:
                if isinstance(event.object, LinkView):
                    await _show(event.object, context)
            fell_behind = events.fell_behind


async def _show(link: LinkView, context: QemuContext) -> None:
    for end in link.ends:
        for node in [node for node in context.nodes if node.id == end.node_id]:
            try:
                async with node.project.enter(node.id):
                    await node.show_link(end.adapter)
            except LabError as error:
                # It may be gone by now; one that runs on is told at the next change.
                log.info("VM %s does not see its link %s: %s", node.id, link.id, error.message)
