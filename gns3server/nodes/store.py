"""A plugin's own durable values, kept with their owner."""

from __future__ import annotations

import json
from typing import Any

from gns3server.calls import current_plugin
from gns3server.errors import Conflict
from gns3server.nodes.limits import core_code
from gns3server.storage.change import ProjectChange
from gns3server.storage.rows import Owner
from gns3server.storage.stores import Records

VALUE_BYTES = 1024 * 1024
"""How long a value may be, as JSON."""

KEY_LENGTH = 200
"""How many characters a key may have."""

ONE = """
SELECT value FROM stored_value WHERE owner_kind = ? AND owner_id = ? AND plugin = ? AND key = ?
"""
ALL = """
SELECT key, value FROM stored_value WHERE owner_kind = ? AND owner_id = ? AND plugin = ?
ORDER BY key
"""
OF_ALL = """
SELECT owner_id, value FROM stored_value
WHERE owner_kind IN (SELECT value FROM json_each(?)) AND plugin = ? AND key = ?
"""


async def stored_with_all(records: Records, key: str, *kinds: str) -> dict[str, Any]:
    """The value that the calling plugin keeps under a key with each owner that has one, by id.

    :param kinds: of the owners.
    """
    rows = await records.read(OF_ALL, (json.dumps(kinds), current_plugin(), key))
    return {owner_id: json.loads(text) for owner_id, text in rows}


class Store:
    """Values of one plugin that belong to a server, a project or a node: JSON by key.

    They are on disk when a call returns, are deleted, moved and copied with their owner, and stay
    when the plugin is uninstalled. No plugin sees another's values. A key is a text of up to 200
    printable characters, a value has up to 1 MiB as JSON, and one owner has up to 1000 of a
    plugin's values.

    :param records: where they are kept.
    :param owner: the server, project or node that they belong to.
    """

    def __init__(self, records: Records, owner: Owner) -> None:
        self._records = records
        self._owner = owner
        self._plugin = current_plugin()

    @core_code
    async def get(self, key: str, default: Any = None) -> Any:
        """The value of a key.

        :param default: what is returned if there is none.
        """
        rows = await self._records.read(ONE, (*self._whose, key))
        return json.loads(rows[0][0]) if rows else default

    @core_code
    async def items(self) -> dict[str, Any]:
        """All values by key, in key order."""
        rows = await self._records.read(ALL, self._whose)
        return {key: json.loads(text) for key, text in rows}

    @core_code
    async def set(self, key: str, value: Any) -> None:
        """Store a value, replacing the one that the key has.

        :param value: anything that JSON can hold.
        :raises ValueError: the key is not valid, or JSON cannot hold the value.
        :raises gns3server.errors.Conflict: it is too long, or there are too many.
        :raises gns3server.errors.StorageFailed: it could not be written.
        """
        async with self._records.change() as change:
            self.save(change, key, value)

    @core_code
    async def delete(self, key: str) -> None:
        """Forget a value; it is fine if there is none.

        :raises gns3server.errors.StorageFailed: the change could not be written.
        """
        async with self._records.change() as change:
            self.remove(change, key)

    def save(self, change: ProjectChange, key: str, value: Any) -> None:
        """Store a value as part of a change (``async with project.change() as change``).

        Until the change is made, :meth:`get` returns what was there before.

        :raises ValueError: the key is not valid, JSON cannot hold the value, or the change is of
            another project.
        :raises gns3server.errors.Conflict: it is too long.
        """
        self._check(change, key)
        try:
            text = json.dumps(value, allow_nan=False)
            # A value nested too deeply to be read back would damage the project.
            plain = json.loads(text)
        except (TypeError, ValueError, RecursionError) as error:
            raise ValueError(f"the value of {key!r} cannot be kept as JSON: {error}") from error
        if len(text) > VALUE_BYTES:
            raise Conflict(
                f"The value {key!r} of the plugin {self._plugin!r} has {len(text)} bytes as JSON, "
                f"and at most {VALUE_BYTES} can be kept: keep less, or use a file."
            )
        change.save_value(self._owner, self._plugin, key, plain)

    def remove(self, change: ProjectChange, key: str) -> None:
        """Forget a value as part of a change.

        :raises ValueError: the change is of another project.
        """
        self._check(change, key)
        change.remove_value(self._owner, self._plugin, key)

    @property
    def _whose(self) -> tuple[str, str, str]:
        return self._owner.kind, self._owner.id, self._plugin

    def _check(self, change: ProjectChange, key: str) -> None:
        if not (isinstance(key, str) and key.isprintable() and 0 < len(key) <= KEY_LENGTH):
            raise ValueError(f"{key!r:.80} is not a key of 1 to {KEY_LENGTH} printable characters")
        if not change.belongs_to(self._records.events):
            raise ValueError("the change is not of the project that the store belongs to")
