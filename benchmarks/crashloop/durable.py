"""What a killed server has left on the disk, read from copies so that nothing is changed."""

from __future__ import annotations

import json
import shutil
import sqlite3
import tempfile
import uuid
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

RECORDS = "project.db"


@dataclass(slots=True)
class Remains:
    """One project's records.

    :param wires: local UDP port of each node that has a NIO.
    :param unrecorded: ids of runs that were intended, but whose processes are not on record.
    """

    wires: dict[str, int] = field(default_factory=dict)
    allocated: set[int] = field(default_factory=set)
    unrecorded: set[str] = field(default_factory=set)


def remains(project_id: str, directory: Path) -> Remains:
    """Read the records of a project; they are empty if there are none.

    They are in a hidden directory if the server was about to delete them.
    """
    aside = f".gns3_deleted-{uuid.UUID(project_id).hex}"
    for place in (directory, directory.with_name(aside), directory / aside):
        if (place / RECORDS).exists():
            return _read_copy(place)
    return Remains()


def _read_copy(directory: Path) -> Remains:
    with tempfile.TemporaryDirectory() as place:
        for name in (RECORDS, f"{RECORDS}-wal"):
            if (directory / name).exists():
                shutil.copy(directory / name, place)
        with closing(sqlite3.connect(Path(place, RECORDS))) as connection:
            try:
                return _read(connection)
            except sqlite3.OperationalError:
                # The server was killed before the file had its tables.
                return Remains()


def _read(connection: sqlite3.Connection) -> Remains:
    found = Remains()
    for node_id, fields in connection.execute("SELECT node_id, fields FROM nio"):
        found.wires[node_id] = json.loads(fields)["lport"]
    for (port,) in connection.execute("SELECT number FROM allocated_port"):
        found.allocated.add(port)
    for run_id, processes in connection.execute("SELECT id, processes FROM run"):
        if not json.loads(processes):
            found.unrecorded.add(run_id)
    return found
