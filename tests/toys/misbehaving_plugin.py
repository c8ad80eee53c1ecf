"""A plugin that misbehaves in one way a route, each when it is asked to."""

from __future__ import annotations

import asyncio
import atexit
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NoReturn

from marshmallow import Schema, fields

from gns3server.plugin import Call, Route, Server, hookimpl

EXECUTORS: list[ThreadPoolExecutor] = []
TASKS: set[asyncio.Task[Any]] = set()
SERVERS: list[Server] = []


class BlockSchema(Schema):
    """How long to hold the loop."""

    until = fields.String(required=True)


def leave(work: Coroutine[Any, Any, None]) -> None:
    """Begin something that nobody waits for."""
    TASKS.add(asyncio.get_running_loop().create_task(work))


def hang() -> NoReturn:
    """Never return."""
    while True:
        time.sleep(600)


async def swallow() -> None:
    """Never return, whoever wants it to end."""
    while True:
        try:
            await asyncio.sleep(600)
        except asyncio.CancelledError:
            print("cancelled, and deaf to it", flush=True)


async def end_later() -> None:
    """End the process, or so it thinks, from a task of its own."""
    sys.exit("from a task")


async def leave_server() -> None:
    """End the process from a handler."""
    sys.exit("from a handler")


async def interrupt() -> None:
    """Do as if somebody had pressed Ctrl-C."""
    raise KeyboardInterrupt


async def cancel() -> None:
    """Do as if somebody had cancelled the request."""
    raise asyncio.CancelledError


async def wait() -> None:
    """Take for ever, and end when cancelled."""
    await asyncio.Event().wait()


async def leave_task() -> None:
    """Leave a task that ends the process."""
    leave(end_later())


async def leave_callback() -> None:
    """Leave a callback that ends the process."""
    asyncio.get_running_loop().call_soon(leave_server_now)


def leave_server_now() -> None:
    """End the process at once."""
    sys.exit("from a callback")


async def leave_deaf_task() -> None:
    """Leave a task that does not end when it is told to."""
    leave(swallow())


async def stop_loop() -> None:
    """Stop the loop that is not its own."""
    asyncio.get_running_loop().stop()


async def leave_thread() -> None:
    """Leave a thread that keeps the process from ending."""
    threading.Thread(target=hang, name="left by mistake").start()


async def leave_executor() -> None:
    """Leave threads of its own at work."""
    EXECUTORS.append(ThreadPoolExecutor(1))
    EXECUTORS[-1].submit(hang)


async def use_executor() -> None:
    """Leave threads of its own that have nothing to do: that is no mistake."""
    EXECUTORS.append(ThreadPoolExecutor(1))
    await asyncio.wrap_future(EXECUTORS[-1].submit(time.monotonic))


async def hang_at_exit() -> None:
    """Have something called when Python ends, which then does not."""
    atexit.register(hang)


async def hold_end() -> None:
    """Let the end of the server wait for ever, as a disk could that does not answer."""
    vars(sys.modules["gns3server.cli.event_loop"])["WHOLE_SECONDS"] = 2.0
    leave(hold(SERVERS[-1]))


async def hold(server: Server) -> None:
    """Be about to open a project, and never do it."""
    async with server.projects.alone_with("any"):
        await swallow()


async def misbehave_not() -> None:
    """Do nothing."""


async def hang_in_threads() -> None:
    """Take more of the server's threads than it has."""
    for _ in range(20):
        leave(asyncio.to_thread(hang))


async def fail() -> None:
    """Raise what nobody expects."""
    raise ValueError("not to be told")


class OddError(Exception):
    """An error that only this plugin knows."""


async def fail_oddly() -> None:
    """Raise what the server could not take for a mistake."""
    raise OddError("not to be told")


WAYS: dict[str, Callable[[], Coroutine[Any, Any, None]]] = {
    function.__name__.replace("_", "-"): function
    for function in (
        *(leave_server, interrupt, cancel, wait, swallow, leave_task, leave_callback),
        *(leave_deaf_task, stop_loop, leave_thread, hang_in_threads, leave_executor),
        *(use_executor, hang_at_exit, hold_end, misbehave_not, fail, fail_oddly),
    )
}


async def misbehave(call: Call) -> None:
    """Do what the path says."""
    await WAYS[call.path["way"]]()


def block_until(path: Path) -> None:
    """Return when there is a file, and do not let anybody else work until then."""
    while not path.exists():
        time.sleep(0.01)


async def block(call: Call) -> None:
    """Hold the loop until there is a file, whose path the body tells."""
    block_until(Path(call.body["until"]))


async def nothing(_call: Call) -> None:
    """Misbehave in no way."""


def route(path: str, handler: Any, **values: Any) -> Route:
    """One of its routes."""
    summary = "Misbehave"
    return Route(path=f"/v1/bad/{path}", handler=handler, summary=summary, status=204, **values)


@hookimpl
def gns3_routes() -> list[Route]:
    """A route for each way to misbehave, as a change and as a read, and two more."""
    return [
        route("ways/{way}", misbehave, method="POST", limit=1),
        route("ways/{way}", misbehave, method="GET", limit=1, changes=False),
        route("streams/{way}", misbehave, method="POST", stream=True),
        route("block", block, method="POST", body=BlockSchema),
        # What it costs doubles with each letter.
        route("slow/{text:(?:a+)+}", nothing, method="GET", changes=False),
    ]


@hookimpl
@asynccontextmanager
async def gns3_lifespan(server: Server) -> AsyncIterator[None]:
    """A task group, in which a task of its own may fail while the server runs."""
    SERVERS.append(server)
    fails = server.settings.environ.get("BAD_LIFESPAN")
    async with asyncio.TaskGroup() as group:
        if fails:
            group.create_task(fail_when_there_is(Path(fails)))
        yield


async def fail_when_there_is(path: Path) -> None:
    """Fail once there is a file."""
    await asyncio.to_thread(block_until, path)
    raise OSError("toy fault")
