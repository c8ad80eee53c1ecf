"""Files that clients may list, fetch and follow."""

from __future__ import annotations

import errno
import os
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import TypeVar

from gns3server.errors import Conflict, Forbidden, NotFound, quoted
from gns3server.files.safe_open import MISSING, OpenFile, Outside, open_file
from gns3server.places.paths import RESTORING, SNAPSHOTS_DIRECTORY
from gns3server.running.threads import SeparateThreads
from gns3server.storage.stores import PROJECT_FILE

T = TypeVar("T")

READ_SECONDS = 3.0
"""How long one read of a file may take; a disk of the network may not answer at all."""

OURS = (SNAPSHOTS_DIRECTORY, RESTORING)
"""How the names of directories begin whose files are copies of others."""

UNLISTED_SUFFIX = ".ghost"
"""Memory of emulated routers: large, and useless to clients (contract 2.4)."""


def is_record(path: str) -> bool:
    """Whether a path relative to a project's directory names the server's own records."""
    return path.startswith(PROJECT_FILE) and "/" not in path


def names(directory: Path) -> Iterator[str]:
    """Relative paths of the files that are listed, those at the top first. Blocks.

    Names that an answer could not hold (not UTF-8) are left out, and so are directories
    behind links.
    """
    for parent, directories, files in os.walk(directory):
        if parent == str(directory):
            directories[:] = [name for name in directories if not name.startswith(OURS)]
        directories.sort()
        for file in sorted(files):
            path = os.path.relpath(os.path.join(parent, file), directory)
            if not (file.endswith(UNLISTED_SUFFIX) or is_record(path)) and is_text(path):
                yield path


def is_text(name: str) -> bool:
    """Whether a name from the file system is valid UTF-8."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


async def read_apart(threads: SeparateThreads, place: Path | str, function: Callable[[], T]) -> T:
    """Call a function that reads a file in a thread that nobody else waits for.

    :param place: the file. However often it is asked for, it takes one thread if it hangs.
    :raises TimeoutError: there was no answer in time.
    :raises OSError: what the function raises.
    """
    return await threads.run(function, key=str(place), limit=READ_SECONDS)


@asynccontextmanager
async def _opened(
    threads: SeparateThreads, place: Path | str, function: Callable[[], OpenFile]
) -> AsyncIterator[OpenFile]:
    """The file that a function opens, which is closed with the context."""
    file = await threads.run(function, key=str(place), limit=READ_SECONDS, dropped=OpenFile.close)
    try:
        yield file
    finally:
        file.close()


async def list_files(
    directory: Path, threads: SeparateThreads, between: Callable[[], None] = lambda: None
) -> list[Mapping[str, str]]:
    """Path and MD5 sum of each file (FILE-02); one that cannot be read is left out.

    :param threads: read the files.
    :param between: called from time to time; an exception that it raises ends the work.
    """
    found: list[Mapping[str, str]] = []
    for path in await threads.run(lambda: list(names(directory)), key=str(directory)):
        between()
        read = partial(read_apart, threads, directory / path)
        try:
            opening = partial(_open, directory, path, hidden=True)
            async with _opened(threads, directory / path, opening) as file:
                found.append({"path": path, "md5sum": await file.md5(between, run=read)})
        except (OSError, Outside):
            # Gone meanwhile, not readable, not a regular file, or a link out of the project.
            continue
    return found


@asynccontextmanager
async def opened(directory: Path, path: str, threads: SeparateThreads) -> AsyncIterator[OpenFile]:
    """A file of the project, open.

    Names that begin with a dot at the top of the project are hidden (contract 2.4,
    FILE-06): marks of the server. Deeper down they are an emulator's own files and
    part of the lab.

    :param threads: read the file.
    :raises Forbidden: the path leads out of the project, or to something hidden,
        or cannot be a path at all.
    :raises NotFound: there is no such file.
    :raises Conflict: the disk that it is on does not answer.
    """
    opening = partial(_open_served, directory, path)
    with _answering(path):
        async with _opened(threads, directory / path, opening) as file:
            yield file


@contextmanager
def _answering(path: str) -> Iterator[None]:
    """Say so if a disk does not answer."""
    try:
        yield
    except TimeoutError as error:
        raise Conflict(
            f"The file {quoted(path)} cannot be read, because the disk that it is on does not "
            "answer: see whether that is in order, and try again."
        ) from error


def _open_served(directory: Path, path: str) -> OpenFile:
    normal = os.path.normpath(path)
    if "\0" in path or normal.startswith(("/", ".")):
        raise _refused(path)
    try:
        return _open(directory, normal, hidden=False)
    except Outside as error:
        raise _refused(path) from error
    except (*MISSING, IsADirectoryError) as error:
        raise NotFound(
            f"The project has no file {quoted(path)}: the list of its files shows what there is."
        ) from error
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or "its name is not text"
        help_text = "Make it readable for the server's user."
        if not isinstance(error, OSError) or error.errno == errno.EINVAL:
            help_text = "Only regular files with names in UTF-8 are served."
        raise Forbidden(
            f"The file {quoted(path)} of the project cannot be read: {reason}. {help_text}"
        ) from error


def _open(directory: Path, path: str, *, hidden: bool) -> OpenFile:
    """Open a file of the project. Blocks.

    :param hidden: whether it may be one that is hidden at the top.
    :raises Outside: it is not a file that may be read, whatever name it goes by.
    :raises OSError: it cannot be opened.
    """
    root = Path(os.path.realpath(directory))

    def check(real: Path) -> None:
        if root not in real.parents:
            raise Outside(f"{real} is not in the project")
        inside = str(real.relative_to(root))
        if is_record(inside) or (inside.startswith(".") and not hidden):
            raise Outside(f"{real} is the server's own")

    return open_file(directory / path, check)


def _refused(path: str) -> Forbidden:
    return Forbidden(
        f"{quoted(path)} is not served: give the path of a file below the project's directory, "
        "as the list of its files shows it, and none of the server's own."
    )


@asynccontextmanager
async def opened_for_following(
    location: str, threads: SeparateThreads, *, state: Path, confined_to: Iterable[Path] | None
) -> AsyncIterator[OpenFile]:
    """A file of this machine, open.

    :param threads: read the file.
    :param state: the server's own directory, from which nothing is read.
    :param confined_to: directories that the file must be below; anywhere if ``None``.
    :raises Forbidden: it is not below them, or is one of the server's records.
    :raises NotFound: there is no such file.
    :raises Conflict: it is a directory or cannot be opened, or its disk does not answer.
    """
    opening = partial(_open_anywhere, location, state, confined_to)
    with _answering(location):
        async with _opened(threads, location, opening) as file:
            yield file


def _open_anywhere(location: str, state: Path, confined_to: Iterable[Path] | None) -> OpenFile:
    own = Path(os.path.realpath(state))
    roots = None if confined_to is None else [Path(os.path.realpath(p)) for p in confined_to]

    def check(real: Path) -> None:
        if is_record(real.name) or own in real.parents:
            raise Outside("it is one of this server's records")
        if roots is not None and not any(root in real.parents for root in roots):
            raise Outside(
                "a server that is not local shows only files of its projects and its images"
            )

    try:
        return open_file(location, check)
    except Outside as error:
        raise Forbidden(f"The file {quoted(location)} is not served: {error}.") from error
    except MISSING as error:
        raise NotFound(
            f"There is no file {quoted(location)} on the server's machine: check the path."
        ) from error
    except OSError as error:
        raise Conflict(
            f"The file {quoted(location)} cannot be opened: {error.strerror}. Name a regular file "
            "that the server's user can read."
        ) from error
