"""What the server wants of the panel, read from the call ``state``."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gns3server.links.filters import Values, check_filters

HOST = "127.0.0.1"

MAX_LINKS = 4096
MAX_SNAPSHOT_LENGTH = 262144
MAX_CAPTURE_BYTES = 1 << 40
MAX_SEED = 1 << 64


@dataclass(frozen=True, slots=True)
class WantedEnd:
    """One end of a link.

    :param local_port: where its frames come to; ``None`` for a link without a relay.
    :param remote_host: an address of the end itself.
    :param remote_port: where the end sends from, and gets frames.
    """

    local_port: int | None
    remote_host: str
    remote_port: int


@dataclass(frozen=True, slots=True)
class WantedCapture:
    """A capture of a link.

    :param path: of the file, absolute.
    :param beneath: a directory that the path must not lead out of, by no link either.
    :param snapshot_length: how many bytes of a frame are kept at most.
    :param max_bytes: how long the file may become.
    """

    path: Path
    beneath: Path | None
    snapshot_length: int
    max_bytes: int


@dataclass(frozen=True, slots=True)
class WantedLink:
    """A link as it shall be.

    :param relay: whether its frames pass through the panel.
    :param host: the address that the local ports are bound on.
    :param filters: complete.
    """

    id: str
    relay: bool
    host: str
    ends: tuple[WantedEnd, WantedEnd]
    suspended: bool
    filters: dict[str, Values]
    seed: int
    capture: WantedCapture | None


def read_links(what: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """All links of a state by their ids, not looked at any closer.

    :raises ValueError: that is no list of links.
    """
    links = what.get("links") if isinstance(what, Mapping) else None
    if not isinstance(links, list) or len(links) > MAX_LINKS:
        raise ValueError(f"'links' must be a list of {MAX_LINKS} links at most")
    found = {}
    for link in links:
        if not isinstance(link, dict) or not isinstance(link.get("id"), str):
            raise ValueError("each link must be an object with an id")
        if link["id"] in found:
            raise ValueError(f"there are two links {link['id']!r}")
        found[link["id"]] = link
    return list(found.items())


def read_link(given: Mapping[str, Any]) -> WantedLink:
    """Read what a link shall be.

    :raises ValueError: something is missing or wrong.
    """
    relay = _boolean(given, "relay", default=True)
    ends = given.get("ends")
    if not isinstance(ends, list) or len(ends) != 2:
        raise ValueError("'ends' must be a list of two ends")
    filters = given.get("filters") or {}
    if not isinstance(filters, dict):
        raise ValueError("'filters' must be an object")
    capture = given.get("capture")
    return WantedLink(
        id=given["id"],
        relay=relay,
        host=_address(given, "host", HOST),
        ends=(_end(ends[0], relay=relay), _end(ends[1], relay=relay)),
        suspended=_boolean(given, "suspended", default=False),
        filters=check_filters(filters),
        seed=_number(given, "seed", 0, MAX_SEED, default=0),
        capture=None if capture is None else _capture(capture),
    )


def _end(given: Any, *, relay: bool) -> WantedEnd:
    if not isinstance(given, dict):
        raise ValueError("an end must be an object")
    return WantedEnd(
        local_port=_number(given, "local_port", 1, 65535) if relay else None,
        remote_host=_address(given, "remote_host", HOST),
        remote_port=_number(given, "remote_port", 1, 65535),
    )


def _capture(given: Any) -> WantedCapture:
    if not isinstance(given, dict):
        raise ValueError("a capture must be an object")
    path = _path(given, "path")
    if path is None:
        raise ValueError("a capture must have a path")
    return WantedCapture(
        path=path,
        beneath=_path(given, "beneath"),
        snapshot_length=_number(
            given, "snapshot_length", 1, MAX_SNAPSHOT_LENGTH, default=MAX_SNAPSHOT_LENGTH
        ),
        max_bytes=_number(given, "max_bytes", 24, MAX_CAPTURE_BYTES),
    )


def _path(given: Mapping[str, Any], key: str) -> Path | None:
    value = given.get(key)
    if value is None:
        return None
    if not isinstance(value, str) or not value.startswith("/") or "\0" in value:
        raise ValueError(f"{key!r} must be an absolute path")
    return Path(value)


def _address(given: Mapping[str, Any], key: str, default: str) -> str:
    value = given.get(key, default)
    try:
        # A name would have to be looked up, which may take for ever.
        return str(ipaddress.ip_address(value if isinstance(value, str) else ""))
    except ValueError as error:
        raise ValueError(f"{key!r} must be an IP address, not {value!r:.100}") from error


def _boolean(given: Mapping[str, Any], key: str, *, default: bool) -> bool:
    value = given.get(key, default)
    if not isinstance(value, bool):
        raise ValueError(f"{key!r} must be true or false")
    return value


def _number(
    given: Mapping[str, Any], key: str, least: int, most: int, default: int | None = None
) -> int:
    value = given.get(key)
    if value is None:
        value = default
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise ValueError(f"{key!r} must be a whole number from {least} to {most}")
    return value
