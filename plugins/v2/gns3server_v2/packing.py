"""Archives of projects, as streams: what another server unpacks, piece by piece."""

from __future__ import annotations

import asyncio
import json
import os
import time
import zipfile
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO
from urllib.parse import quote

from gns3server.plugin import Archive, SnapshotView
from gns3server_v2.wording import FILE_NAME, IMAGES, SNAPSHOTS, SUFFIX

LEFT_OUT = (".", "project.db", "captures/", IMAGES, SNAPSHOTS, FILE_NAME)
"""Beginnings of the paths of files that an archive leaves out, or makes anew."""

PIECE = 1024 * 1024
"""Bytes of an image that are read at once."""

FIRST = 315532800
"""The first moment that an archive can tell, in seconds since 1970."""

IN_NAMES = " !#$&'()+,;=@[]{}~"
"""What names of snapshots keep in the names of files, besides letters and digits of any kind."""


@dataclass(slots=True)
class Contents:
    """What goes into an archive.

    :param archive: the project, or what a snapshot has kept of it.
    :param described: what the project file says.
    :param snapshots: those of the project that go with it.
    :param images: open files, with their paths below the directory of all images.
    """

    archive: Archive
    described: Mapping[str, Any]
    snapshots: Sequence[tuple[SnapshotView, Contents]] = ()
    images: Sequence[tuple[str, BinaryIO]] = ()


class _Sink:
    """Takes what a zip file writes, and gives it away piece by piece."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def write(self, data: bytes) -> int:
        """Take a piece."""
        self._pieces.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        """Nothing is kept back."""

    def take(self) -> bytes:
        """All that has come since the last time."""
        pieces, self._pieces = self._pieces, []
        return b"".join(pieces)


async def packed(contents: Contents, method: int) -> AsyncIterator[bytes]:
    """An archive as a zip file, piece by piece."""
    sink, archive = _Sink(), contents.archive
    with zipfile.ZipFile(sink, "w", method, allowZip64=True) as whole:  # type: ignore[call-overload]
        text = json.dumps(contents.described, indent=4, sort_keys=True).encode()
        await asyncio.to_thread(whole.writestr, FILE_NAME, text)
        yield sink.take()
        for file in archive.files:
            if file.path.startswith(LEFT_OUT):
                continue
            info = _info(file.path, file.modified, method, file.mode)
            async for _ in _added(whole, info, archive.read(file.path)):
                yield sink.take()
        for path, image in contents.images:
            info = _info(f"{IMAGES}{path}", os.fstat(image.fileno()).st_mtime, method)
            async for _ in _added(whole, info, _pieces(image)):
                yield sink.take()
        for view, kept in contents.snapshots:
            info = _info(f"{SNAPSHOTS}{file_name(view.name)}", view.created, zipfile.ZIP_STORED)
            async for _ in _added(whole, info, packed(kept, method)):
                yield sink.take()
    yield sink.take()


async def _added(
    whole: zipfile.ZipFile, info: zipfile.ZipInfo, pieces: AsyncIterator[bytes]
) -> AsyncIterator[None]:
    """Write a file, and stop after each piece, so that it can be passed on."""
    with whole.open(info, "w", force_zip64=True) as target:
        async for piece in pieces:
            await asyncio.to_thread(target.write, piece)
            yield
    yield


async def _pieces(file: BinaryIO) -> AsyncIterator[bytes]:
    while piece := await asyncio.to_thread(file.read, PIECE):
        yield piece


def _info(path: str, modified: float, method: int, mode: int = 0o600) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(path, time.localtime(max(modified, FIRST))[:6])
    info.compress_type, info.external_attr = method, (0o100000 | mode) << 16
    return info


def file_name(snapshot: str) -> str:
    """The name of the file that holds a snapshot; :func:`urllib.parse.unquote` reads it.

    :param snapshot: its name, which may hold anything.
    """
    kept = (each if each.isalnum() else quote(each, safe=IN_NAMES) for each in snapshot)
    return "".join(kept) + SUFFIX
