"""What nodes may leave on a machine besides processes that are known by their environment.

Whoever else works on the machine is left out: only what bears a test's own directory counts, or a
name that only this plugin gives.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gns3server.testing import TEST_VARIABLE, processes_of

INTERFACE = re.compile(r"(wire|eth)\d+")


@contextmanager
def no_traces(test_id: str, directory: Path) -> Iterator[None]:
    """Make sure that nothing in a block leaves anything of a node.

    :param directory: all of the block's projects are below it.
    :raises AssertionError: a process, namespace, mount or interface is left; the text says which.
    """
    before = interfaces(), held_namespaces()
    yield
    left = {
        "processes": processes_of(test_id),
        "processes in namespaces of nodes": inhabitants(directory),
        "mounts": mounts_of(directory),
        "interfaces": interfaces() - before[0],
        "namespaces": held_namespaces() - before[1],
    }
    assert not any(left.values()), f"{test_id} has left {left} ({TEST_VARIABLE})"


def inhabitants(directory: Path) -> dict[int, str]:
    """The processes, by pid, that are in the mount namespace of a node.

    Such a process sees the node's folder mounted, whatever it has made of its environment.
    """
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with contextlib.suppress(OSError):
                if _mentions((entry / "mountinfo").read_text(), directory):
                    found[int(entry.name)] = (entry / "cmdline").read_text().replace("\0", " ")
    return found


def mounts_of(directory: Path) -> list[str]:
    """The mounts that this process sees of a directory and what is below it."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return [line for line in lines if _mentions(line, directory)]


def interfaces() -> set[str]:
    """The interfaces here that are called as those of nodes are."""
    return {name for _, name in socket.if_nameindex() if INTERFACE.fullmatch(name)}


def held_namespaces() -> set[str]:
    """The namespaces that would outlive their processes: somebody has mounted or opened them."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    found = {line.split()[3] for line in lines if " - nsfs " in line}
    for entry in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            found.add(os.readlink(entry))
    return {each for each in found if re.fullmatch(r"[a-z_]+:\[\d+\]", each)}


def _mentions(mounts: str, directory: Path) -> bool:
    """Whether lines of ``mountinfo`` are of a directory: they name it below its own mount."""
    mount = next(place for place in (directory, *directory.parents) if place.is_mount())
    return f"/{directory.relative_to(mount)}/" in mounts
