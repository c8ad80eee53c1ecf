"""Faults that nobody can wait for, put in where this process calls the operating system.

A test's server runs in the test's own process, so that what fails for the one fails for the
other. Three things reach the kernel, and each can be made to fail in its own way:

* our code, through the functions of :mod:`os`: :func:`failing` and :func:`before` stand in
  front of them, for one path, whatever module calls them;
* SQLite, by itself: :func:`read_only` makes it treat a file as one that it may not write, and
  :func:`break_syncs` has the kernel refuse to sync for it;
* both, and every process that is started: :func:`full_disk` and :func:`few_descriptors` lower
  a limit of this process, and the kernel does the rest.

At the end is what no kernel can be made to do: limits of the HTTP edge that are minutes long,
which are constants because only tests have a reason to change them, the way aiohttp treats
handlers, and machines unlike this one.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import errno
import os
import platform
import pwd
import re
import resource
import socket
import struct
import tempfile
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from gns3server.storage.database import Database, DatabaseThread

Place = Path | str
"""A path, which stands for everything below it as well, or the name of a file anywhere."""


# Calls to the operating system ------------------------------------------------------------


def _paths(first: Any, others: tuple[Any, ...]) -> Iterator[Path]:
    """The paths among the arguments of a call; the first argument may be a descriptor."""
    if isinstance(first, int):
        with contextlib.suppress(OSError):
            yield Path(os.readlink(f"/proc/self/fd/{first}"))
    for argument in (first, *others):
        if isinstance(argument, str | bytes | os.PathLike):
            yield _usual_path(os.path.abspath(os.fsdecode(argument)))


def _usual_path(path: str) -> Path:
    """The path that people know of a file that is reached through a descriptor."""
    found = re.match(r"/proc/self/fd/\d+", path)
    if found is None:
        return Path(path)
    with contextlib.suppress(OSError):
        return Path(os.readlink(found[0]) + path.removeprefix(found[0]))
    return Path(path)


def _is_at(place: Place, path: Path) -> bool:
    if isinstance(place, str):
        return path.name == place
    return path == place or place in path.parents


@contextmanager
def before(
    name: str,
    place: Place | None,
    action: Callable[[], object] = lambda: None,
    *,
    only: int | None = None,
    of: ModuleType = os,
) -> Iterator[list[tuple[Any, ...]]]:
    """Do something before each call of a function of :mod:`os`, in the thread that calls it.

    :param name: of the function, such as ``"fsync"``.
    :param place: only calls for this place count; ``None`` for any call.
    :param action: what to do; the call raises what this raises.
    :param only: do it before only one of the calls: its number, from 1.
    :param of: another module that has the function, such as :mod:`sqlite3`.
    :returns: the arguments of the calls that have counted so far.
    """
    call = getattr(of, name)
    calls: list[tuple[Any, ...]] = []

    def stand_in(first: Any, *others: Any, **options: Any) -> Any:
        if place is None or any(_is_at(place, path) for path in _paths(first, others)):
            calls.append((first, *others))
            if only in (None, len(calls)):
                action()
        return call(first, *others, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(of, name, stand_in)
        yield calls


@contextmanager
def failing(
    name: str, place: Place | None = None, error: int = errno.EIO, *, only: int | None = None
) -> Iterator[list[tuple[Any, ...]]]:
    """Have calls of a function of :mod:`os` fail; see :func:`before`.

    :param error: the number of the error, of :mod:`errno`.
    :raises AssertionError: the call that was to fail was never made, so nothing was tested.
    """

    def fail() -> None:
        raise OSError(error, os.strerror(error))

    with before(name, place, fail, only=only) as calls:
        yield calls
    assert len(calls) >= (only or 1), f"os.{name} was not called for {place}"


@contextmanager
def nearly_full(room: int) -> Iterator[None]:
    """Have the operating system say that every disk has at most this many bytes left."""
    ask = os.fstatvfs

    def answer(descriptor: int) -> os.statvfs_result:
        disk = list(ask(descriptor))
        fragment, available = 1, 4
        disk[available] = min(disk[available], room // disk[fragment])
        return os.statvfs_result(disk)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fstatvfs", answer)
        yield


# Limits of this process -------------------------------------------------------------------


@contextmanager
def limited(what: int, soft: int) -> Iterator[None]:
    """Lower a limit of this process (getrlimit(2)) while the context lasts."""
    old, hard = resource.getrlimit(what)
    resource.setrlimit(what, (soft, hard))
    try:
        yield
    finally:
        resource.setrlimit(what, (old, hard))


def full_disk(room: int = 0) -> contextlib.AbstractContextManager[None]:
    """Let nothing be written to any file, as if there were no room. Files can be created and moved.

    :param room: how long a file may become, in bytes.
    """
    return limited(resource.RLIMIT_FSIZE, room)


@contextmanager
def few_descriptors(left: int = 0) -> Iterator[None]:
    """Let this process open only this many more file descriptors."""
    taken: list[int] = []
    highest = max(int(name) for name in os.listdir("/proc/self/fd"))
    with limited(resource.RLIMIT_NOFILE, highest + left + 2):
        try:
            with contextlib.suppress(OSError):
                while True:
                    taken.append(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
            for _ in range(left):
                os.close(taken.pop())
            yield
        finally:
            for descriptor in taken:
                os.close(descriptor)


@contextmanager
def no_threads() -> Iterator[None]:
    """Let this process start no threads, as for a user who has as many processes as allowed."""

    def fail(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(threading.Thread, "start", fail)
        yield


# Records ------------------------------------------------------------------------------------


async def _opened(databases: DatabaseThread, path: Path) -> Database:
    """A database file that is open, or soon will be."""
    while True:
        for database in databases.opened:
            if database.path == path:
                return database
        await asyncio.sleep(0)


SYNCS = {"x86_64": (74, 75), "aarch64": (82, 83)}
"""The numbers of fsync and fdatasync (asm/unistd.h), by machine."""

NO_NEW_PRIVILEGES, SET_SECCOMP, FILTER = 38, 22, 2
"""Of prctl(2): what an ordinary user has to give up before it may filter system calls."""


async def break_syncs(databases: DatabaseThread) -> None:
    """Have every sync of the thread of databases fail from now on, for good, as on a bad disk.

    The kernel does it, with a filter of system calls of that one thread (seccomp(2)).
    """

    def filter_calls(_: object) -> None:
        load, jump_if_equal, answer = 0x20, 0x15, 0x06
        fail, allow = 0x00050000 | errno.EIO, 0x7FFF0000
        plain, data = SYNCS[platform.machine()]
        steps = [
            (load, 0, 0, 0),
            (jump_if_equal, 1, 0, plain),
            (jump_if_equal, 0, 1, data),
            (answer, 0, 0, fail),
            (answer, 0, 0, allow),
        ]
        code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in steps))
        program = struct.pack("HxxxxxxQ", len(steps), ctypes.addressof(code))
        libc = ctypes.CDLL(None, use_errno=True)
        assert libc.prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0) == 0
        assert libc.prctl(SET_SECCOMP, FILTER, program, 0, 0) == 0, os.strerror(ctypes.get_errno())

    await databases.read_with(next(iter(databases.opened)), filter_calls)


@asynccontextmanager
async def read_only(databases: DatabaseThread, path: Path) -> AsyncIterator[None]:
    """Keep SQLite from writing to a file, which is open or soon will be."""

    async def switch(state: str) -> None:
        await databases.read(await _opened(databases, path), f"PRAGMA query_only = {state}")

    switching = asyncio.ensure_future(switch("ON"))
    if path in {database.path for database in databases.opened}:
        await switching
    try:
        yield
    finally:
        switching.cancel()
        await asyncio.wait({switching})
        if path in {database.path for database in databases.opened}:
            await switch("OFF")


@contextmanager
def held(databases: DatabaseThread) -> Iterator[threading.Event]:
    """Let no change reach the disk, as if the disk were very slow.

    To be entered on the loop; later changes wait until the context is left.

    :returns: set once all earlier changes are done, and the disk is held.
    """
    begun, go_on = threading.Event(), threading.Event()

    def wait(_: object) -> None:
        begun.set()
        go_on.wait()

    reading = asyncio.ensure_future(databases.read_with(next(iter(databases.opened)), wait))
    try:
        yield begun
    finally:
        go_on.set()
        del reading


# What no kernel does ------------------------------------------------------------------------


def impatient(patch: pytest.MonkeyPatch, **seconds: float) -> None:
    """Shorten limits of the HTTP edge, in seconds: ``body``, ``shutdown``, ``grace`` or ``ping``.

    ``body`` is how long a body may take to arrive, ``shutdown`` how long requests may go on when
    the server stops, ``grace`` how long a listener may take to read the end of its stream,
    ``ping`` how long it is sent nothing before it is sent a ping.
    """
    from gns3server.http import application, bodies, endless, notifications

    constants = {
        "body": (bodies, "READ_LIMIT"),
        "shutdown": (application, "SHUTDOWN_SECONDS"),
        "grace": (endless, "GRACE"),
        "ping": (notifications, "PING_AFTER"),
    }
    for name, value in seconds.items():
        module, constant = constants[name]
        patch.setattr(module, constant, value)


def cancel_handlers(patch: pytest.MonkeyPatch, *, cancel: bool) -> None:
    """Have aiohttp cancel the handlers of clients that hang up, or not, in servers started later.

    Some versions of aiohttp did so by default, and others may again.
    """
    from aiohttp import web

    patch.setattr(web, "AppRunner", partial(web.AppRunner, handler_cancellation=cancel))


def temporary_files_in(patch: pytest.MonkeyPatch, directory: Path) -> None:
    """Have this process put its temporary files into another directory."""
    patch.setattr(tempfile, "tempdir", str(directory))


def interfaces(patch: pytest.MonkeyPatch, **flags: str) -> None:
    """A machine with these network interfaces, by name, with nothing at their other ends."""
    import psutil

    stats = {name: SimpleNamespace(isup=False, flags=text) for name, text in flags.items()}
    patch.setattr(psutil, "net_if_stats", lambda: stats)


def without_strays(patch: pytest.MonkeyPatch) -> None:
    """A machine where the doctor finds no process of any node: other tests run some here."""
    patch.setattr("gns3server.cli.doctor.survey.run_id_carriers", dict)


def without_netlink(patch: pytest.MonkeyPatch) -> None:
    """A kernel built without netlink: it answers as for an unknown socket family."""
    patch.setattr(socket, "AF_NETLINK", 255)


def home_directory(patch: pytest.MonkeyPatch, path: Path) -> None:
    """A machine whose only user has this path as home."""
    entry = pwd.struct_passwd(("me", "x", 1, 1, "", str(path), "/bin/sh"))
    patch.setattr(pwd, "getpwall", lambda: [entry])


def unknown_host(patch: pytest.MonkeyPatch, unknown: str) -> None:
    """A name server that does not know a name, as some real ones answer for every name."""
    look_up = socket.getaddrinfo

    def answer(name: Any, *arguments: Any, **options: Any) -> Any:
        if name == unknown:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return look_up(name, *arguments, **options)

    patch.setattr(socket, "getaddrinfo", answer)


KILLER = """
import os, pkgutil, signal

def die(*args, **kwargs):
    os.kill(os.getpid(), signal.SIGKILL)

def die_after(*args, **kwargs):
    former(*args, **kwargs)
    die()

owner = pkgutil.resolve_name({owner!r})
former = getattr(owner, {name!r})
setattr(owner, {name!r}, {new})
"""


def killer(target: str, new: str) -> str:
    """The source of a plugin that kills its server when something is called.

    :param target: the full name of a function or method.
    :param new: ``die`` in place of that, or ``die_after`` it.
    """
    owner, _, name = target.rpartition(".")
    return KILLER.format(owner=owner, name=name, new=new)
