"""What one change stores: each thing that a project consists of, as SQL statements."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from gns3server.storage.database import Statement
from gns3server.storage.lab_tables import Tables, insertion
from gns3server.storage.link_rows import CaptureRow, LinkRow
from gns3server.storage.rows import NioRow, NodeRow, Owner, RunRow
from gns3server.storage.snapshot_rows import RestorationRow, SnapshotRow

SAVE_NODE = """
INSERT INTO node (id, type, name, console, number, properties, state, fresh)
VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE
SET name = excluded.name, console = excluded.console, properties = excluded.properties
"""

SAVE_LAYOUT = """
INSERT INTO layout SELECT ?, coalesce(?, 0), coalesce(?, 0), coalesce(?, 0),
    coalesce(?, ''), coalesce(?, '{}')
WHERE EXISTS (SELECT 1 FROM node WHERE id = ?) ON CONFLICT (node_id) DO UPDATE
SET x = coalesce(?, x), y = coalesce(?, y), z = coalesce(?, z),
    symbol = coalesce(?, symbol), label = coalesce(?, label)
"""

SAVE_LINK = """
INSERT INTO link VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET wanted = excluded.wanted,
    path = excluded.path, suspended = excluded.suspended, filters = excluded.filters,
    seed = excluded.seed
"""

SAVE_LINK_END = """
INSERT INTO link_end VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (link_id, number) DO UPDATE
SET local = excluded.local, relay = excluded.relay
"""

SAVE_SNAPSHOT = """
INSERT INTO snapshot VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE
SET state = excluded.state, size = excluded.size
"""

MOST_KEYS = 1000
"""How many values a plugin may store with one owner."""

SAVE_VALUE = """
INSERT INTO stored_value SELECT ?, ?, ?, ?, CASE
    WHEN EXISTS (SELECT 1 FROM stored_value
        WHERE owner_kind = ? AND owner_id = ? AND plugin = ? AND key = ?)
    OR (SELECT count(*) FROM stored_value
        WHERE owner_kind = ? AND owner_id = ? AND plugin = ?) < ? THEN ? END
WHERE EXISTS ({exists}) ON CONFLICT (owner_kind, owner_id, plugin, key) DO UPDATE
SET value = excluded.value
"""
"""Past the bound the value is NULL, which the table refuses."""

EXISTS = {
    "node": "SELECT 1 FROM node WHERE id = ?",
    "link": "SELECT 1 FROM link WHERE id = ?",
}
"""Whether the owner of a value is still there, by kind; others always are."""

NO_ROOM = "NOT NULL constraint failed: stored_value.value"


class RowChanges:
    """The statements of one change of a project's records, in their order."""

    def __init__(self) -> None:
        self._statements: list[Statement] = []

    def save_project(self, project_id: str, name: str | None, temporary: bool) -> None:
        """Store the project's own values."""
        self.execute("INSERT OR REPLACE INTO project VALUES (?, ?, ?)", project_id, name, temporary)

    def save_node_row(self, row: NodeRow, files: Mapping[str, bytes]) -> None:
        """Store a node.

        :param files: what its directory is still to get, by plain name; kept until it is there.
        """
        self.execute(
            SAVE_NODE,
            *(row.id, row.type, row.name, row.console, row.number),
            *(json.dumps(dict(row.properties)), row.state, row.fresh),
        )
        self.execute("DELETE FROM removed_node WHERE id = ?", row.id)
        for name, content in files.items():
            self.execute(
                "INSERT OR REPLACE INTO staged_file VALUES (?, ?, ?)", row.id, name, content
            )

    def save_node_state(self, node_id: str, state: str) -> None:
        """Store the state of a node when no run on record tells it."""
        self.execute("UPDATE node SET state = ? WHERE id = ?", state, node_id)

    def settle_node(self, node_id: str) -> None:
        """Store that a node's plugin knows that it was created."""
        self.execute("UPDATE node SET fresh = 0 WHERE id = ?", node_id)

    def remove_node(self, node_id: str, node_type: str) -> None:
        """Forget a node, and note its directory, which is removed when the project is committed."""
        self.execute("DELETE FROM node WHERE id = ?", node_id)
        self.execute("INSERT OR REPLACE INTO removed_node VALUES (?, ?)", node_id, node_type)
        self.execute("DELETE FROM stored_value WHERE owner_kind = 'node' AND owner_id = ?", node_id)

    def forget_removed_node(self, node_id: str) -> None:
        """Forget a removed node whose directory has been dealt with."""
        self.execute("DELETE FROM removed_node WHERE id = ?", node_id)

    def files_replaced(self, node_id: str) -> None:
        """Forget the stored content of a node's files: they are on disk now."""
        self.execute("DELETE FROM staged_file WHERE node_id = ?", node_id)

    def save_nio(self, node_id: str, place: tuple[int, int], nio: NioRow | None) -> None:
        """Store what is plugged in at (adapter, port), if anything is."""
        self.execute(
            "DELETE FROM nio WHERE node_id = ? AND adapter = ? AND port = ?", node_id, *place
        )
        if nio is not None:
            fields = json.dumps(dict(nio.fields))
            self.execute(
                "INSERT INTO nio VALUES (?, ?, ?, ?, ?)", node_id, *place, nio.type, fields
            )

    def save_link(self, link: LinkRow) -> None:
        """Store a link, or what has changed about it."""
        self.execute(
            SAVE_LINK,
            *(link.id, link.wanted, link.path, link.suspended),
            *(json.dumps(dict(link.filters)), link.seed),
        )
        for number, end in enumerate(link.ends):
            place = (end.node_id, end.adapter, end.port)
            self.execute(SAVE_LINK_END, link.id, number, *place, end.local, end.relay)

    def remove_link(self, link_id: str) -> None:
        """Forget a link, or a pair of NIOs, with what belongs to it."""
        self.execute("DELETE FROM link WHERE id = ?", link_id)
        self.execute("DELETE FROM capture WHERE link_id = ?", link_id)
        self.execute(
            "DELETE FROM stored_value WHERE owner_kind IN ('link', 'pair') AND owner_id = ?",
            link_id,
        )

    def save_capture(self, link_id: str, capture: CaptureRow | None) -> None:
        """Store what is captured of a link, if anything is."""
        self.execute("DELETE FROM capture WHERE link_id = ?", link_id)
        if capture is not None:
            file = (capture.file, capture.snapshot_length, capture.max_bytes)
            self.execute("INSERT INTO capture VALUES (?, ?, ?, ?)", link_id, *file)

    def save_layout(self, node_id: str, values: Mapping[str, Any]) -> None:
        """Store where a node is drawn, and how; removed along with the node.

        :param values: what is to change, by the names of
            :class:`~gns3server.storage.rows.NodeLayout`.
        """
        label = values.get("label")
        named = [
            *map(values.get, ("x", "y", "z", "symbol")),
            None if label is None else json.dumps(label),
        ]
        self.execute(SAVE_LAYOUT, node_id, *named, node_id, *named)

    def save_run(self, run: RunRow) -> None:
        """Store a run, or what is newly known about it."""
        self.execute(
            "INSERT OR REPLACE INTO run VALUES (?, ?, ?, ?, ?)",
            run.id,
            run.owner.kind,
            run.owner.id,
            json.dumps(run.spec.to_json()),
            json.dumps([asdict(identity) for identity in run.processes]),
        )

    def end_run(self, run_id: str) -> None:
        """Forget a run whose processes are all gone."""
        self.execute("DELETE FROM run WHERE id = ?", run_id)

    def allocate_port(self, port: int) -> None:
        """Store that a client allocated a UDP port."""
        self.execute("INSERT OR REPLACE INTO allocated_port VALUES (?)", port)

    def free_port(self, port: int) -> None:
        """Store that a UDP port is no longer allocated to a client."""
        self.execute("DELETE FROM allocated_port WHERE number = ?", port)

    def forget_ports_and_removed(self) -> None:
        """Forget what a close lets go: allocated ports, the removed nodes (contract 4.3)."""
        self.execute("DELETE FROM allocated_port")
        self.execute("DELETE FROM removed_node")

    def save_value(self, owner: Owner, plugin: str, key: str, value: Any) -> None:
        """Store a plugin's own value with its owner; it is removed along with the owner.

        For a node or link that no longer exists, nothing is stored. More than :data:`MOST_KEYS`
        values of one plugin with one owner make the change fail.

        :param value: anything that JSON can hold.
        """
        whose = (owner.kind, owner.id, plugin)
        exists = EXISTS.get(owner.kind, "SELECT ?")
        self.execute(
            SAVE_VALUE.format(exists=exists),
            *(*whose, key, *whose, key, *whose, MOST_KEYS, json.dumps(value), owner.id),
        )

    def remove_value(self, owner: Owner, plugin: str, key: str) -> None:
        """Forget a plugin's own value."""
        self.execute(
            "DELETE FROM stored_value "
            "WHERE owner_kind = ? AND owner_id = ? AND plugin = ? AND key = ?",
            *(owner.kind, owner.id, plugin, key),
        )

    def save_snapshot(self, snapshot: SnapshotRow) -> None:
        """Store a snapshot, or what has become of it."""
        self.execute(
            SAVE_SNAPSHOT,
            *(snapshot.id, snapshot.name, snapshot.created, snapshot.state, snapshot.size),
            json.dumps(snapshot.running),
        )

    def remove_snapshot(self, snapshot_id: str) -> None:
        """Forget a snapshot whose directory is gone."""
        self.execute("DELETE FROM snapshot WHERE id = ?", snapshot_id)

    def save_restoration(self, restoration: RestorationRow) -> None:
        """Store a restoration that has begun, or that it is committed."""
        self.execute(
            "INSERT OR REPLACE INTO restoration VALUES (?, ?, ?)",
            *(restoration.room, restoration.snapshot_id, restoration.committed),
        )

    def end_restoration(self, room: str) -> None:
        """Forget a restoration of which nothing is left to do."""
        self.execute("DELETE FROM restoration WHERE room = ?", room)

    def replace_lab(self, tables: Tables) -> None:
        """Store other nodes, with all that belongs to them and to the project, in place of all.

        What runs, the events and the project's own values stay.

        :param tables: of a :class:`~gns3server.storage.lab_tables.StoredLab`.
        """
        rows = {name: table for name, table in tables.items() if name != "project"}
        # In whatever order the tables come.
        self.execute("PRAGMA defer_foreign_keys = ON")
        # A capture ends: its file is one of those that are replaced.
        for name in [*rows, "capture"]:
            self.execute(f'DELETE FROM "{name}"')  # noqa: S608
        for name, table in rows.items():
            for row in table.rows:
                self.execute(insertion(name, table), *row)

    def execute(self, sql: str, *parameters: Any) -> None:
        """Store what one SQL statement says."""
        self._statements.append((sql, parameters))
