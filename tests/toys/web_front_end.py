"""A web front end: a page from the plugin's package, and websockets that the page would use."""

from __future__ import annotations

import asyncio

from aiohttp import web

from gns3server.plugin import Call, Conflict, Route, Scope, StaticFiles, hookimpl


async def echo(call: Call) -> None:
    """Send back what comes, as it comes; what a few words do is up to them."""
    async for message in call.websocket:
        if message == "bye":
            call.websocket.close(3000, "bye yourself")
        elif message == "conflict":
            raise Conflict("That cannot be done now.")
        elif message == "bug":
            raise RuntimeError("toy fault")
        elif message == "done":
            return
        else:
            call.websocket.send(message)


async def tell_events(call: Call) -> None:
    """Send the events of a project, a message each, and never look at what comes."""
    server = call.server
    with server.bus.listen(call.project.id, translate=server.translate) as events:
        async for line in events:
            call.websocket.send(line.decode())


async def flood(call: Call) -> None:
    """Send more than anybody can read, for as long as there is somebody."""
    while not call.websocket.closed:
        call.websocket.send(b"x" * 10_000)
        await asyncio.sleep(0)


async def stay(call: Call) -> None:
    """Say that it is there, and do not end before it must."""
    call.websocket.send("here")
    try:
        await asyncio.Event().wait()
    finally:
        print("the handler has ended", flush=True)


async def stay_deaf(call: Call) -> None:
    """Do not even end when it must, until the test says so."""
    call.websocket.send("here")
    while not call.server.settings.environ.get("TOY_RELEASED"):
        try:
            await asyncio.sleep(0.05)
        except asyncio.CancelledError:
            call.websocket.send("cancelled")


async def show_node(call: Call) -> None:
    """Tell the name of a node of any type for as often as it is asked for."""
    async for _ in call.websocket:
        call.websocket.send(call.node.name)


async def drip(call: Call) -> web.StreamResponse:
    """Send a line now and then, as a stream without an end."""
    response = web.StreamResponse()
    await response.prepare(call.request)
    while not await call.ending.wait(0.01):
        await response.write(b"drop\n")
    return response


async def drip_messages(call: Call) -> None:
    """Send the same lines as messages, and a last one."""
    while not (call.websocket.closed or await call.ending.wait(0.01)):
        call.websocket.send("drop")
        await call.websocket.sent()
    call.websocket.send("last drop")


def socket(path: str, handler: object, scope: Scope = Scope.SERVER) -> Route:
    """One of its websockets."""
    return Route(
        method="GET",
        path=f"/front/{path}",
        handler=handler,  # type: ignore[arg-type]
        websocket=True,
        scope=scope,
        node_type=None,
        node_parameter="node_id",
        changes=False,
        summary="A websocket",
        tag="front",
    )


@hookimpl
def gns3_routes() -> list[Route | StaticFiles]:
    """The page, and the websockets."""
    return [
        StaticFiles(prefix="/front/page", package="web_pages", folder="static"),
        Route(
            method="GET",
            path="/front/projects/{project_id}/drops",
            handler=drip,
            upgrade=drip_messages,
            stream=True,
            endless=True,
            changes=False,
            summary="A stream that is also a websocket",
            tag="front",
        ),
        socket("echo", echo),
        socket("flood", flood),
        socket("stay", stay),
        socket("deaf", stay_deaf),
        socket("projects/{project_id}/events", tell_events),
        socket("projects/{project_id}/nodes/{node_id}", show_node, Scope.FIND_NODE),
    ]
