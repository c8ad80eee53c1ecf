"""A snapshot as it was at one moment."""

from __future__ import annotations

from dataclasses import dataclass

from gns3server.events import Event
from gns3server.storage.snapshot_rows import SnapshotRow


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotView:
    """A snapshot of a project.

    :param created: when it was made, in seconds since 1970.
    :param size: bytes of its files.
    :param running: ids of the nodes that ran then: their files are as they were at that moment.
    """

    id: str
    project_id: str
    name: str
    created: float
    size: int
    running: tuple[str, ...]

    @classmethod
    def of(cls, project_id: str, row: SnapshotRow) -> SnapshotView:
        """The view of a row."""
        return cls(
            id=row.id,
            project_id=project_id,
            name=row.name,
            created=row.created,
            size=row.size,
            running=row.running,
        )

    def event(self, change: str) -> Event:
        """The event that something has happened to it, or with it."""
        return Event("snapshot", change, self.project_id, self)
