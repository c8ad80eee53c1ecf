"""Images: the files that emulators boot from. Plugins say which kinds there are."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

from gns3server.errors import (
    BodyTooLarge,
    Conflict,
    Forbidden,
    InvalidRequest,
    StorageFailed,
    advice,
    quoted,
)
from gns3server.files.durable import sync_directory
from gns3server.files.safe_open import OpenFile, open_file
from gns3server.files.uploads import (
    CHECKSUM_SUFFIX,
    Incoming,
    read_checksum,
    remove_checksum,
    write_checksum,
)
from gns3server.locks import FairLock, KeyedLocks, LockRequest
from gns3server.settings.live import LiveSettings

log = logging.getLogger(__name__)

MEGABYTE = 1024 * 1024
WRITE_STEP = MEGABYTE
"""Bytes that are collected before they are written in one go off the loop."""

NAME_BYTES = 255 - len(CHECKSUM_SUFFIX)
"""The longest name: its checksum file must be possible as well."""

MAX_LISTED = 10_000
"""Files that the list of all images shows at most."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageKind:
    """A kind of image file that a node type uses.

    :param name: what clients call it, in the ``type`` of an upload: ``DISK``.
    :param directory: where they are kept, below the directory of all images.
    :param title: what people call it, on the upload page.
    :param executable: they are programs, which the server's user must be able to run.
    """

    name: str
    directory: str
    title: str
    executable: bool = False


class Images:
    """The images of this server, by kind. All coroutines do their work off the loop.

    :param kinds: tells which kinds exist now, by name.
    """

    def __init__(self, config: LiveSettings, kinds: Callable[[], Mapping[str, ImageKind]]) -> None:
        self._config = config
        self.kinds = kinds
        self._replacing = threading.Lock()
        self._all = FairLock()
        self._hashing = KeyedLocks()

    # Places --------------------------------------------------------------------

    @property
    def path(self) -> Path:
        """The directory of all images."""
        return Path(os.path.normpath(self._config.current.images_path))

    def directory(self, kind: ImageKind) -> Path:
        """The directory of the images of one kind. It need not exist."""
        return self.path / kind.directory

    async def find(self, kind: ImageKind, image: str) -> Path:
        """The absolute path of an image as a client names it (IMG-01). It need not exist.

        A name is looked up among the images of its kind, then in the directory above, where
        old servers kept all images. A path is taken as it is.

        :raises Forbidden: it is not among the images, and the server is not local: its
            clients have no business with other files of the machine.
        """
        path = await asyncio.to_thread(_find, (self.directory(kind), self.path), image)
        if not self._config.current.server.local and self.path not in path.parents:
            raise Forbidden(
                f"The image {image!r} is not below {self.path}: upload it, and give its name."
            )
        return path

    def shown(self, kind: ImageKind, path: Path) -> str:
        """An image's path as answers show it (IMG-02): just the name for one of its kind."""
        return path.name if path.parent == self.directory(kind) else str(path)

    async def names(self, kind: ImageKind) -> list[str]:
        """Names of all images of a kind, sorted (IMG-03)."""
        return await asyncio.to_thread(_names, self.directory(kind))

    async def paths(self) -> list[str]:
        """Absolute paths of all images, of any kind, at most ``MAX_LISTED``."""
        return await asyncio.to_thread(_walk, self.path)

    # Checksums -----------------------------------------------------------------

    async def md5(self, path: Path | None) -> str | None:
        """The MD5 sum of an image, ``None`` when it cannot be read (IMG-04 to IMG-06).

        It is kept in a file beside the image, and one that is found there is trusted,
        unless the image has changed since.
        """
        if path is None:
            return None
        # One at a time for each image: a second request finds what the first has kept.
        async with LockRequest(self._all, inner=self._hashing, keys=[str(path)]):
            try:
                file = await asyncio.to_thread(open_file, path)
                try:
                    known = await asyncio.to_thread(read_checksum, path)
                    return known or await self._compute(path, file)
                finally:
                    await asyncio.to_thread(file.close)
            except (OSError, ValueError):
                return None

    async def _compute(self, path: Path, file: OpenFile) -> str:
        before = await asyncio.to_thread(file.status)
        md5 = await file.md5()
        await asyncio.to_thread(self._keep_checksum, path, before, md5)
        return md5

    def _keep_checksum(self, path: Path, seen: os.stat_result, md5: str) -> None:
        """Keep a sum, unless the image has changed since it was ``seen``."""
        with self._replacing:
            try:
                now = path.stat()
                if (now.st_ino, now.st_size, now.st_mtime_ns) == (
                    seen.st_ino,
                    seen.st_size,
                    seen.st_mtime_ns,
                ):
                    write_checksum(path, md5)
            except OSError as error:
                log.info("the checksum of %s is not kept: %s", path, error)

    async def forget_md5(self, path: Path) -> None:
        """Forget the sum that is kept of an image; there need not be one (IMG-07)."""
        await _off_loop(path.name, remove_checksum, path)

    # Uploads -------------------------------------------------------------------

    async def store(
        self, kind: ImageKind, name: str, content: AsyncIterator[bytes], size: int | None = None
    ) -> Path:
        """Receive an image and put it in its place, replacing any image of that name (IMG-08).

        :param name: as the client gave it; see ``plain_name``.
        :param content: its bytes, in pieces; what it raises ends the upload.
        :param size: how many bytes there will be, if that is known beforehand.
        :raises InvalidRequest: the name cannot be an image's.
        :raises BodyTooLarge: it is larger than images may be.
        :raises StorageFailed: the disk is too full for it.
        :raises Conflict: it cannot be written for another reason.
        """
        name = plain_name(name)
        async with self.receiving(self.directory(kind), name, content, size) as incoming:
            return await self.place(incoming, kind, name)

    @asynccontextmanager
    async def adding(
        self, kind: ImageKind, name: str, content: AsyncIterator[bytes], size: int | None = None
    ) -> AsyncIterator[Callable[[], Awaitable[Path]]]:
        """Receive an image that replaces none, to be put in its place later, or never.

        The context gives what puts it there, unless an image of that name is there by then.
        Without that, what was received is gone with the context. Raises what :meth:`store` does.
        """
        name = plain_name(name)
        async with self.receiving(self.directory(kind), name, content, size) as incoming:
            yield partial(self.place, incoming, kind, name, replacing=False)

    @asynccontextmanager
    async def receiving(
        self, directory: Path, name: str, content: AsyncIterator[bytes], size: int | None = None
    ) -> AsyncIterator[Incoming]:
        """Receive a file into ``directory``; it is gone with the context unless it was placed.

        Raises what :meth:`store` does.
        """
        incoming = Incoming(directory)
        try:
            self._check_size(name, size or 0)
            await _off_loop(name, incoming.open, size or 0)
            waiting = bytearray()
            async for piece in content:
                waiting += piece
                self._check_size(name, incoming.size + len(waiting))
                if len(waiting) >= WRITE_STEP:
                    await _off_loop(name, incoming.write, bytes(waiting))
                    waiting.clear()
            await _off_loop(name, incoming.write, bytes(waiting))
            yield incoming
        finally:
            await asyncio.to_thread(incoming.discard)

    async def place(
        self, incoming: Incoming, kind: ImageKind, name: str, *, replacing: bool = True
    ) -> Path:
        """Make what was received an image of this kind and plain name.

        :param replacing: otherwise an image that is there stays.
        :raises Conflict: it cannot be put there.
        """
        target = self.directory(kind) / name
        mode = 0o700 if kind.executable else 0o600
        if await _off_loop(name, self._replace, incoming, target, mode, replacing):
            log.info("image %s was stored, %d bytes", target, incoming.size)
        return target

    def _replace(self, incoming: Incoming, target: Path, mode: int, replacing: bool) -> bool:
        """Put a file in the place of an image; returns whether it is there now."""
        # The checksum goes first and comes last: whenever a crash happens, there is
        # never a checksum that is not the image's.
        with self._replacing:
            if not replacing and os.path.lexists(target):
                return False
            if target.is_dir():
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
            remove_checksum(target)
            incoming.place(target, mode)
            try:
                write_checksum(target, incoming.md5)
            except OSError as error:
                log.info("the checksum of %s is not kept: %s", target, error)
            try:
                sync_directory(target.parent)
            except OSError as error:
                raise StorageFailed(
                    f"The image {target.name!r} is in place, but may not survive a loss of power: "
                    f"{advice(error) or error}. Upload it again once the disk works.",
                    certain=False,
                ) from error
        return True

    def _check_size(self, name: str, size: int) -> None:
        limit = self._config.current.server.max_image_size
        if size > limit * MEGABYTE:
            raise BodyTooLarge(
                f"The image {name!r} is larger than {limit} MiB, which is this server's limit: "
                "raise max_image_size in the settings, or copy it into place by hand."
            )


def plain_name(name: str) -> str:
    """The name under which an uploaded file is stored: the last part of what the client calls it.

    :raises InvalidRequest: a visible file cannot have that name.
    """
    plain = name.replace("\\", "/").rpartition("/")[2]
    fits = plain.isprintable() and len(plain.encode(errors="replace")) <= NAME_BYTES
    if not plain or not fits or plain.startswith(".") or plain.lower().endswith(CHECKSUM_SUFFIX):
        raise InvalidRequest(
            f"An image cannot be called {quoted(name)}: give a name of at most {NAME_BYTES} bytes "
            f"that does not begin with a dot, nor end in {CHECKSUM_SUFFIX}."
        )
    return plain


def is_listed(name: str) -> bool:
    """Whether lists show a file of this name: not hidden, no checksum, and in UTF-8."""
    hidden = name.startswith(".") or name.endswith(CHECKSUM_SUFFIX)
    return not hidden and not any("\ud800" <= character <= "\udfff" for character in name)


def _names(directory: Path) -> list[str]:
    try:
        with os.scandir(directory) as entries:
            return sorted(e.name for e in entries if is_listed(e.name) and e.is_file())
    except OSError:
        # Usually because it has not been made yet.
        return []


def _walk(directory: Path) -> list[str]:
    found: list[str] = []
    for parent, directories, names in os.walk(directory):
        directories[:] = sorted(name for name in directories if is_listed(name))
        paths = (os.path.join(parent, name) for name in sorted(names) if is_listed(name))
        found += (path for path in paths if os.path.isfile(path))
        if len(found) > MAX_LISTED:
            break
    return found[:MAX_LISTED]


def _find(directories: tuple[Path, Path], image: str) -> Path:
    """Where an image is, or would be: below the second directory only if it is there already.

    :raises InvalidRequest: its name cannot be a path.
    """
    if "\0" in image:
        raise InvalidRequest(f"{quoted(image)} is not an image: its name holds a NUL character.")
    # An absolute path stays as it is, whatever it is joined to.
    own, old = (Path(os.path.normpath(directory / image)) for directory in directories)
    return old if old.exists() and not own.exists() else own


async def _off_loop(name: str, work: Callable[..., T], *arguments: object) -> T:
    """Do something with the file system off the loop, and say what went wrong.

    :raises StorageFailed: the disk is too full.
    :raises Conflict: anything else.
    """
    try:
        return await asyncio.to_thread(work, *arguments)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageFailed(
                f"There is not enough room on the server's disk for the image {name!r}: "
                "remove something there. Nothing was changed."
            ) from error
        raise Conflict(
            f"The image {name!r} cannot be written: {error.strerror or error}. Nothing was "
            "changed: make the images directory writable for the server's user, and try again."
        ) from error
