"""Files of packages for browsers: pages, scripts, pictures."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping
from functools import partial
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path, PurePosixPath
from types import MappingProxyType

from aiohttp import web

from gns3server.errors import NotFound
from gns3server.http.families import StaticFiles
from gns3server.http.routing import OCTETS, Call, Route

INDEX = "index.html"

NOTHING = "There is no file {!r} here."

REST = "path"
"""The parameter of a path that names a file."""

TYPES: Mapping[str, str] = {
    ".css": "text/css; charset=utf-8",
    ".csv": "text/csv; charset=utf-8",
    ".gif": "image/gif",
    ".html": "text/html; charset=utf-8",
    ".ico": "image/vnd.microsoft.icon",
    ".jpeg": "image/jpeg",
    ".jpg": "image/jpeg",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".map": "application/json",
    ".mjs": "text/javascript; charset=utf-8",
    ".otf": "font/otf",
    ".pdf": "application/pdf",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".ttf": "font/ttf",
    ".txt": "text/plain; charset=utf-8",
    ".wasm": "application/wasm",
    ".webmanifest": "application/manifest+json",
    ".webp": "image/webp",
    ".woff": "font/woff",
    ".woff2": "font/woff2",
    ".xml": "text/xml; charset=utf-8",
}
"""Media types by the ending of a name. Not the machine's own, which differ between machines."""

HEADERS: Mapping[str, str] = MappingProxyType(
    {
        # A browser asks each time whether its copy is still current: an upgrade shows at once.
        "Cache-Control": "no-cache",
        # No page of another site may frame these: it could trick people into clicking on them.
        "Content-Security-Policy": "frame-ancestors 'self'",
        "X-Content-Type-Options": "nosniff",
    }
)


def folder_of(static: StaticFiles) -> Traversable:
    """The folder that is served.

    :raises ImportError: there is no such package.
    """
    return files(static.package).joinpath(*PurePosixPath(static.folder).parts)


def static_routes(static: StaticFiles) -> tuple[Route, ...]:
    """The routes that serve a plugin's files: for the folder itself, and for all below it."""
    found = partial(
        Route,
        method="GET",
        changes=False,
        stream=True,
        answer_type="",
        tag=static.tag,
    )
    return (
        found(path=static.prefix, handler=_to_folder, status=302, summary="Where the files are"),
        found(
            path=f"{static.prefix}/{{{REST}:.*}}",
            handler=partial(_send, folder_of(static)),
            answer_type="*/*",
            summary="A file",
            errors={302: "It is a folder, and there is its page", 304: "The client has it"},
        ),
    )


async def _to_folder(call: Call) -> web.StreamResponse:
    """Redirect to the folder's page, which has a slash at its end."""
    location = f"{call.request.rel_url.raw_path}/"
    return web.Response(status=302, headers={**HEADERS, "Location": location})


async def _send(folder: Traversable, call: Call) -> web.StreamResponse:
    """Send a file, if the client does not have it already."""
    name = call.path[REST]
    found = await asyncio.to_thread(_find, folder, name)
    if found is None:
        return await _to_folder(call)
    media_type, content = found
    tag = hashlib.sha256(content).hexdigest()
    headers = {**HEADERS, "ETag": f'"{tag}"'}
    if any(known.value in (tag, "*") for known in call.request.if_none_match or ()):
        return web.Response(status=304, headers=headers)
    return web.Response(body=content, headers={**headers, "Content-Type": media_type})


def _find(folder: Traversable, name: str) -> tuple[str, bytes] | None:
    """A file's media type and content; ``None`` for a folder that has a page. Blocks.

    :raises NotFound: there is no such file or folder.
    """
    *parents, last = name.split("/")
    names = [*parents, last or INDEX]
    # A name that begins with a dot is hidden, or leads out of the folder.
    if all(part and part[0] != "." and "\\" not in part for part in names):
        file = folder.joinpath(*names)
        try:
            if file.is_file() and _is_inside(file, folder):
                ending = PurePosixPath(names[-1]).suffix.lower()
                return TYPES.get(ending, OCTETS), file.read_bytes()
            if file.joinpath(INDEX).is_file():
                return None
        except (OSError, ValueError) as error:
            raise NotFound(NOTHING.format(name), log=f"{file} cannot be read: {error}") from error
    raise NotFound(NOTHING.format(name))


def _is_inside(file: Traversable, folder: Traversable) -> bool:
    """Whether a file is really below a folder, wherever links lead; there are none in archives."""
    if isinstance(file, Path) and isinstance(folder, Path):
        return file.resolve().is_relative_to(folder.resolve())
    return True
