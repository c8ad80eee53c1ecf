"""``gns3server demo NAME`` for the demos of plugins: functions that play on a stage.

They are entry points of the group :data:`GROUP`. Each is a coroutine function that takes a
:class:`~gns3server.plugin.DemoStage`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

from gns3server.cli.demo_server import DemoServer
from gns3server.cli.demo_steps import ANSWER_SECONDS, Session, say
from gns3server.consoles.client import ConsoleClient
from gns3server.consoles.stage import DemoStage

if TYPE_CHECKING:
    from gns3server.http.client import Client
    from gns3server.settings.schema import Settings

GROUP = "gns3server.demos"

PATIENCE = 60.0
"""Seconds that a line may be typed again and again."""


def demos_of_plugins() -> dict[str, Callable[[DemoStage], Awaitable[None]]]:
    """The demos that plugins bring, by name; each is loaded when it is called."""

    def playing(point: Any) -> Callable[[DemoStage], Awaitable[None]]:
        async def play(stage: DemoStage) -> None:
            await point.load()(stage)

        return play

    return {point.name: playing(point) for point in entry_points(group=GROUP)}


async def play(name: str, settings: Settings) -> list[str]:
    """Run a demo of a plugin; returns what did not go as it must."""
    async with AsyncExitStack() as stack:
        stage = Stage(DemoServer(settings), stack)
        stack.push_async_callback(stage.end)
        await stage.start_server()
        await demos_of_plugins()[name](stage)
        return stage.wrong


class Stage(DemoStage):
    """The stage: a server that can be killed, and this process's output.

    :param stack: what is closed at the end.
    """

    def __init__(self, server: DemoServer, stack: AsyncExitStack) -> None:
        self.wrong: list[str] = []
        self._server = server
        self._stack = stack
        self._starts = 0
        self._consoles: dict[str, tuple[ConsoleClient, str]] = {}
        self._begun: dict[str, str] = {}

    def say(self, text: str) -> None:
        say(text)

    def expect(self, well: bool, otherwise: str) -> None:
        if not well:
            self.wrong.append(otherwise)

    async def get(self, path: str) -> Any:
        async with self._client() as client:
            return await Session(client).get(path)

    async def post(self, path: str, value: Any = None) -> Any:
        async with self._client() as client:
            return await Session(client).post(path, {} if value is None else value)

    async def put(self, path: str, value: Any) -> Any:
        async with self._client() as client:
            return await Session(client).put(path, value)

    async def open_console(self, name: str, port: int, prompt: str) -> None:
        opening = ConsoleClient.open(port, prompt, ANSWER_SECONDS)
        self._consoles[name] = (await self._stack.enter_async_context(opening), prompt)

    async def run(self, name: str, line: str) -> list[str]:
        console, _ = self._consoles[name]
        return self._show(name, line, await console.run(line))

    async def run_until(self, name: str, line: str, *texts: str) -> list[str]:
        console, _ = self._consoles[name]
        loop = asyncio.get_running_loop()
        deadline = loop.time() + PATIENCE
        while True:
            shown = await console.run(line)
            found = all(text in shown for text in texts)
            if found or loop.time() > deadline:
                self.expect(found, f"{line!r} of {name} did not show {', '.join(texts)}")
                return self._show(name, line, shown)
            # Typed too often, it would take from those that it waits for.
            await asyncio.sleep(0.2)

    async def begin(self, name: str, line: str, shown: str) -> None:
        console, prompt = self._consoles[name]
        self._begun[name] = line
        print(f"\n$ telnet 127.0.0.1 {console.port}\n{prompt}{line}\n...")
        await console.enter(line)
        await console.shows(shown)

    async def finish(self, name: str) -> list[str]:
        console, _ = self._consoles[name]
        return self._show(name, self._begun.pop(name), await console.prompt())

    async def kill_server(self) -> None:
        print(f"\n$ kill -9 {self._server.pid}")
        await self._server.kill()

    async def start_server(self) -> None:
        await self._server.start()
        self._starts += 1
        print(f"$ gns3server &\n[{self._starts}] {self._server.pid}")

    async def end(self) -> None:
        """End the server with all that it runs."""
        await self._server.end()

    def _client(self) -> Client:
        from gns3server.http.client import Client

        return Client(self._server.url)

    def _show(self, name: str, line: str, shown: str) -> list[str]:
        """Show what a line has printed; returns that."""
        console, prompt = self._consoles[name]
        text = shown.rpartition(prompt)[0] if prompt in shown else shown
        lines = [each for each in text.replace("\r", "\n").splitlines() if each.strip()]
        print(f"\n$ telnet 127.0.0.1 {console.port}\n{prompt}{line}")
        print("\n".join(lines))
        return lines
