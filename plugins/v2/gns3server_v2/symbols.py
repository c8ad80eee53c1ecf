"""Symbols: the pictures of nodes, our own and users'."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

from aiohttp import web
from marshmallow import fields

from gns3server.plugin import BodyTooLarge, Call, Conflict, InvalidRequest, Route, raw_body
from gns3server_v2.pictures import PREFIX, USUAL, Picture, own_picture, own_pictures
from gns3server_v2.shapes import Answer
from gns3server_v2.state import ServerState, state_of

STORED = "symbol/"
"""What the key of a user's picture begins with, in the server's store."""

LARGEST = 700 * 1024
"""Bytes of a picture."""

HEADERS: Mapping[str, str] = {
    # It may be opened by itself, and then would run what scripts it has.
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; img-src data:; "
    "sandbox",
    "X-Content-Type-Options": "nosniff",
}


class SymbolAnswer(Answer):
    """A picture of a node. Clients take these four keys and no other."""

    symbol_id = fields.String(required=True)
    filename = fields.String(required=True)
    builtin = fields.Boolean(required=True)
    theme = fields.String(required=True)


class SizeAnswer(Answer):
    """How large a picture is, in pixels."""

    width = fields.Integer(required=True)
    height = fields.Integer(required=True)


class Symbols:
    """The pictures that users have sent, kept in the server's store.

    Their sizes are in memory, because each node tells that of its own.
    """

    def __init__(self, state: ServerState) -> None:
        self._state = state
        self.sizes: dict[str, tuple[int, int]] = {}

    async def load(self) -> None:
        """Take in what is kept."""
        for key, value in (await self._state.server.store.items()).items():
            if key.startswith(STORED):
                picture = Picture(base64.b64decode(value))
                self.sizes[key.removeprefix(STORED)] = picture.size

    async def get(self, symbol_id: str) -> Picture:
        """A picture; the usual one if none has the id."""
        if symbol_id in self.sizes:
            kept = await self._state.server.store.get(f"{STORED}{symbol_id}")
            if kept is not None:
                return Picture(base64.b64decode(kept))
        return own_picture(symbol_id) or own_pictures()[USUAL]

    async def save(self, symbol_id: str, picture: Picture) -> None:
        """Keep a picture."""
        text = base64.b64encode(picture.content).decode()
        await self._state.server.store.set(f"{STORED}{symbol_id}", text)
        self.sizes[symbol_id] = picture.size


async def list_all(call: Call) -> list[Mapping[str, Any]]:
    """All pictures."""
    own = [
        {
            "symbol_id": f"{PREFIX}{name}.svg",
            "filename": f"{name}.svg",
            "builtin": True,
            "theme": "Classic",
        }
        for name in own_pictures()
    ]
    users = [
        {
            "symbol_id": name,
            "filename": name.rpartition("/")[2],
            "builtin": False,
            "theme": "Custom symbols",
        }
        for name in state_of(call.server).symbols.sizes
        if own_picture(name) is None
    ]
    return [*own, *users]


async def fetch(call: Call) -> web.StreamResponse:
    """Send a picture."""
    picture = await state_of(call.server).symbols.get(call.path["symbol_id"])
    headers = {"Content-Type": picture.media_type, **HEADERS}
    return web.Response(body=picture.content, headers=headers)


async def measure(call: Call) -> Mapping[str, Any]:
    """Tell how large a picture is."""
    width, height = (await state_of(call.server).symbols.get(call.path["symbol_id"])).size
    return {"width": width, "height": height}


async def write(call: Call) -> None:
    """Keep a picture of a user."""
    content, symbol_id = bytearray(), call.path["symbol_id"]
    if not symbol_id.isprintable() or len(symbol_id) > 150:
        raise Conflict("The id of a symbol has at most 150 characters, all printable.")
    async for piece in raw_body(call):
        content += piece
        if len(content) > LARGEST:
            raise BodyTooLarge(f"A symbol may have {LARGEST} bytes: send a smaller picture.")
    picture = Picture(bytes(content))
    if picture.media_type != "image/png" and b"<svg" not in picture.content.lower():
        raise InvalidRequest("A symbol is an SVG or PNG picture, and this is neither.")
    await state_of(call.server).symbols.save(symbol_id, picture)


RAW = "/v2/symbols/{symbol_id:.+}/raw"

ROUTES = (
    Route(
        method="GET",
        path="/v2/symbols",
        handler=list_all,
        changes=False,
        tag="v2",
        summary="All pictures of nodes",
        answer=SymbolAnswer,
        many=True,
    ),
    Route(
        method="GET",
        path=RAW,
        handler=fetch,
        stream=True,
        answer_types=("image/svg+xml", "image/png"),
        changes=False,
        tag="v2",
        summary="A picture; the usual one if none has the id",
    ),
    Route(
        method="POST",
        path=RAW,
        handler=write,
        raw=True,
        status=204,
        tag="v2",
        summary="Keep a picture",
        errors={409: "There are too many", 413: "It is too large", 507: "It cannot be written"},
    ),
    Route(
        method="GET",
        path="/v2/symbols/{symbol_id:.+}/dimensions",
        handler=measure,
        changes=False,
        tag="v2",
        summary="How large a picture is",
        answer=SizeAnswer,
    ),
)
