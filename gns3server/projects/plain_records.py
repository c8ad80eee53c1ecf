"""A project's records as plain data, which other programs can keep and bring back."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import count
from typing import Any

from gns3server.links.filters import check_filters
from gns3server.nodes.node_type import Numbers
from gns3server.nodes.registry import Registry
from gns3server.storage.lab_tables import Table, Tables
from gns3server.storage.link_rows import AUTO, DIRECT
from gns3server.storage.rows import NodeLayout, Owner, StoredProject

NO_PORT = 1 << 16
"""The first of the numbers that stand for ports still to be found."""


def plain(stored: StoredProject) -> dict[str, Any]:
    """Records as plain data, JSON at any depth."""
    values: dict[Owner, dict[str, Any]] = {}
    for (owner, plugin), own in stored.values.items():
        values.setdefault(owner, {})[plugin] = own
    return {
        "id": stored.id,
        "name": stored.name,
        "values": values.get(Owner("project", stored.id), {}),
        "nodes": [
            {
                "id": node.id,
                "type": node.type,
                "name": node.name,
                "console": node.console,
                "number": node.number,
                "properties": dict(node.properties),
                "layout": asdict(stored.layout.get(node.id, NodeLayout())),
                "wires": [
                    {"adapter": adapter, "port": port, "nio": {**nio.fields, "type": nio.type}}
                    for (adapter, port), nio in sorted(stored.nios.get(node.id, {}).items())
                ],
                "values": values.get(Owner("node", node.id), {}),
            }
            for node in stored.nodes
        ],
        "links": [
            {
                "id": link.id,
                "ends": [
                    {"node_id": end.node_id, "adapter": end.adapter, "port": end.port}
                    for end in link.ends
                ],
                "suspended": link.suspended,
                "filters": link.filters,
                "seed": link.seed,
                "values": values.get(Owner("link", link.id), {}),
            }
            for link in stored.links
        ],
    }


class _Rows:
    """Rows by table, which are made one after the other."""

    def __init__(self) -> None:
        self.tables: dict[str, tuple[tuple[str, ...], list[tuple[Any, ...]]]] = {}

    def add(self, table: str, **values: Any) -> None:
        columns, rows = self.tables.setdefault(table, (tuple(values), []))
        rows.append(tuple(values[column] for column in columns))

    def add_values(self, kind: str, owner_id: str, values: Mapping[str, Any]) -> None:
        for plugin, own in values.items():
            for key, value in own.items():
                text = json.dumps(value, allow_nan=False)
                self.add(
                    "stored_value",
                    owner_kind=kind,
                    owner_id=owner_id,
                    plugin=plugin,
                    key=key,
                    value=text,
                )


def tables_of(records: Mapping[str, Any], registry: Registry) -> Tables:
    """The rows for records that :func:`plain` has made, or that look like that.

    Of a node, ``id``, ``type`` and ``name`` must be there; of a link, ``id`` and ``ends``.

    :raises KeyError, TypeError, ValueError, AttributeError: they do not look like that.
    """
    rows = _Rows()
    rows.add("project", id=records["id"], name=records.get("name"), temporary=0)
    rows.add_values("project", records["id"], records.get("values", {}))
    numbers = _numbers(records.get("nodes", ()), registry)
    for node in records.get("nodes", ()):
        _add_node(rows, node, numbers.get(node["id"]))
    ports = count(NO_PORT)
    for link in records.get("links", ()):
        _add_link(rows, link, ports)
    return _tables(rows)


def edited(tables: Tables, edit: Callable[[dict[str, Any]], None]) -> Tables:
    """The same rows with other properties and stored values of nodes.

    :param edit: changes them; it is given each node as :func:`plain` has it, but for its place,
        console and wires.
    """
    if "node" not in tables:
        return tables
    table, rows, values = tables["node"], [], _Rows()
    stored = [dict(zip(each.columns, row, strict=True)) for each, row in _stored_values(tables)]
    own: dict[str, dict[str, dict[str, Any]]] = {}
    for value in stored:
        if value["owner_kind"] == "node":
            kept = own.setdefault(value["owner_id"], {}).setdefault(value["plugin"], {})
            kept[value["key"]] = json.loads(value["value"])
        else:
            values.add("stored_value", **value)
    for row in table.rows:
        record = dict(zip(table.columns, row, strict=True))
        node = {key: record[key] for key in ("id", "type", "name")}
        node["properties"] = json.loads(record["properties"])
        node["values"] = own.get(record["id"], {})
        edit(node)
        record["properties"] = json.dumps(node["properties"], allow_nan=False)
        rows.append(tuple(record.values()))
        values.add_values("node", record["id"], node["values"])
    return {**tables, "node": Table(table.columns, rows), **_tables(values)}


def _stored_values(tables: Tables) -> Iterator[tuple[Table, tuple[Any, ...]]]:
    table = tables.get("stored_value")
    if table is not None:
        for row in table.rows:
            yield table, row


def _tables(rows: _Rows) -> Tables:
    return {name: Table(columns, found) for name, (columns, found) in rows.tables.items()}


def _numbers(nodes: Sequence[Mapping[str, Any]], registry: Registry) -> dict[str, int | None]:
    """The number of each node: its own if that is free, for types that have numbers."""
    pools: dict[str, Numbers] = {}
    found: dict[str, int | None] = {}
    for node in sorted(nodes, key=lambda node: node.get("number") is None):
        node_type = registry.node_types.get(node["type"])
        found[node["id"]] = node.get("number")
        if node_type is not None and node_type.numbers is not None:
            pool = pools.setdefault(node_type.name, Numbers(node_type.numbers))
            wanted = pool.take(node["number"]) if node.get("number") is not None else None
            found[node["id"]] = pool.take() if wanted is None else wanted
    return found


def _add_node(rows: _Rows, node: Mapping[str, Any], number: int | None) -> None:
    rows.add(
        "node",
        id=node["id"],
        type=node["type"],
        name=node["name"],
        console=node.get("console"),
        number=number,
        properties=json.dumps(dict(node.get("properties", {})), allow_nan=False),
        state="stopped",
        fresh=1,
    )
    place = NodeLayout(**node.get("layout", {}))
    rows.add(
        "layout",
        node_id=node["id"],
        x=float(place.x),
        y=float(place.y),
        z=float(place.z),
        symbol=place.symbol,
        label=json.dumps(dict(place.label), allow_nan=False),
    )
    for wire in node.get("wires", ()):
        fields = dict(wire["nio"])
        rows.add(
            "nio",
            node_id=node["id"],
            adapter=wire["adapter"],
            port=wire["port"],
            type=fields.pop("type"),
            fields=json.dumps(fields, allow_nan=False),
        )
    rows.add_values("node", node["id"], node.get("values", {}))


def _add_link(rows: _Rows, link: Mapping[str, Any], ports: Iterable[int]) -> None:
    rows.add(
        "link",
        id=link["id"],
        wanted=AUTO,
        path=DIRECT,
        suspended=int(link.get("suspended", False)),
        filters=json.dumps(check_filters(link.get("filters", {})), allow_nan=False),
        seed=link.get("seed", 0),
    )
    for number, (end, port) in enumerate(zip(link["ends"], ports, strict=False)):
        rows.add(
            "link_end",
            link_id=link["id"],
            number=number,
            node_id=end["node_id"],
            adapter=end["adapter"],
            port=end["port"],
            local=port,
            relay=None,
        )
    rows.add_values("link", link["id"], link.get("values", {}))
