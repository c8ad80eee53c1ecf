"""Calls of the kernel that Python 3.11 does not offer, by way of the C library."""

from __future__ import annotations

import ctypes
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, ClassVar

CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC = 0x00020000, 0x04000000, 0x08000000
CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = 0x10000000, 0x20000000, 0x40000000
"""Of unshare(2)."""

MS_NOSUID, MS_NODEV, MS_NOEXEC = 2, 4, 8
MS_BIND, MS_REC, MS_PRIVATE = 4096, 16384, 1 << 18
"""Of mount(2)."""

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
"""Of prctl(2)."""

MOUNT_SETATTR, AT_FDCWD, AT_RECURSIVE, MOUNT_ATTR_RDONLY = 442, -100, 0x8000, 1
"""Of mount_setattr(2), which has the same number on all architectures."""

LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.prctl.argtypes = (ctypes.c_int, *[ctypes.c_ulong] * 4)
LIBC.mount.argtypes = (*[ctypes.c_char_p] * 3, ctypes.c_ulong, ctypes.c_char_p)
LIBC.syscall.argtypes = (
    ctypes.c_long,
    ctypes.c_int,
    ctypes.c_char_p,
    ctypes.c_uint,
    ctypes.c_void_p,
    ctypes.c_size_t,
)
LIBC.syscall.restype = ctypes.c_long


class MountAttributes(ctypes.Structure):
    """``struct mount_attr`` of mount_setattr(2)."""

    _fields_: ClassVar[Any] = (
        ("attr_set", ctypes.c_uint64),
        ("attr_clr", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64),
        ("userns_fd", ctypes.c_uint64),
    )


def unshare(flags: int) -> None:
    """Leave namespaces for new ones; children are in a new PID namespace, not the caller.

    :raises OSError: the kernel does not let us.
    """
    _checked(LIBC.unshare(flags), "new namespaces")


def mount(source: str, target: str, kind: str = "", flags: int = 0, options: str = "") -> None:
    """Mount a file system, or a directory or file once more.

    :raises OSError: the kernel does not let us; it names the target.
    """
    done = LIBC.mount(*map(os.fsencode, (source, target, kind)), flags, options.encode())
    _checked(done, target)


def set_read_only(path: str, read_only: bool, *, below: bool = False) -> None:
    """Have a mount be read-only, or no longer.

    :param below: with all mounts below it.
    :raises OSError: the kernel does not let us, or is older than 5.12.
    """
    values = MountAttributes(
        attr_set=MOUNT_ATTR_RDONLY if read_only else 0,
        attr_clr=0 if read_only else MOUNT_ATTR_RDONLY,
    )
    flags = AT_RECURSIVE if below else 0
    size = ctypes.sizeof(values)
    _checked(
        LIBC.syscall(
            MOUNT_SETATTR, AT_FDCWD, os.fsencode(path), flags, ctypes.addressof(values), size
        ),
        path,
    )


def end_with_parent(signal: int) -> None:
    """Have this process get a signal when its parent ends."""
    _checked(LIBC.prctl(PR_SET_PDEATHSIG, signal, 0, 0, 0), "prctl")


def take_in_orphans() -> None:
    """Have this process be the parent of descendants whose own parent has ended."""
    _checked(LIBC.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), "prctl")


def _checked(result: int, what: str) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)


def reason(error: Exception) -> str:
    """An error in words."""
    if isinstance(error, OSError):
        return ": ".join(filter(None, (error.filename, error.strerror or str(error))))
    return str(error)
