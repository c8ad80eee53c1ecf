"""Rows of a project for another one: with ids, consoles and ports of its own."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from gns3server.errors import Conflict
from gns3server.nodes.registry import Registry
from gns3server.ports import Holder, Use
from gns3server.running.machine import Machine
from gns3server.storage.lab_tables import Tables, remapped

IDENTIFIED = ("node", "link", "removed_node")
"""Tables whose rows have an ``id`` that must be unique on a server."""

LEFT_OUT = ("removed_node",)
"""Tables of what a new project does not go on with."""


def new_ids(labs: Iterable[Tables], project_id: str) -> dict[str, str]:
    """A new id for each node and link, and the one for the project, by the ids that they have.

    :param labs: the project, and what it was at other times: what has the same id is the same.
    """
    ids: dict[str, str] = {}
    for tables in labs:
        for value in (each for name in IDENTIFIED for each in _column(tables, name, "id")):
            ids.setdefault(value, str(uuid.uuid4()))
        ids.update(dict.fromkeys(_column(tables, "project", "id"), project_id))
    return ids


async def renewed(
    labs: Sequence[Tables],
    ids: Mapping[str, str],
    project_id: str,
    machine: Machine,
    registry: Registry,
) -> list[Tables]:
    """Rows for a project that is new and closed, with new ids, consoles and ports.

    Ids inside of values that plugins have stored stay as they are: that is their own matter.

    :param labs: the project, and what it was at other times: ports that are the same stay so.
    :param ids: as :func:`new_ids` has made them.
    :raises Conflict: no port is left.
    """
    tcp = [port for tables in labs for port in _column(tables, "node", "console")]
    udp = [port for tables in labs for port in _udp_ports(tables, registry)]
    try:
        consoles = await _other_ports(machine, "tcp", project_id, tcp)
        ports = await _other_ports(machine, "udp", project_id, udp)
    finally:
        # Nobody has a closed project's ports reserved; whoever opens it finds them free, mostly.
        machine.ports.release_project(project_id)
    return [
        _rewired(_renumbered(tables, ids, consoles, ports), ports, machine, registry)
        for tables in labs
    ]


def _renumbered(
    tables: Tables, ids: Mapping[str, str], consoles: Mapping[int, int], ports: Mapping[int, int]
) -> Tables:
    """The same rows with other ids, consoles and ports of links."""
    own = {name: table for name, table in tables.items() if name not in LEFT_OUT}
    new = remapped(own, ids)
    new = changed(new, "project", temporary=lambda _: 0)
    new = changed(
        new,
        "node",
        console=lambda value: consoles.get(value, value),
        state=lambda _: "stopped",
        fresh=lambda _: 1,
    )
    return changed(
        new,
        "link_end",
        local=lambda value: ports.get(value, value),
        relay=lambda value: ports.get(value, value),
    )


def changed(tables: Tables, name: str, /, **columns: Callable[[Any], Any]) -> Tables:
    """The same rows with other values in some columns of a table, if there is such a table."""
    if name not in tables:
        return tables
    table = tables[name]
    places = {table.columns.index(column): call for column, call in columns.items()}
    rows = [
        tuple(places[i](value) if i in places else value for i, value in enumerate(row))
        for row in table.rows
    ]
    return {**tables, name: replace(table, rows=rows)}


def _column(tables: Tables, name: str, column: str) -> list[Any]:
    if name not in tables:
        return []
    place = tables[name].columns.index(column)
    return [row[place] for row in tables[name].rows if row[place] is not None]


def _udp_ports(tables: Tables, registry: Registry) -> list[int]:
    """The ports that nodes bind for wires and links."""
    ports = [*_column(tables, "link_end", "local"), *_column(tables, "link_end", "relay")]
    kinds = _column(tables, "nio", "type")
    for kind, text in zip(kinds, _column(tables, "nio", "fields"), strict=True):
        nio_type = registry.nio_types.get(kind)
        field = None if nio_type is None else nio_type.local_udp_port
        if field is not None:
            ports.append(json.loads(text)[field])
    return ports


def _rewired(
    tables: Tables, ports: Mapping[int, int], machine: Machine, registry: Registry
) -> Tables:
    """The same rows with other ports in NIOs: those that they bind, and those of the other ends."""
    here = ("localhost", machine.address)
    if "nio" not in tables:
        return tables
    table = tables["nio"]
    kind_at, fields_at = table.columns.index("type"), table.columns.index("fields")

    def rewired(row: tuple[Any, ...]) -> tuple[Any, ...]:
        nio_type = registry.nio_types.get(row[kind_at])
        if nio_type is None or nio_type.local_udp_port is None:
            return row
        fields = json.loads(row[fields_at])
        names = [nio_type.local_udp_port]
        if nio_type.remote_host is not None and nio_type.remote_udp_port is not None:
            host = str(fields[nio_type.remote_host])
            if host in here or host.startswith("127."):
                names.append(nio_type.remote_udp_port)
        fields.update({name: ports.get(fields[name], fields[name]) for name in names})
        return tuple(json.dumps(fields) if i == fields_at else row[i] for i in range(len(row)))

    return {**tables, "nio": replace(table, rows=list(map(rewired, table.rows)))}


async def _other_ports(
    machine: Machine, kind: str, project_id: str, old: Iterable[int]
) -> dict[int, int]:
    """A free port for each of some, none of which is one of them."""
    pool, holder = machine.ports.pool(kind), Holder(project_id, Use.ALLOCATED)
    wanted = sorted(set(old))
    for port in wanted:
        with suppress(Conflict):
            pool.hold(port, holder)
    return {port: await machine.allocate_port(kind, holder) for port in wanted}
