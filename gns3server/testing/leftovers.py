"""The processes that a test's servers have started, and the end of those left over."""

from __future__ import annotations

import contextlib
import os
import select
import signal
from collections.abc import Iterator
from pathlib import Path

from gns3server.running.identity import close_all, open_all
from gns3server.running.procfs import ProcessStat, read_stat

TEST_VARIABLE = "GNS3_TEST_ID"
"""Set for every server of a test and inherited by whatever it starts."""

HELPER = " -P -m gns3server."
"""What the command line of each helper has in it."""

ROUNDS = 20
"""How many times to look for processes that leftover ones have started meanwhile."""

END_MILLISECONDS = 10_000
"""How long a killed process may take to end."""


def marks(test_id: str) -> dict[str, str]:
    """The environment by which a server that a test starts, and its programs, are known."""
    return {TEST_VARIABLE: test_id, "GNS3_SERVER_ENVIRONMENT": TEST_VARIABLE}


def processes_of(test_id: str) -> dict[int, str]:
    """The living processes that run for the nodes of a test's servers, by pid, with command lines.

    The servers' own helpers are not among them: these end a while after the last node.
    """
    return {pid: command for pid, command in _all(test_id).items() if HELPER not in command}


def helpers_of(test_id: str) -> dict[int, str]:
    """The living helpers of a test's servers: their console servers, and others of that kind."""
    return {pid: command for pid, command in _all(test_id).items() if HELPER in command}


def _all(test_id: str) -> dict[int, str]:
    return {stat.pid: command for stat, command in _living(test_id)}


def kill_leftovers(test_id: str) -> dict[int, str]:
    """Kill what a test's servers have started and left, and whatever that starts meanwhile.

    Each is signalled through its own descriptor, opened for its pid and start time: no other
    process can be hit, not even one that was given the pid a moment ago.

    :returns: what was killed, by pid, with command lines.
    :raises RuntimeError: they cannot be killed, or new ones keep coming.
    """
    killed: dict[int, str] = {}
    for _ in range(ROUNDS):
        left = _living(test_id)
        if not left:
            return killed
        killed |= {stat.pid: command for stat, command in left}
        handles = open_all(stat for stat, _ in left)
        try:
            for handle in handles:
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(handle.fd, signal.SIGKILL)
            for handle in handles:
                ended = select.poll()
                ended.register(handle.fd, select.POLLIN)
                ended.poll(END_MILLISECONDS)
        finally:
            close_all(handles)
    raise RuntimeError(f"processes of the test cannot be ended: {killed}")


@contextlib.contextmanager
def nothing_left(test_id: str) -> Iterator[None]:
    """Make sure that a test ends without leaving processes of its servers.

    :raises AssertionError: some were left at the end of the block, and have been killed; the
        text is their pids and command lines.
    """
    try:
        yield
    finally:
        left = kill_leftovers(test_id)
    assert not left, f"processes were left behind, and killed: {left}"


def _living(test_id: str) -> list[tuple[ProcessStat, str]]:
    """The living processes of a test, as they were before their environment was read."""
    wanted = f"{TEST_VARIABLE}={test_id}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        stat = read_stat(int(entry.name))
        with contextlib.suppress(OSError):
            if stat is not None and wanted in (entry / "environ").read_bytes().split(b"\0"):
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ")
                found.append((stat, command.decode(errors="replace")))
    return found
