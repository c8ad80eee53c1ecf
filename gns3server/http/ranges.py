"""Which part of a file a request asks for, and whether it asks for any (RFC 9110, 13 and 14)."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime

from aiohttp import web

from gns3server.errors import PreconditionFailed, RangeNotSatisfiable, quoted

ONE_RANGE = re.compile(r"bytes=(\d{0,1000})-(\d{0,1000})", re.ASCII | re.IGNORECASE)
"""The numbers may be larger than any file, but not than Python's ``int`` reads."""

UNIT = re.compile(r"bytes\s*=", re.IGNORECASE)

ANY = "*"

LAST_SECOND = int(datetime(9999, 12, 31, tzinfo=UTC).timestamp())
"""The last date that can be said to a client; a file may have any."""


@dataclass(frozen=True, slots=True)
class Version:
    """What tells one state of a file from another, and how large it is then.

    :param tag: strong: each change of the file gives another.
    :param modified: to the second, as HTTP has it.
    """

    tag: str
    modified: datetime
    size: int

    @classmethod
    def of(cls, status: os.stat_result) -> Version:
        """The version of a file in a certain state."""
        seconds = status.st_mtime_ns // 10**9
        return cls(
            tag=f"{status.st_ino:x}-{status.st_mtime_ns:x}-{status.st_size:x}",
            modified=datetime.fromtimestamp(min(max(0, seconds), LAST_SECOND), UTC),
            size=status.st_size,
        )

    @property
    def headers(self) -> dict[str, str]:
        """What an answer says of it."""
        return {
            "Accept-Ranges": "bytes",
            # Nobody can know when a lab changes its files.
            "Cache-Control": "no-cache",
            "ETag": f'"{self.tag}"',
            "Last-Modified": format_datetime(self.modified, usegmt=True),
        }


def is_known(request: web.Request, version: Version) -> bool:
    """Whether the client has this version already.

    :raises PreconditionFailed: it wants another version or nothing.
    """
    wanted, since = request.if_match, request.if_unmodified_since
    if wanted is not None:
        refused = not any(not tag.is_weak and tag.value in (version.tag, ANY) for tag in wanted)
    else:
        refused = since is not None and version.modified > since
    if refused:
        raise PreconditionFailed(
            "The file has changed since the client has looked at it: fetch it anew."
        )
    if request.if_none_match is not None:
        return any(tag.value in (version.tag, ANY) for tag in request.if_none_match)
    since = request.if_modified_since
    return since is not None and version.modified <= since


def part_asked_for(request: web.Request, version: Version) -> range | None:
    """The bytes that are asked for, by their numbers; ``None`` for the whole file.

    What cannot be answered in one piece, several ranges or another unit, counts as not asked for.
    So does a range of another version than this one.

    :raises RangeNotSatisfiable: the file has no such bytes.
    """
    asked = ", ".join(request.headers.getall("Range", ()))
    if request.method != "GET" or not UNIT.match(asked) or "," in asked:
        return None
    if not _is_condition_met(request, version):
        return None
    found = ONE_RANGE.fullmatch(asked)
    first, last = found.groups() if found else ("", "")
    if first:
        part = range(int(first), min(int(last) + 1 if last else version.size, version.size))
    else:
        part = range(max(0, version.size - int(last or 0)), version.size)
    if not part:
        raise RangeNotSatisfiable(
            f"The file has no bytes {quoted(asked)}: it has {version.size}. Ask for a range such "
            "as bytes=0-99, or for none.",
            size=version.size,
        )
    return part


def _is_condition_met(request: web.Request, version: Version) -> bool:
    """Whether a range is still one of the version that the client has the rest of."""
    condition = request.headers.get("If-Range")
    if condition is None:
        return True
    if condition.startswith(('"', "W/")):
        return condition == f'"{version.tag}"'
    return request.if_range == version.modified
