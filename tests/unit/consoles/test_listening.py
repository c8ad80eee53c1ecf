"""The TCP port of a console, where names are not answered."""

from __future__ import annotations

import asyncio

import pytest

from gns3server.consoles.listening import ListeningPort


async def test_a_name_that_is_not_answered_holds_up_nobody(monkeypatch):
    loop = asyncio.get_running_loop()

    async def getaddrinfo(*_, **__):
        await asyncio.Event().wait()

    monkeypatch.setattr(loop, "getaddrinfo", getaddrinfo)
    with pytest.raises(OSError, match="its addresses were not found in time"):
        await ListeningPort.open("no.example", 2000, lambda _: None, loop.time())
