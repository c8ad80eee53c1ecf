"""Short helper programs: find them, run them, never wait longer than a limit."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import IO, cast

from gns3server.errors import Exhausted
from gns3server.running.threads import SeparateThreads

TOOL_SECONDS = 5.0
"""How many seconds they may take unless another limit is given."""

MOST_TOOLS = 32
"""How many run at the same time on one machine; further ones wait."""

OUTPUT_LIMIT = 1024 * 1024
"""Bytes of output that are kept; the rest is read and dropped."""


class ToolFailed(Exception):
    """A helper program did not do its work.

    :param reason: for the user.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class ToolResult:
    """The result of a helper program.

    :param code: its exit code, negative for the signal that ended it.
    :param output: all that it printed, up to a bound, errors included.
    """

    code: int
    output: str


async def run_tool(
    argv: Sequence[str],
    *,
    limit: float = TOOL_SECONDS,
    cwd: str | None = None,
    env: Mapping[str, str] | None = None,
    threads: SeparateThreads | None = None,
) -> ToolResult:
    """Run a short program to its end and return what it printed, errors included.

    What it leaves running in its process group is killed as well. If the caller is cancelled, this
    returns at once, and the program is dealt with in the background. An exit code other than 0
    is not an error.

    :param argv: program and arguments.
    :param limit: seconds that it may take; then it and its process group are killed.
    :param cwd: its working directory; None is the server's own.
    :param env: its whole environment; None is the server's own.
    :param threads: what watches over it, and bounds how many run at the same time; its own thread
        by default.
    :raises ToolFailed: it cannot be started or takes too long.
    """
    # Not with those of everybody: a slow program must not keep files from being read.
    threads = threads or SeparateThreads("tool", 1)
    try:
        return await threads.run(partial(_run, tuple(argv), limit, cwd, env))
    except Exhausted as error:
        raise ToolFailed(f"cannot run {argv[0]}: {error.message}") from error


def find_program(name_or_path: str, search_path: str) -> str | None:
    """Return the path of an executable file, or None. Blocks.

    :param name_or_path: with a slash it is a path, without one a name to be looked up.
    :param search_path: the directories to search, separated by colons as in PATH.
    """
    if not name_or_path or "\0" in name_or_path:
        return None
    if "/" in name_or_path:
        candidates = [name_or_path]
    else:
        # Unlike in a shell, empty entries are ignored: they would mean the server's own directory.
        directories = [entry for entry in search_path.split(":") if entry]
        candidates = [os.path.join(directory, name_or_path) for directory in directories]
    for path in candidates:
        if os.path.isfile(path) and os.access(path, os.X_OK):
            return os.path.abspath(path)
    return None


def _run(
    argv: tuple[str, ...], limit: float, cwd: str | None, env: Mapping[str, str] | None
) -> ToolResult:
    deadline = time.monotonic() + limit
    try:
        process = subprocess.Popen(
            argv,
            cwd=cwd,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            bufsize=0,
        )
    except (OSError, ValueError, IndexError) as error:
        raise ToolFailed(f"cannot run {argv[0] if argv else 'nothing'}: {error}") from error
    with process:
        try:
            output = _collect(process, deadline)
        except OSError as error:
            raise ToolFailed(f"cannot watch {argv[0]}: {error}") from error
        finally:
            _end(process)
    if output is None:
        raise ToolFailed(f"{argv[0]} did not end within {limit:g} s")
    return ToolResult(process.returncode, output.decode(errors="replace"))


def _collect(process: subprocess.Popen[bytes], deadline: float) -> bytes | None:
    """Return the output up to the end of the process, None when the deadline comes first."""
    output = bytearray()
    pipe = cast(IO[bytes], process.stdout)
    pidfd = os.pidfd_open(process.pid)
    try:
        os.set_blocking(pipe.fileno(), False)
        with selectors.DefaultSelector() as selector:
            # Not the pipe's end: a process that the program leaves may hold the pipe open for ever.
            selector.register(pidfd, selectors.EVENT_READ)
            selector.register(pipe, selectors.EVENT_READ)
            while (left := deadline - time.monotonic()) > 0:
                ready = [key.fd for key, _ in selector.select(left)]
                if pipe.fileno() in ready and not _read(pipe, output):
                    selector.unregister(pipe)
                elif pidfd in ready and pipe.fileno() not in ready:
                    return bytes(output)
        return None
    finally:
        os.close(pidfd)


def _read(pipe: IO[bytes], output: bytearray) -> bool:
    """Read what is there; False at the end of the pipe."""
    chunk = pipe.read(65536)
    if chunk:
        output += chunk[: OUTPUT_LIMIT - len(output)]
    return chunk != b""


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill what is left of the process group and reap the process."""
    # Before it is reaped: until then nothing else has its number, which is the group's.
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
