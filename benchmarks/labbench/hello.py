"""The yardstick for a web server: aiohttp and nothing else. Run as a script with a port."""

from __future__ import annotations

import sys

from aiohttp import web


async def hello(_request: web.Request) -> web.Response:
    """Answer as little as possible."""
    return web.Response(text="Hello, world")


if __name__ == "__main__":
    application = web.Application()
    application.router.add_get("/", hello)
    web.run_app(application, host="127.0.0.1", port=int(sys.argv[1]), access_log=None, print=None)
