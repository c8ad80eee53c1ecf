"""The console server: all consoles of a server, and the calls by which they are controlled.

Its calls (see :mod:`gns3server.running.control` for how they travel):

``state {number, consoles}``
    What is wanted, all of it (:mod:`gns3server.consoles.wanted`); answered with ``{number,
    failed, transcripts}``: why consoles are not served on their ports, and why transcripts are not
    written, by id. A number below one that came on the same connection is an older state's, which
    is ignored.
``terminal {console}``, with a descriptor
    The master of the console's terminal.
``attach {console, read_only, columns, rows}``
    Makes the connection a client's (:mod:`gns3server.consoles.frames`).
``tail {console, bytes}``
    The end of what the console has shown, as text.
``status {}``
    ``{consoles: [...]}``: what each was wanted to be (``console``), and how it is.

Its events: ``ended {console}`` when a console's source is gone, ``transcript_failed {console,
reason}`` when a transcript cannot be written any more.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any
from weakref import WeakKeyDictionary

from gns3server.consoles.console import ServedConsole
from gns3server.consoles.wanted import Wanted, field, read_state, text, whole_number
from gns3server.running.control import Caller, ControlServer, Takeover

KIND = "consoles"
PROTOCOL = 1

LINGER_SECONDS = 3.0
"""How long it waits for a server while it has nothing to hold."""

WAIT_SECONDS = 1.0
"""How long a call waits for disks and names: one that answers too late is taken for dead."""

MAX_TAIL = 16384
"""How many bytes of a console's end can be asked for."""


class ConsoleServer:
    """Keeps consoles while there is something to keep.

    :param path: where it is controlled.
    """

    def __init__(self, path: str) -> None:
        self._consoles: dict[str, ServedConsole] = {}
        self._numbers: WeakKeyDictionary[Caller, int] = WeakKeyDictionary()
        self._changing = asyncio.Lock()
        self._threads = ThreadPoolExecutor(1, "disk")
        self._deserted = asyncio.Event()
        self._lingering: asyncio.TimerHandle | None = None
        self._control = ControlServer(
            path,
            kind=KIND,
            protocol=PROTOCOL,
            handlers={
                "state": self._state,
                "terminal": self._terminal,
                "attach": self._attach,
                "tail": self._tail,
                "status": self._status,
            },
            ended=self._look_for_the_end,
        )

    async def serve(self) -> None:
        """Serve until there is neither a living source nor anybody who is connected.

        :raises OSError: the path cannot be used.
        """
        self._control.listen()
        self._look_for_the_end()
        await self._deserted.wait()
        self._control.close()
        for console in self._consoles.values():
            await console.close(_deadline())
        self._threads.shutdown()

    async def _state(self, caller: Caller, what: Mapping[str, Any]) -> Mapping[str, Any]:
        former = {name: console.wanted for name, console in self._consoles.items()}
        number, wanted = read_state(what, former)
        async with self._changing:
            if number < self._numbers.get(caller, number):
                return {"number": self._numbers[caller], "failed": {}, "transcripts": {}}
            self._numbers[caller] = number
            failed, transcripts = await self._become(wanted)
        self._look_for_the_end()
        return {"number": number, "failed": failed, "transcripts": transcripts}

    async def _become(self, wanted: Mapping[str, Wanted]) -> tuple[dict[str, str], dict[str, str]]:
        deadline = _deadline()
        for name in self._consoles.keys() - wanted.keys():
            await self._consoles.pop(name).close(deadline)
        # Before any port is bound: two consoles may have changed theirs with each other.
        for name, console in self._consoles.items():
            console.release_port(wanted[name])
        failed: dict[str, str] = {}
        transcripts: dict[str, str] = {}
        for name, each in wanted.items():
            if name not in self._consoles:
                self._consoles[name] = ServedConsole(each, self._tell, self._threads)
            no_port, no_transcript = await self._consoles[name].become(each, deadline)
            if no_port is not None:
                failed[name] = no_port
            if no_transcript is not None:
                transcripts[name] = no_transcript
        return failed, transcripts

    async def _terminal(self, caller: Caller, what: Mapping[str, Any]) -> None:
        descriptor = caller.take_descriptor()
        try:
            async with self._changing:
                console = self._console(what)
                if not os.isatty(descriptor):
                    raise ValueError("the descriptor is no terminal")
                if console.wanted.source.kind != "terminal":
                    raise ValueError("the source of this console is no terminal")
                mine, descriptor = descriptor, -1
                await console.set_terminal(mine, _deadline())
        finally:
            if descriptor >= 0:
                os.close(descriptor)

    async def _attach(self, caller: Caller, what: Mapping[str, Any]) -> Takeover:
        console = self._console(what)
        read_only = field(what, "read_only", bool) if "read_only" in what else False
        if console.is_full:
            raise ValueError("this console has as many clients as it may have")
        if not read_only and what.get("columns") is not None and what.get("rows") is not None:
            console.resized(field(what, "columns", int), field(what, "rows", int))

        async def carry_on(caller: Caller) -> None:
            await console.attach(caller, read_only=read_only)

        return Takeover({}, carry_on)

    async def _tail(self, caller: Caller, what: Mapping[str, Any]) -> str:
        return self._console(what).tail(min(whole_number(what, "bytes", 0, 2**31), MAX_TAIL))

    async def _status(self, caller: Caller, what: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"consoles": [console.status() for console in self._consoles.values()]}

    def _console(self, what: Mapping[str, Any]) -> ServedConsole:
        """The console that a call is about.

        :raises ValueError: there is none.
        """
        name = text(what, "console")
        if name not in self._consoles:
            raise ValueError(f"there is no console {name!r}: no state has named it")
        return self._consoles[name]

    def _tell(self, event: str, what: Mapping[str, str]) -> None:
        self._control.tell(event, what)
        self._look_for_the_end()

    def _has_purpose(self) -> bool:
        return bool(self._control.callers) or any(
            console.alive for console in self._consoles.values()
        )

    def _look_for_the_end(self) -> None:
        """End a moment later if there is no purpose then: a server may be about to connect."""
        if self._lingering is None and not self._has_purpose():
            loop = asyncio.get_running_loop()
            self._lingering = loop.call_later(LINGER_SECONDS, self._end_without_purpose)

    def _end_without_purpose(self) -> None:
        self._lingering = None
        if not self._has_purpose():
            self._deserted.set()


def _deadline() -> float:
    return asyncio.get_running_loop().time() + WAIT_SECONDS


async def serve(path: str) -> None:
    """Be a console server until there is nothing to keep any more."""
    with suppress(asyncio.CancelledError):
        await ConsoleServer(path).serve()
