"""The errors a client can meet.

Each class fixes the HTTP status; each instance carries one sentence for the
client (what happened, to which object, what to do about it) and, separately,
what belongs only in the server's log.
"""

from __future__ import annotations

import errno
import warnings
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

LONGEST_MESSAGE = 128 * 1024
"""Characters of a message. It may quote what a client has sent, or what a program has said."""


QUOTED_CHARACTERS = 200
"""How much of a client's text a message quotes."""


def quoted(text: str) -> str:
    """A text as messages quote it: its beginning, if it is long."""
    more = "..." if len(text) > QUOTED_CHARACTERS else ""
    return f"{text[:QUOTED_CHARACTERS]!r}{more}"


class LabError(Exception):
    """An error that a client is told about.

    :param message: the sentence the client reads.
    :param log: details for the server's log, never sent to a client.
    """

    status: int = 500
    headers: Mapping[str, str] = MappingProxyType({})

    def __init__(self, message: str, *, log: str | None = None) -> None:
        if len(message) > LONGEST_MESSAGE:
            message = f"{message[:LONGEST_MESSAGE]}... ({len(message)} characters)"
        super().__init__(message)
        self.message = message
        self.log = log


class Unauthorized(LabError):
    """401: the caller has not shown who it is (AUTH-02)."""

    status = 401
    headers: Mapping[str, str] = MappingProxyType({"WWW-Authenticate": 'Basic realm="GNS3 server"'})


class FilesFailed(LabError):
    """500: files or directories of a project could not be made or removed (PRJ-27, PRJ-29)."""


class PluginFault(LabError):
    """500: a plugin has failed; the message names it and what was asked of it.

    ``reported``: listeners have been told.
    """

    reported = False


class Exhausted(LabError):
    """500: the machine, or the user's share of it, has no more of what the request needs."""


class InvalidRequest(LabError):
    """400: the request itself is wrong: not JSON, or not what the route's schema asks for.

    :param request: repeated to the client instead of the parsed body.
    """

    status = 400

    def __init__(self, message: str, *, request: Any = None, log: str | None = None) -> None:
        super().__init__(message, log=log)
        self.request = request


class Forbidden(LabError):
    """403: understood, and not allowed here."""

    status = 403


class NotFound(LabError):
    """404: no such object, or not in that project."""

    status = 404


class NotAcceptable(LabError):
    """406: no answer has a media type that the client accepts."""

    status = 406


class RequestTimeout(LabError):
    """408: the request did not arrive in time."""

    status = 408


class Conflict(LabError):
    """409: the request is fine but the state of the lab does not allow it."""

    status = 409


class PreconditionFailed(LabError):
    """412: what is asked for is no longer as the client wants it to be."""

    status = 412


class BodyTooLarge(LabError):
    """413: the request's body is over the limit."""

    status = 413


class UnsupportedMediaType(LabError):
    """415: the request's body has a media type that the route does not take."""

    status = 415


class RangeNotSatisfiable(LabError):
    """416: the file does not have the bytes that are asked for.

    :param size: how many it has.
    """

    status = 416

    def __init__(self, message: str, *, size: int) -> None:
        super().__init__(message)
        self.headers = {"Content-Range": f"bytes */{size}"}


class ExpectationFailed(LabError):
    """417: the client expects something that the server cannot do."""

    status = 417


class UpgradeRequired(LabError):
    """426: a websocket is served here, and the request did not ask for one."""

    status = 426
    headers: Mapping[str, str] = MappingProxyType({"Upgrade": "websocket", "Connection": "Upgrade"})


class Unavailable(LabError):
    """503: the plugin or machine that would answer is out of service, or took too long."""

    status = 503


class StorageFailed(LabError):
    """507: the change could not be written to disk; nothing has changed.

    :param certain: whether that is so. If the disk fails even while a change is taken back,
        a later start may find it.
    """

    status = 507

    def __init__(self, message: str, *, certain: bool = True) -> None:
        super().__init__(message)
        self.certain = certain


ADVICE = {
    errno.EAGAIN: "no more processes are allowed: stop some, or raise the limit (ulimit -u)",
    errno.EMFILE: "the server has no file descriptor left: raise its limit (ulimit -n)",
    errno.ENFILE: "the machine has no file descriptor left: raise fs.file-max",
    errno.ENOMEM: "the machine has no memory left: stop something",
    errno.ENOSPC: "the disk is full: make room on it",
    errno.EIO: "the disk has failed: look at the kernel's log (dmesg), and save what you can",
    errno.EDQUOT: "the disk quota is used up: make room",
    errno.EROFS: "the file system is read-only: make it writable again (mount -o remount,rw)",
}
"""By the kernel's error number: what has run out or is wrong, and what helps."""


def advice(error: OSError) -> str | None:
    """What helps against an error; ``None`` if there is no advice for it."""
    return ADVICE.get(error.errno or 0)


def advice_sentence(error: OSError) -> str:
    """The same as a sentence; empty if there is none."""
    text = advice(error)
    return "" if text is None else f"{text[0].upper()}{text[1:]}."


def warn_of_old_name(old: str, new: str, *, level: int = 3) -> None:
    """Warn of a name from version 0.1, at the line that uses it.

    :param old: the old name, which 0.3 removes.
    :param new: what to write instead.
    :param level: how many calls away the line is.
    """
    message = f"{old} is deprecated and will be gone in 0.3: use {new}"
    warnings.warn(message, DeprecationWarning, stacklevel=level)
