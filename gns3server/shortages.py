"""What to do when the machine, or the user's share of it, has no more of something."""

from __future__ import annotations

import errno

ADVICE = {
    errno.EAGAIN: "no more processes are allowed: stop some, or raise the limit (ulimit -u)",
    errno.EMFILE: "the server has no file descriptor left: raise its limit (ulimit -n)",
    errno.ENFILE: "the machine has no file descriptor left: raise fs.file-max",
    errno.ENOMEM: "the machine has no memory left: stop something",
    errno.ENOSPC: "the disk is full: make room on it",
    errno.EDQUOT: "the disk quota is used up: make room",
    errno.EROFS: "the file system is read-only: make it writable again (mount -o remount,rw)",
}
"""By the error number of the kernel: what there is none of, and what helps."""


def advice(error: OSError) -> str | None:
    """What helps against an error, ``None`` if it tells of no shortage."""
    return ADVICE.get(error.errno or 0)
