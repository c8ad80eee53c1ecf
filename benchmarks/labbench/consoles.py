"""Clients of consoles: each waits for its node's prompt."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Collection

from gns3server.consoles.client import ConsoleClient

PROMPT = "VPCS> "
RETRY_SECONDS = 0.02
LIMIT_SECONDS = 120.0


async def prompts(ports: Collection[int]) -> None:
    """Connect to every console, retrying while refused, and return after the last prompt.

    One task makes the attempts, with bare sockets: a hundred clients that try fifty times
    a second must not slow down what they wait for.
    """
    async with asyncio.timeout(LIMIT_SECONDS):
        readers = []
        waiting = list(ports)
        while waiting:
            refused = []
            for port in waiting:
                link = _connect(port)
                if link is None:
                    refused.append(port)
                else:
                    readers.append(asyncio.create_task(_read_prompt(link)))
            waiting = refused
            if waiting:
                await asyncio.sleep(RETRY_SECONDS)
        await asyncio.gather(*readers)


def _connect(port: int) -> socket.socket | None:
    """Connect on the loopback, where connecting does not block."""
    link = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        link.connect(("127.0.0.1", port))
    except ConnectionRefusedError:
        link.close()
        return None
    link.setblocking(False)
    return link


async def _read_prompt(link: socket.socket) -> None:
    reader, writer = await asyncio.open_connection(sock=link)
    try:
        await ConsoleClient(reader, writer, PROMPT, LIMIT_SECONDS).prompt()
    finally:
        writer.close()
