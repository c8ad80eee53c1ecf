"""A program that offers the machine that it runs on over a unix socket, one JSON object a line.

A request is ``{"id", "call", "with"}`` and is answered by ``{"id", "result"}`` or ``{"id",
"error"}``; ``{"cancel": id}`` cancels one. Runs belong to the connection that has asked for them:
when it ends they are let go, and run on. The program ends when its standard input does.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import sys
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import fields, is_dataclass
from functools import partial
from pathlib import Path
from typing import Any

from gns3server.app import local_machine
from gns3server.errors import Conflict
from gns3server.nodes.registry import Registry
from gns3server.running.console import ConsolePlace
from gns3server.running.identity import ProcessIdentity
from gns3server.running.machine import FileStamp, Machine
from gns3server.running.runs import Exit, LaunchFailed, Run
from gns3server.running.spec import LaunchSpec
from gns3server.running.tools import ToolFailed, ToolResult
from gns3server.settings.live import LiveSettings
from gns3server.settings.schema import Settings
from gns3server.settings.server import ServerSettings
from gns3server.testing.leftovers import TEST_VARIABLE

LONGEST_LINE = 32 * 1024 * 1024

CLOSE_SECONDS = 20.0
"""How long a machine may take to close once its server has hung up."""

RECORDS: dict[str, type[Any]] = {
    kind.__name__: kind for kind in (ConsolePlace, Exit, FileStamp, ProcessIdentity, ToolResult)
}
MAKERS: dict[str, Callable[[Any], Any]] = {
    "bytes": base64.b64decode,
    "Path": Path,
    "LaunchSpec": LaunchSpec.from_json,
}
"""The functions that restore values, by the name that is sent with a value."""

ERRORS: dict[str, type[Exception]] = {
    kind.__name__: kind for kind in (Conflict, LaunchFailed, ToolFailed, OSError)
}


# What goes over the wire ----------------------------------------------------------------


def to_line(message: Mapping[str, Any]) -> bytes:
    """A message as a line. Anything other than plain data raises ``TypeError``."""
    return json.dumps(message, default=_mark).encode() + b"\n"


def _mark(value: Any) -> Any:
    if isinstance(value, LaunchSpec):
        return {"is": "LaunchSpec", "value": value.to_json()}
    if is_dataclass(value) and type(value).__name__ in RECORDS:
        values = {field.name: getattr(value, field.name) for field in fields(value)}
        return {"is": type(value).__name__, "value": values}
    if isinstance(value, bytes):
        return {"is": "bytes", "value": base64.b64encode(value).decode()}
    if isinstance(value, Path):
        return {"is": "Path", "value": str(value)}
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Collection):
        return list(value)
    raise TypeError(f"{value!r} is not plain data")


def from_line(line: bytes) -> Any:
    """The message in a line."""
    return json.loads(line, object_hook=_unmark)


def _unmark(value: dict[str, Any]) -> Any:
    if value.keys() != {"is", "value"}:
        return value
    kind, inner = value["is"], value["value"]
    return RECORDS[kind](**inner) if kind in RECORDS else MAKERS[kind](inner)


def error_to_plain(error: Exception) -> list[Any]:
    """An error as plain data; of an error that no machine may raise, only its representation."""
    if isinstance(error, OSError):
        return ["OSError", error.errno, error.strerror]
    name = type(error).__name__
    return [name, str(error)] if name in ERRORS else ["RuntimeError", repr(error)]


def error_from_plain(told: list[Any]) -> Exception:
    """The error that the plain data describes."""
    kind, *arguments = told
    return ERRORS.get(kind, RuntimeError)(*arguments)


# The program ---------------------------------------------------------------------------


class Visitor:
    """One connection, and the runs that it has asked for."""

    def __init__(self, machine: Machine, writer: asyncio.StreamWriter) -> None:
        self._machine = machine
        self._writer = writer
        self._runs: dict[str, Run] = {}
        self._calls: dict[int, asyncio.Task[Any]] = {}

    def take(self, message: Mapping[str, Any]) -> None:
        """Do what a message asks."""
        if "cancel" in message:
            call = self._calls.get(message["cancel"])
            if call is not None:
                call.cancel()
            return
        number = message["id"]
        self._calls[number] = asyncio.create_task(self._answer(number, message))
        self._calls[number].add_done_callback(lambda _: self._calls.pop(number))

    async def leave(self) -> None:
        """Give up the requests that have not been answered."""
        calls = list(self._calls.values())
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)

    async def _answer(self, number: int, message: Mapping[str, Any]) -> None:
        try:
            result = await self._call(message["call"], message["with"])
            answer = {"id": number, "result": result}
        except Exception as error:
            answer = {"id": number, "error": error_to_plain(error)}
        self._writer.write(to_line(answer))

    async def _call(self, name: str, arguments: dict[str, Any]) -> Any:
        if name in ("run", "adopt"):
            run = await getattr(self._machine, name)(**arguments)
            if run is None:
                return None
            self._runs[arguments["run_id"]] = run
            return run.processes
        if name in ("bound", "ready", "ended", "stop", "let_go", "log_tail"):
            run = self._runs[arguments.pop("run_id")]
            result = await getattr(run, name)(**arguments)
            return run.processes if name == "ready" else result
        if name == "runtime":
            return self._machine.runtime
        return await getattr(self._machine, name)(**arguments)


async def _receive(
    settings: Settings,
    visits: set[asyncio.Task[Any]],
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
) -> None:
    visit = asyncio.current_task()
    assert visit is not None
    visits.add(visit)
    async with local_machine(LiveSettings(lambda **_: settings), Registry()) as machine:
        visitor = Visitor(machine, writer)
        try:
            while line := await reader.readline():
                visitor.take(from_line(line))
        finally:
            await visitor.leave()
            writer.close()


async def serve(path: str, state: str, test: str) -> None:
    """Offer this machine at a path until the standard input ends.

    :param state: the directory that it may keep things in.
    :param test: marks its programs, but not itself, as the test's.
    """
    environ = {**os.environ, TEST_VARIABLE: test}
    settings = Settings(
        server=ServerSettings(state_path=state, environment=TEST_VARIABLE), environ=environ
    )
    visits: set[asyncio.Task[Any]] = set()
    receive = partial(_receive, settings, visits)
    server = await asyncio.start_unix_server(receive, path, limit=LONGEST_LINE)
    async with server:
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.read)
        if visits:
            # Of one that has just ended, the machine may still be about to close.
            await asyncio.wait(visits, timeout=CLOSE_SECONDS)


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(serve(*sys.argv[1:]))
