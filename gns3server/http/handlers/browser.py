"""The API browser: Swagger UI, served from files that come with the server."""

from __future__ import annotations

import asyncio
from importlib.resources import files

from aiohttp import web

from gns3server.errors import NotFound
from gns3server.http.edge import SERVER
from gns3server.http.routing import HTML, OCTETS, Call, Route

SWAGGER_UI = "5.35.0"
"""Version of the npm package swagger-ui-dist whose files are in ``http/browser``."""

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

PACKED = {
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui.css": "text/css",
}
"""Files that are kept compressed, and sent so: every browser can read that."""


def _answer(call: Call, kind: str, body: bytes, **headers: str) -> web.Response:
    return web.Response(
        body=body,
        headers={
            "Server": SERVER,
            "X-Route": call.route.path,
            "Content-Type": f"{kind}; charset=utf-8",
            "Content-Security-Policy": POLICY,
            "X-Content-Type-Options": "nosniff",
            **headers,
        },
    )


async def show(call: Call) -> web.StreamResponse:
    """The page."""
    return _answer(call, HTML, PAGE.encode())


async def send_file(call: Call) -> web.StreamResponse:
    """A file of the page."""
    name = call.path["name"]
    if name == "start.js":
        return _answer(call, "text/javascript", START.encode())
    if name not in PACKED:
        raise NotFound(f"The API browser has no file {name!r}: its page is at /docs.")
    packed = files("gns3server.http").joinpath("browser", f"{name}.gz")
    body = await asyncio.to_thread(packed.read_bytes)
    cache = {"Content-Encoding": "gzip", "Cache-Control": "max-age=86400"}
    return _answer(call, PACKED[name], body, **cache)


ROUTES = (
    Route(
        method="GET",
        path="/docs",
        handler=show,
        changes=False,
        stream=True,
        answer_type=HTML,
        tag="pages",
        summary="The API browser",
    ),
    Route(
        method="GET",
        path="/docs/{name}",
        handler=send_file,
        changes=False,
        stream=True,
        answer_type=OCTETS,
        tag="pages",
        summary="A file of the API browser",
    ),
)
