"""Links and captures as they are stored, and how they are read; see
:mod:`gns3server.storage.rows`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gns3server.running.values import exactly, is_whole, plain_name
from gns3server.storage.row_checks import id_of, json_value

DIRECT, RELAYED = PATHS = ("direct", "relayed")
"""What is between the two ends of a link: nothing, or the link panel of its project."""

AUTO = "auto"
WANTED_PATHS = (AUTO, *PATHS)
"""Which of them a client wants; with ``auto`` the server chooses."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkEndRow:
    """One end of a link as it is stored.

    :param local: the UDP port that the node binds.
    :param relay: the UDP port that the link panel binds for it, if the link is relayed.
    """

    node_id: str
    adapter: int
    port: int
    local: int
    relay: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkRow:
    """A link as it is stored.

    :param wanted: one of :data:`WANTED_PATHS`.
    :param path: one of :data:`PATHS`.
    :param filters: parameters by type of filter.
    """

    id: str
    ends: tuple[LinkEndRow, LinkEndRow]
    wanted: str
    path: str
    suspended: bool
    filters: Mapping[str, Mapping[str, Any]]
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptureRow:
    """A capture that has been started, as it is stored.

    :param file: its plain name, in the directory for captures.
    :param snapshot_length: how many bytes of a frame are kept.
    :param max_bytes: how large the file may become.
    """

    file: str
    snapshot_length: int
    max_bytes: int


def read_links(connection: sqlite3.Connection) -> list[LinkRow]:
    """All links, in the order in which they were made.

    :raises ValueError: no server could have stored one of them.
    """
    ends = _ends(connection)
    links = []
    for link_id, wanted, path, suspended, filters, seed in connection.execute(
        "SELECT id, wanted, path, suspended, filters, seed FROM link ORDER BY rowid"
    ):
        what = f"link {link_id!r:.80}"
        own = ends.pop(link_id, {})
        if sorted(own) != [0, 1]:
            raise ValueError(f"{what} does not have two ends")
        if wanted not in WANTED_PATHS or path not in PATHS:
            raise ValueError(f"{what} has a path that is never stored: {wanted!r:.40}")
        row = LinkRow(
            id=id_of("the id of a link", link_id),
            ends=(own[0], own[1]),
            wanted=wanted,
            path=path,
            suspended=bool(suspended),
            filters=_filters(what, filters),
            seed=_number(what, seed, 0),
        )
        if row.path == RELAYED and None in (own[0].relay, own[1].relay):
            raise ValueError(f"{what} is relayed, but has no ports for that")
        links.append(row)
    return links


def _filters(what: str, text: Any) -> Mapping[str, Mapping[str, Any]]:
    filters = json_value(what, text, dict)
    return {name: exactly(what, values, dict) for name, values in filters.items()}


def _ends(connection: sqlite3.Connection) -> dict[str, dict[int, LinkEndRow]]:
    ends: dict[str, dict[int, LinkEndRow]] = {}
    for link_id, number, node_id, adapter, port, local, relay in connection.execute(
        "SELECT link_id, number, node_id, adapter, port, local, relay FROM link_end"
    ):
        what = f"an end of link {link_id!r:.80}"
        ends.setdefault(link_id, {})[number] = LinkEndRow(
            node_id=id_of(what, node_id),
            adapter=_number(what, adapter, 0),
            port=_number(what, port, 0),
            local=_number(what, local, 1, 65535),
            relay=None if relay is None else _number(what, relay, 1, 65535),
        )
    return ends


def read_captures(connection: sqlite3.Connection) -> dict[str, CaptureRow]:
    """The captures that were started, by link.

    :raises ValueError: no server could have stored one of them.
    """
    captures = {}
    for link_id, file, snapshot_length, max_bytes in connection.execute(
        "SELECT link_id, file, snapshot_length, max_bytes FROM capture"
    ):
        what = f"the capture of link {link_id!r:.80}"
        captures[id_of(what, link_id)] = CaptureRow(
            file=plain_name(what, file),
            snapshot_length=_number(what, snapshot_length, 1),
            max_bytes=_number(what, max_bytes, 1),
        )
    return captures


def _number(what: str, value: Any, least: int, most: int | None = None) -> int:
    if not is_whole(value, least, most):
        raise ValueError(f"{what} holds a number that is never stored: {value!r:.40}")
    return value
