"""The API browser: Swagger UI 5.35.0 (npm: swagger-ui-dist), from the files in ``http/browser``."""

from __future__ import annotations

import asyncio
from functools import partial
from importlib.resources import files

from aiohttp import web

from gns3server.http.routing import HTML, Call, Handler, Route

PAGE = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>gns3server: the API</title>
<link rel="stylesheet" href="/docs/swagger-ui.css">
</head>
<body>
<div id="api"></div>
<script src="/docs/swagger-ui-bundle.js"></script>
<script src="/docs/start.js"></script>
</body>
</html>
"""

START = """\
SwaggerUIBundle({
  url: "/v1/openapi.json",
  dom_id: "#api",
  deepLinking: true,
  docExpansion: "none",
  validatorUrl: null,
});
"""

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; connect-src 'self'; base-uri 'none'; frame-ancestors 'none'"
)

SCRIPT, STYLE = "text/javascript", "text/css"


def _answer(kind: str, body: bytes, **headers: str) -> web.Response:
    return web.Response(
        body=body,
        headers={
            "Content-Type": f"{kind}; charset=utf-8",
            "Content-Security-Policy": POLICY,
            "X-Content-Type-Options": "nosniff",
            **headers,
        },
    )


async def show(_call: Call) -> web.StreamResponse:
    """The page."""
    return _answer(HTML, PAGE.encode())


async def start(_call: Call) -> web.StreamResponse:
    """The script that fills the page."""
    return _answer(SCRIPT, START.encode())


async def send_packed(kind: str, call: Call) -> web.StreamResponse:
    """A file that is stored and sent compressed, as every browser accepts."""
    name = call.route.path.rpartition("/")[2]
    packed = files("gns3server.http").joinpath("browser", f"{name}.gz")
    body = await asyncio.to_thread(packed.read_bytes)
    cache = {"Content-Encoding": "gzip", "Cache-Control": "max-age=86400"}
    return _answer(kind, body, **cache)


def _route(path: str, handler: Handler, kind: str, summary: str) -> Route:
    return Route(
        method="GET",
        path=path,
        handler=handler,
        changes=False,
        stream=True,
        answer_type=kind,
        tag="pages",
        summary=summary,
    )


ROUTES = (
    _route("/docs", show, HTML, "The API browser"),
    _route("/docs/start.js", start, SCRIPT, "What starts the API browser"),
    _route(
        "/docs/swagger-ui-bundle.js",
        partial(send_packed, SCRIPT),
        SCRIPT,
        "The script of the API browser",
    ),
    _route(
        "/docs/swagger-ui.css", partial(send_packed, STYLE), STYLE, "The looks of the API browser"
    ),
)
