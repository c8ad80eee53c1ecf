"""Snapshots of a project, and restorations that are under way: as they are stored.

The functions that read block, and raise ValueError for what no server could have stored.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from typing import Literal, cast

from gns3server.running.values import exactly, plain_name
from gns3server.storage.row_checks import id_of, json_value

SnapshotState = Literal["making", "whole", "removing"]
STATES = ("making", "whole", "removing")


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotRow:
    """A snapshot as it is stored: its directory is called after its id.

    :param created: seconds since 1970.
    :param state: in any but ``whole``, its directory is left over when the project is opened.
    :param size: bytes of its files.
    :param running: ids of the nodes that ran when it was made.
    """

    id: str
    name: str
    created: float
    state: SnapshotState
    size: int = 0
    running: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RestorationRow:
    """A restoration that has begun.

    :param room: the name of the directory, in the project's, through which files come.
    :param committed: the project's records are the snapshot's, and its files must become so;
        otherwise the directory is left over.
    """

    room: str
    snapshot_id: str
    committed: bool


def read_snapshots(connection: sqlite3.Connection) -> list[SnapshotRow]:
    """All snapshots on record, the oldest first."""
    snapshots = []
    for snapshot_id, name, created, state, size, running in connection.execute(
        "SELECT id, name, created, state, size, running FROM snapshot ORDER BY rowid"
    ):
        what = f"the snapshot {snapshot_id!r:.80}"
        if state not in STATES:
            raise ValueError(f"the state of {what} is not one that is ever stored: {state!r:.80}")
        snapshots.append(
            SnapshotRow(
                id=id_of(what, snapshot_id),
                name=exactly(what, name, str),
                created=exactly(what, created, float),
                state=cast(SnapshotState, state),
                size=exactly(what, size, int),
                running=tuple(exactly(what, each, str) for each in json_value(what, running, list)),
            )
        )
    return snapshots


def read_restorations(connection: sqlite3.Connection) -> list[RestorationRow]:
    """All restorations that have not ended."""
    return [
        RestorationRow(
            plain_name("the directory of a restoration", room),
            id_of("the snapshot of a restoration", snapshot_id),
            bool(committed),
        )
        for room, snapshot_id, committed in connection.execute(
            "SELECT room, snapshot_id, committed FROM restoration"
        )
    ]
