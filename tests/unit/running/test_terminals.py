"""Terminals on their way to a console server, which here only takes them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from short_paths import short_directory
from waiting import settled

from gns3server.running.console import ConsolePlace
from gns3server.running.control import Caller, ControlServer
from gns3server.running.runs import LaunchFailed
from gns3server.running.terminals import Terminals

REFUSED = "no such console"


class Taker:
    """A console server as far as it takes terminals."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self.taken: dict[str, int] = {}
        self.callers: set[Caller] = set()
        self.control = ControlServer(
            self.path,
            kind="consoles",
            protocol=1,
            handlers={"terminal": self._take},
            ended=self._look,
        )
        self._deserted = asyncio.Event()
        self.control.listen()

    async def _take(self, caller: Caller, what: Mapping[str, Any]) -> None:
        self.callers.add(caller)
        descriptor = caller.take_descriptor()
        if what["console"] == REFUSED:
            os.close(descriptor)
            raise ValueError(REFUSED)
        self.taken[what["console"]] = descriptor

    def _look(self) -> None:
        if not self.control.callers:
            self._deserted.set()

    async def close(self) -> None:
        self.control.close()
        await self._deserted.wait()
        for descriptor in self.taken.values():
            os.close(descriptor)


@asynccontextmanager
async def taker(path: Path) -> AsyncIterator[Taker]:
    taker = Taker(path)
    try:
        yield taker
    finally:
        await taker.close()


@pytest.fixture
def directory() -> Iterator[Path]:
    with short_directory() as directory:
        yield directory


@pytest.fixture
async def terminals() -> AsyncIterator[Terminals]:
    terminals = Terminals()
    yield terminals
    terminals.close()


async def test_all_go_by_one_connection(directory: Path, terminals: Terminals) -> None:
    async with taker(directory / "a") as there:
        names = [str(number) for number in range(40)]
        opened = await asyncio.gather(
            *(terminals.open(ConsolePlace(there.path, name)) for name in names)
        )
        assert len(there.callers) == 1
        for name, terminal in zip(names, opened, strict=True):
            assert os.get_terminal_size(terminal) == (80, 24)
            # Each is the other end of the one that was sent for this console.
            os.write(there.taken[name], f"{name}\n".encode())
            assert os.read(terminal, 100) == f"{name}\n".encode()
            os.close(terminal)


async def test_another_console_server_gets_the_next_one(
    directory: Path, terminals: Terminals
) -> None:
    async with taker(directory / "a") as first, taker(directory / "b") as second:
        for there in (first, second, second):
            os.close(await terminals.open(ConsolePlace(there.path, "x")))
        assert (len(first.callers), len(second.callers)) == (1, 1)


async def test_it_connects_again_after_a_hang_up(directory: Path, terminals: Terminals) -> None:
    for _ in range(2):
        async with taker(directory / "a") as there:
            os.close(await terminals.open(ConsolePlace(there.path, "x")))
        await settled()
        with pytest.raises(LaunchFailed, match="does not take its terminal"):
            await terminals.open(ConsolePlace(there.path, "x"))


async def test_one_that_is_refused_is_closed(directory: Path, terminals: Terminals) -> None:
    async with taker(directory / "a") as there:
        os.close(await terminals.open(ConsolePlace(there.path, "x")))
        before = os.listdir("/proc/self/fd")
        with pytest.raises(LaunchFailed, match=REFUSED):
            await terminals.open(ConsolePlace(there.path, REFUSED))
        assert len(os.listdir("/proc/self/fd")) == len(before)
