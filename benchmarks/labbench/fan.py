"""The yardstick for notifications: a queue per listener, written to a stream. Run with a port."""

from __future__ import annotations

import asyncio
import json
import sys

from aiohttp import web

PING = b'{"action": "ping"}\n'
NODE = {
    "console": 2000,
    "project_id": "00010203-0405-0607-0809-0a0b0c0d0e0f",
    "startup_script": None,
    "startup_script_path": None,
    "status": "stopped",
    "vm_directory": "/home/somebody/projects/00010203-0405-0607-0809-0a0b0c0d0e0f/project-files/"
    "node/0f0e0d0c-0b0a-0908-0706-050403020100",
    "vm_id": "0f0e0d0c-0b0a-0908-0706-050403020100",
}
"""Similar in length to an event of ours, so that as many bytes are sent."""

QUEUES: web.AppKey[set[asyncio.Queue[bytes]]] = web.AppKey("queues")


async def listen(request: web.Request) -> web.StreamResponse:
    """Stream every line."""
    queue: asyncio.Queue[bytes] = asyncio.Queue()
    queues = request.app[QUEUES]
    queues.add(queue)
    try:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        await response.write(PING)
        while True:
            await response.write(await queue.get())
    finally:
        queues.discard(queue)


async def publish(request: web.Request) -> web.Response:
    """Send one line to all listeners."""
    node = {**NODE, **await request.json()}
    line = json.dumps({"action": "vm.created", "event": node}, sort_keys=True) + "\n"
    for queue in request.app[QUEUES]:
        queue.put_nowait(line.encode())
    return web.json_response(node, status=201)


if __name__ == "__main__":
    application = web.Application()
    application[QUEUES] = set()
    application.router.add_get("/listen", listen)
    application.router.add_post("/publish", publish)
    web.run_app(
        application,
        host="127.0.0.1",
        port=int(sys.argv[1]),
        access_log=None,
        print=None,
        shutdown_timeout=0.1,
    )
