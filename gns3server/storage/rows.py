"""Reading what a ``project.db`` or ``server.db`` holds, trusting none of it unchecked.

A lab is a directory that people pass on and edit: an id from it becomes part
of a path, and a file name from it is written to. So every value is checked.

All functions block, and raise ValueError for what no server could have stored.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gns3server.running.identity import ProcessIdentity
from gns3server.running.spec import LaunchSpec
from gns3server.running.values import exactly, plain_name
from gns3server.storage.link_rows import CaptureRow, LinkRow, read_captures, read_links
from gns3server.storage.row_checks import id_of, json_value, parsed
from gns3server.storage.snapshot_rows import (
    RestorationRow,
    SnapshotRow,
    read_restorations,
    read_snapshots,
)

NODE_STATES = ("stopped", "started", "suspended")
"""The states that a node may have on record."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeRow:
    """A node as it is stored.

    :param state: one of :data:`NODE_STATES`; for a started node, a run on record tells more.
    :param fresh: its plugin may not know yet that it was created.
    """

    id: str
    type: str
    name: str
    console: int | None
    number: int | None
    properties: Mapping[str, Any]
    state: str = "stopped"
    fresh: bool = False


@dataclass(frozen=True, slots=True)
class Owner:
    """What a run or a stored value belongs to: ``node`` and its id, for instance."""

    kind: str
    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRow:
    """A run as it is stored: first the intent to spawn, then the processes it has.

    :param processes: main process first; empty while only intended.
    """

    id: str
    owner: Owner
    spec: LaunchSpec
    processes: tuple[ProcessIdentity, ...] = ()


@dataclass(frozen=True, slots=True)
class NioRow:
    """A NIO as it is stored: the name of its type, and the other fields."""

    type: str
    fields: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeLayout:
    """Where a node is drawn, and how.

    :param x: and ``y``: in pixels, on a drawing without bounds; they grow right and down.
    :param z: the node with the greater value is drawn on top.
    :param symbol: names a picture, as defined by the client that draws.
    :param label: how its name is written, as defined by the client that draws.
    """

    x: float = 0.0
    y: float = 0.0
    z: float = 0.0
    symbol: str = ""
    label: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectPlace:
    """What the server knows about a project: where it is and what may be removed with it.

    :param path: its real directory, which is compared and protected.
    :param given: the same as the client has written it, perhaps through a link; for answers.
    :param made_directory: the server made the directory or found it empty, so
        the whole of it goes when the project is deleted.
    """

    id: str
    path: Path
    given: str
    open: bool
    made_directory: bool


@dataclass(frozen=True, slots=True)
class ArrivalRow:
    """A directory that is being filled for a new project, and is ours until then."""

    id: str
    path: Path


@dataclass(frozen=True, slots=True)
class StoredProject:
    """Everything that a ``project.db`` holds, as it is read when a project is opened."""

    id: str
    name: str | None
    temporary: bool
    nodes: list[NodeRow]
    nios: dict[str, dict[tuple[int, int], NioRow]]
    runs: list[RunRow]
    allocated_ports: list[int]
    removed_nodes: list[tuple[str, str]]
    staged_files: dict[tuple[str, str], dict[str, bytes]]
    values: dict[tuple[Owner, str], dict[str, Any]]
    """By owner and plugin."""
    layout: dict[str, NodeLayout] = field(default_factory=dict)
    """By node."""
    links: list[LinkRow] = field(default_factory=list)
    captures: dict[str, CaptureRow] = field(default_factory=dict)
    """By link."""
    snapshots: list[SnapshotRow] = field(default_factory=list)
    restorations: list[RestorationRow] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class StoredServer:
    """What a ``server.db`` holds, but for the values of plugins, which are checked all the same."""

    places: list[ProjectPlace]
    runs: list[RunRow]
    arrivals: list[ArrivalRow] = field(default_factory=list)


def read_server(connection: sqlite3.Connection) -> StoredServer:
    """All that a server knows."""
    _values(connection)
    return StoredServer(
        places=_places(connection), runs=read_runs(connection), arrivals=read_arrivals(connection)
    )


def _places(connection: sqlite3.Connection) -> list[ProjectPlace]:
    return [
        ProjectPlace(
            id=id_of("a project's id", project_id),
            path=_directory("a project's path", path),
            given=exactly("a project's path as it was given", given, str),
            open=bool(is_open),
            made_directory=bool(made_directory),
        )
        for project_id, path, given, is_open, made_directory in connection.execute(
            "SELECT id, path, given, open, made_directory FROM project"
        )
    ]


def read_arrivals(connection: sqlite3.Connection) -> list[ArrivalRow]:
    """The directories that are being filled for new projects."""
    return [
        ArrivalRow(
            id_of("a new project's id", project_id), _directory("a new project's path", path)
        )
        for project_id, path in connection.execute("SELECT id, path FROM arrival")
    ]


def read_project(connection: sqlite3.Connection) -> StoredProject | None:
    """All of a project; ``None`` if there is none yet."""
    projects = connection.execute("SELECT id, name, temporary FROM project").fetchall()
    if not projects:
        return None
    if len(projects) > 1:
        raise ValueError(f"it holds {len(projects)} projects")
    ((project_id, name, temporary),) = projects
    return StoredProject(
        id=id_of("the project's id", project_id),
        name=None if name is None else exactly("the project's name", name, str),
        temporary=bool(temporary),
        nodes=_nodes(connection),
        nios=_nios(connection),
        runs=read_runs(connection),
        allocated_ports=[n for (n,) in connection.execute("SELECT number FROM allocated_port")],
        removed_nodes=[
            (
                plain_name("the type of a removed node", kind),
                id_of("a removed node's id", node_id),
            )
            for kind, node_id in connection.execute("SELECT type, id FROM removed_node")
        ],
        staged_files=_staged_files(connection),
        values=_values(connection),
        layout=_layout(connection),
        links=read_links(connection),
        captures=read_captures(connection),
        snapshots=read_snapshots(connection),
        restorations=read_restorations(connection),
    )


def read_runs(connection: sqlite3.Connection) -> list[RunRow]:
    """All runs on record, of a project or of the server itself."""
    runs = []
    for run_id, owner_kind, owner_id, spec, processes in connection.execute(
        "SELECT id, owner_kind, owner_id, spec, processes FROM run"
    ):
        what = f"run {run_id}"
        runs.append(
            RunRow(
                id=exactly(what, run_id, str),
                owner=Owner(exactly(what, owner_kind, str), exactly(what, owner_id, str)),
                spec=LaunchSpec.from_json(json_value(what, spec, dict)),
                processes=tuple(
                    _process(what, value) for value in json_value(what, processes, list)
                ),
            )
        )
    return runs


def read_project_of(connection: sqlite3.Connection, owner: str) -> StoredProject:
    """All of the project that these records must belong to."""
    stored = read_project(connection)
    if stored is None or stored.id != owner:
        whose = f"of project {stored.id}" if stored else "of no project"
        raise ValueError(f"it holds the records {whose}, not of {owner}")
    return stored


def _nodes(connection: sqlite3.Connection) -> list[NodeRow]:
    return [
        NodeRow(
            id=id_of("a node's id", node_id),
            type=plain_name(f"the type of node {node_id}", kind),
            name=exactly(f"the name of node {node_id}", name, str),
            console=None
            if console is None
            else exactly(f"the console of node {node_id}", console, int),
            number=None
            if number is None
            else exactly(f"the number of node {node_id}", number, int),
            properties=json_value(f"the properties of node {node_id}", properties, dict),
            state=_state(f"the state of node {node_id}", state),
            fresh=bool(fresh),
        )
        for node_id, kind, name, console, number, properties, state, fresh in connection.execute(
            "SELECT id, type, name, console, number, properties, state, fresh FROM node "
            "ORDER BY rowid"
        )
    ]


def _nios(connection: sqlite3.Connection) -> dict[str, dict[tuple[int, int], NioRow]]:
    nios: dict[str, dict[tuple[int, int], NioRow]] = {}
    for node_id, adapter, port, kind, fields in connection.execute(
        "SELECT node_id, adapter, port, type, fields FROM nio"
    ):
        what = f"a wire of node {node_id}"
        place = exactly(what, adapter, int), exactly(what, port, int)
        nio = NioRow(exactly(what, kind, str), json_value(what, fields, dict))
        nios.setdefault(node_id, {})[place] = nio
    return nios


def _staged_files(connection: sqlite3.Connection) -> dict[tuple[str, str], dict[str, bytes]]:
    staged: dict[tuple[str, str], dict[str, bytes]] = {}
    for node_id, kind, name, content in connection.execute(
        "SELECT node_id, type, staged_file.name, content FROM staged_file "
        "JOIN node ON node.id = node_id"
    ):
        what = f"a file of node {node_id}"
        staged.setdefault((kind, node_id), {})[plain_name(what, name)] = exactly(
            what, content, bytes
        )
    return staged


def _values(connection: sqlite3.Connection) -> dict[tuple[Owner, str], dict[str, Any]]:
    values: dict[tuple[Owner, str], dict[str, Any]] = {}
    for kind, owner_id, plugin, key, text in connection.execute(
        "SELECT owner_kind, owner_id, plugin, key, value FROM stored_value"
    ):
        what = f"a value of {kind!r:.80} {owner_id!r:.80}"
        owner = Owner(exactly(what, kind, str), exactly(what, owner_id, str))
        own = values.setdefault((owner, exactly(what, plugin, str)), {})
        own[exactly(what, key, str)] = parsed(what, text)
    return values


def _layout(connection: sqlite3.Connection) -> dict[str, NodeLayout]:
    layout = {}
    for node_id, *place, symbol, label in connection.execute(
        "SELECT node_id, x, y, z, symbol, label FROM layout"
    ):
        what = f"the place of node {node_id!r:.80}"
        x, y, z = (exactly(what, value, float) for value in place)
        layout[exactly(what, node_id, str)] = NodeLayout(
            x=x, y=y, z=z, symbol=exactly(what, symbol, str), label=json_value(what, label, dict)
        )
    return layout


def _process(what: str, value: Any) -> ProcessIdentity:
    try:
        return ProcessIdentity(
            pid=exactly(what, value["pid"], int),
            start_time=exactly(what, value["start_time"], int),
            boot_id=exactly(what, value["boot_id"], str),
        )
    except (TypeError, KeyError) as error:
        raise ValueError(f"{what} is not readable: {error!r}") from error


def _state(what: str, value: Any) -> str:
    if value not in NODE_STATES:
        raise ValueError(f"{what} is not one that is ever stored: {value!r:.80}")
    return str(value)


def _directory(what: str, value: Any) -> Path:
    path = Path(exactly(what, value, str))
    if not path.is_absolute():
        raise ValueError(f"{what} is not absolute: {value!r:.80}")
    return path
