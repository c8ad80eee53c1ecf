"""What the node sees of the machine's files: all of them, for reading, and some of its own."""

from __future__ import annotations

import contextlib
import os

from gns3server_linux.holder import kernel, text

HOME = "/root"
"""Where the node's folder is, inside."""

FRR = "/etc/frr"
"""Where it is besides, for a router."""

OWN = "/run/gns3"
"""Files that are made at each start."""

FRR_NAMES = ("frr", "frrvty")

NONE = kernel.MS_NOSUID | kernel.MS_NODEV


def prepare(home: str, name: str, *, router: bool) -> None:
    """Mount the files of a node; in its mount namespace.

    :param home: its folder on the machine.
    :param name: its host name.
    :param router: whether it runs FRR.
    :raises OSError: the kernel does not let us.
    """
    kernel.mount("none", "/", flags=kernel.MS_REC | kernel.MS_PRIVATE)
    kernel.mount(home, HOME, flags=kernel.MS_BIND)
    writable = [HOME, "/proc"]
    if router:
        kernel.mount(home, FRR, flags=kernel.MS_BIND)
        writable.append(FRR)
    kernel.mount("proc", "/proc", "proc", NONE | kernel.MS_NOEXEC)
    # Without it, /sys shows the interfaces of the machine: unpleasant, and no more than that.
    with contextlib.suppress(OSError):
        kernel.mount("sysfs", "/sys", "sysfs", NONE | kernel.MS_NOEXEC)
    for place, size in (("/run", "16m"), ("/tmp", "64m"), ("/var/tmp", "16m"), ("/dev/shm", "16m")):  # noqa: S108
        if os.path.isdir(place):
            kernel.mount("tmpfs", place, "tmpfs", NONE, f"size={size},mode=1777")
            writable.append(place)
    _own_names(name)
    # Kernels before 5.12 cannot. It guards against mistakes; the manual says that it is no wall.
    with contextlib.suppress(OSError):
        kernel.set_read_only("/", True, below=True)
        for place in writable:
            kernel.set_read_only(place, False)
    os.chdir(HOME)


def _own_names(name: str) -> None:
    """Have FRR's users and groups be number 0, and the node's name be that of its own address."""
    os.makedirs(OWN)
    os.makedirs("/run/frr", exist_ok=True)
    for path, number_at in (("/etc/passwd", (2, 3)), ("/etc/group", (2,))):
        lines = text.read(path).splitlines()
        _replace(path, "".join(f"{_as_root(line, number_at)}\n" for line in lines))
    if os.path.isfile("/etc/hosts"):
        _replace("/etc/hosts", f"127.0.0.1 localhost\n127.0.1.1 {name}\n::1 localhost\n")


def _as_root(line: str, number_at: tuple[int, ...]) -> str:
    fields = line.split(":")
    if fields[0] in FRR_NAMES:
        for at in number_at:
            fields[at] = "0"
    return ":".join(fields)


def _replace(path: str, content: str) -> None:
    own = f"{OWN}/{os.path.basename(path)}"
    text.write(own, content)
    kernel.mount(own, path, flags=kernel.MS_BIND)
