"""Reading what a ``project.db`` or ``server.db`` holds, and believing none of it unseen.

A lab is a directory that people hand on and edit: an id out of it becomes part
of a path, and a name of a file is written to. So every value is checked.

All functions block, and raise ValueError for what no server has stored.
"""

from __future__ import annotations

import json
import sqlite3
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from gns3server.nodes.nio import Nio
from gns3server.nodes.parent import NodeRow, RunRow
from gns3server.places.paths import is_plain_name
from gns3server.running.identity import ProcessIdentity
from gns3server.running.spec import LaunchSpec

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectPlace:
    """What the server knows of a project: where it is and what may be removed with it.

    :param made_directory: the server made the directory or found it empty, so
        the whole of it goes when the project is deleted.
    """

    id: str
    path: Path
    open: bool
    made_directory: bool


@dataclass(frozen=True, slots=True)
class StoredProject:
    """Everything that a ``project.db`` holds, as it is read when a project is opened."""

    id: str
    name: str | None
    temporary: bool
    nodes: list[NodeRow]
    nios: dict[str, dict[tuple[int, int], Nio]]
    runs: list[RunRow]
    allocated_ports: list[int]
    removed_nodes: list[tuple[str, str]]
    staged_files: dict[tuple[str, str], dict[str, bytes]]


def read_places(connection: sqlite3.Connection) -> list[ProjectPlace]:
    """All projects that a server knows."""
    return [
        ProjectPlace(
            id=_id("a project's id", project_id),
            path=_directory("a project's path", path),
            open=bool(is_open),
            made_directory=bool(made_directory),
        )
        for project_id, path, is_open, made_directory in connection.execute(
            "SELECT id, path, open, made_directory FROM project"
        )
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
        id=_id("the project's id", project_id),
        name=None if name is None else _is("the project's name", name, str),
        temporary=bool(temporary),
        nodes=_nodes(connection),
        nios=_nios(connection),
        runs=_runs(connection),
        allocated_ports=[n for (n,) in connection.execute("SELECT number FROM allocated_port")],
        removed_nodes=[
            (_plain("the type of a removed node", kind), _id("a removed node's id", node_id))
            for kind, node_id in connection.execute("SELECT type, id FROM removed_node")
        ],
        staged_files=_staged_files(connection),
    )


def read_project_of(connection: sqlite3.Connection, owner: str) -> StoredProject:
    """All of the project whose records these must be."""
    stored = read_project(connection)
    if stored is None or stored.id != owner:
        whose = f"of project {stored.id}" if stored else "of no project"
        raise ValueError(f"it holds the records {whose}, not of {owner}")
    return stored


def _nodes(connection: sqlite3.Connection) -> list[NodeRow]:
    return [
        NodeRow(
            id=_id("a node's id", node_id),
            type=_plain(f"the type of node {node_id}", kind),
            name=_is(f"the name of node {node_id}", name, str),
            console=_is(f"the console of node {node_id}", console, int),
            number=None if number is None else _is(f"the number of node {node_id}", number, int),
            properties=_json(f"the properties of node {node_id}", properties, dict),
        )
        for node_id, kind, name, console, number, properties in connection.execute(
            "SELECT id, type, name, console, number, properties FROM node ORDER BY rowid"
        )
    ]


def _nios(connection: sqlite3.Connection) -> dict[str, dict[tuple[int, int], Nio]]:
    nios: dict[str, dict[tuple[int, int], Nio]] = {}
    for node_id, adapter, port, kind, fields in connection.execute(
        "SELECT node_id, adapter, port, type, fields FROM nio"
    ):
        what = f"a wire of node {node_id}"
        place = _is(what, adapter, int), _is(what, port, int)
        nio = Nio(_is(what, kind, str), _json(what, fields, dict))
        nios.setdefault(node_id, {})[place] = nio
    return nios


def _staged_files(connection: sqlite3.Connection) -> dict[tuple[str, str], dict[str, bytes]]:
    staged: dict[tuple[str, str], dict[str, bytes]] = {}
    for node_id, kind, name, content in connection.execute(
        "SELECT node_id, type, staged_file.name, content FROM staged_file "
        "JOIN node ON node.id = node_id"
    ):
        what = f"a file of node {node_id}"
        staged.setdefault((kind, node_id), {})[_plain(what, name)] = _is(what, content, bytes)
    return staged


def _runs(connection: sqlite3.Connection) -> list[RunRow]:
    runs = []
    for run_id, node_id, spec, processes in connection.execute(
        "SELECT id, node_id, spec, processes FROM run"
    ):
        what = f"run {run_id}"
        runs.append(
            RunRow(
                id=_is(what, run_id, str),
                node_id=_is(what, node_id, str),
                spec=LaunchSpec.from_json(_json(what, spec, dict)),
                processes=tuple(_process(what, value) for value in _json(what, processes, list)),
            )
        )
    return runs


def _process(what: str, value: Any) -> ProcessIdentity:
    try:
        return ProcessIdentity(
            pid=_is(what, value["pid"], int),
            start_time=_is(what, value["start_time"], int),
            boot_id=_is(what, value["boot_id"], str),
        )
    except (TypeError, KeyError) as error:
        raise ValueError(f"{what} is not readable: {error!r}") from error


def _is(what: str, value: Any, kind: type[T]) -> T:
    if type(value) is not kind:
        raise ValueError(f"{what} is not readable: {value!r:.80}")
    return value


def _json(what: str, text: Any, kind: type[T]) -> T:
    try:
        return _is(what, json.loads(_is(what, text, str)), kind)
    except json.JSONDecodeError as error:
        raise ValueError(f"{what} is not readable: {error}") from error


def _id(what: str, value: Any) -> str:
    try:
        uuid.UUID(_is(what, value, str))
    except ValueError:
        raise ValueError(f"{what} is no id: {value!r:.80}") from None
    return _plain(what, value)


def _plain(what: str, value: Any) -> str:
    if not is_plain_name(_is(what, value, str)):
        raise ValueError(f"{what} cannot be a name in a directory: {value!r:.80}")
    return str(value)


def _directory(what: str, value: Any) -> Path:
    path = Path(_is(what, value, str))
    if not path.is_absolute():
        raise ValueError(f"{what} is not absolute: {value!r:.80}")
    return path
