"""Files as answers: whole, or followed while they grow."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TypeVar

from aiohttp import web
from aiohttp.http import HttpVersion11

from gns3server.files.safe_open import OpenFile
from gns3server.http.ranges import Version, is_known, part_asked_for
from gns3server.http.routing import OCTETS, Call
from gns3server.projects.project_files import read_apart

T = TypeVar("T")

CHUNK = 256 * 1024
"""Bytes that are read and sent in one go."""

LOOK_SECONDS = 0.1
"""How often a file that is followed is looked at for more (contract 2.5)."""


def has_gone(request: web.Request) -> bool:
    """Whether the client that should read the answer has gone."""
    return request.transport is None or request.transport.is_closing()


def check_still_there(request: web.Request) -> None:
    """Give up work whose client has gone.

    :raises ConnectionResetError: the client has gone.
    """
    if has_gone(request):
        raise ConnectionResetError("nobody waits for the answer")


def piecewise(call: Call, media_type: str) -> web.StreamResponse:
    """An answer whose body is written piece by piece, once it is prepared.

    HTTP/1.0 has no chunks: there the end of the connection ends the body.
    """
    response = web.StreamResponse(headers={"Content-Type": media_type})
    if call.request.version >= HttpVersion11:
        response.enable_chunked_encoding()
    else:
        response.force_close()
    return response


async def send_pieces(
    call: Call, media_type: str, pieces: AsyncIterator[bytes]
) -> web.StreamResponse:
    """Send what is made while it is sent, at the speed at which the client reads."""
    response = piecewise(call, media_type)
    await response.prepare(call.request)
    if call.request.method == "HEAD":
        return response
    try:
        async for piece in pieces:
            await response.write(piece)
    except ConnectionError:
        raise
    except Exception as error:
        # The answer has begun, and cannot become an error any more.
        raise _cut_off(call, f"the rest of the answer could not be made: {error}") from error
    await response.write_eof()
    return response


async def send(call: Call, file: OpenFile) -> web.StreamResponse:
    """Send a file as it is now, or the part of it that is asked for.

    What is appended meanwhile is left out.

    :raises PreconditionFailed: the client does not want it as it is now.
    :raises RangeNotSatisfiable: the file has no such part.
    """
    version = Version.of(await _read(call, file, file.status))
    if is_known(call.request, version):
        return web.Response(status=304, headers=version.headers)
    part = part_asked_for(call.request, version)
    response = web.StreamResponse(headers={"Content-Type": OCTETS, **version.headers})
    if part is not None:
        response.set_status(206)
        response.headers["Content-Range"] = f"bytes {part[0]}-{part[-1]}/{version.size}"
    position, end = (0, version.size) if part is None else (part.start, part.stop)
    response.content_length = end - position
    await response.prepare(call.request)
    if call.request.method == "HEAD":
        return response
    while position < end:
        with _broken_off(call, file):
            size = min(CHUNK, end - position)
            content = await _read(call, file, partial(file.read, position, size))
        if not content:
            raise _cut_off(call, f"{file.path} has become shorter")
        await response.write(content)
        position += len(content)
    await response.write_eof()
    return response


async def follow(call: Call, file: OpenFile) -> web.StreamResponse:
    """Send a file, and what is appended to it, until the client goes away or the server stops.

    A file that has become shorter is sent again from its beginning: it was
    written anew, so its present content has not been sent.
    """
    response = piecewise(call, OCTETS)
    await response.prepare(call.request)
    position = 0
    while not call.ending.is_set():
        try:
            with _broken_off(call, file, unless=(BlockingIOError, TimeoutError)):
                content, size = await _read(call, file, partial(_read_on, file, position))
        except BlockingIOError:
            content, size = b"", position
        except TimeoutError:
            # The disk may answer later.
            check_still_there(call.request)
            continue
        if content:
            await response.write(content)
            position += len(content)
            continue
        check_still_there(call.request)
        if size < position:
            position = 0
        else:
            await call.ending.wait(LOOK_SECONDS)
    await response.write_eof()
    return response


def _read_on(file: OpenFile, position: int) -> tuple[bytes, int]:
    """What comes next in a file, and how long the file is."""
    content = file.read(position, CHUNK)
    return content, position if content else file.status().st_size


async def _read(call: Call, file: OpenFile, function: Callable[[], T]) -> T:
    return await read_apart(call.server.readers, file.path, function)


@contextmanager
def _broken_off(
    call: Call, file: OpenFile, *, unless: tuple[type[OSError], ...] = ()
) -> Iterator[None]:
    """Break the connection if a file cannot be read on: it is too late for an error as answer.

    :raises ConnectionResetError: the file can no longer be read.
    """
    try:
        yield
    except unless:
        raise
    except OSError as error:
        raise _cut_off(call, f"{file.path} cannot be read: {error}") from error


def _cut_off(call: Call, reason: str) -> ConnectionResetError:
    """Break the connection, as the client could not tell otherwise that something is missing."""
    if call.request.transport is not None:
        call.request.transport.abort()
    return ConnectionResetError(reason)
