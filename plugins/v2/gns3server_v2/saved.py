"""``project.gns3``: what a project is, in a file that other servers read, and that tells of closed
projects here. It is written whenever a project is closed.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from gns3server.plugin import Call, LinkEnd, LinkView, NodeLayout, Project, ProjectEntry
from gns3server_v2.link_wording import link_object
from gns3server_v2.making import OWN_FIELDS
from gns3server_v2.names import ALWAYS_STARTED, NODE_TYPES
from gns3server_v2.ports import foreign_ports
from gns3server_v2.state import DRAWING, KEY, ServerState, grid_place, state_of
from gns3server_v2.wording import FILE_NAME, PROJECT_VALUES, NodeWording, project_object

log = logging.getLogger(__name__)

REVISION = 9
"""The format of the file."""

LARGEST = 64 * 1024 * 1024
"""How large the file may be."""

NOT_SAVED = frozenset(
    {"project_id", "status", "ports", "command_line", "node_directory", "console_host"}
)
"""What a file leaves out of a node: it is known without, or is of one server only."""


def _is_node(value: Any) -> bool:
    return (
        _has_text(value, "node_id")
        and _has_text(value, "name")
        and value.get("node_type") in NODE_TYPES
        and isinstance(value.get("properties", {}), Mapping)
    )


def _is_link(value: Any) -> bool:
    ends = value.get("nodes") if _has_text(value, "link_id") else None
    return isinstance(ends, list) and all(_has_text(end, "node_id") for end in ends)


def _has_text(value: Any, key: str) -> bool:
    return isinstance(value, Mapping) and isinstance(value.get(key), str)


IS_ONE: Mapping[str, Callable[[Any], bool]] = {
    "nodes": _is_node,
    "links": _is_link,
    "drawings": partial(_has_text, key="drawing_id"),
}
"""What tells whether a value of a file is a node, a link or a drawing."""


@dataclass(frozen=True, slots=True)
class Saved:
    """What a file says of a project."""

    name: str | None = None
    values: Mapping[str, Any] = field(default_factory=dict)
    topology: Mapping[str, Any] = field(default_factory=dict)

    def objects(self, kind: str) -> list[dict[str, Any]]:
        """The nodes, links or drawings. Somebody may have edited the file: the rest is left out."""
        found = self.topology.get(kind)
        if not isinstance(found, list):
            return []
        return [dict(each) for each in found if IS_ONE[kind](each)]


NOTHING = Saved()


def document(state: ServerState, project: Project) -> dict[str, Any]:
    """What the file of an open project says."""
    kept, wording = state.peek(project.id), NodeWording(state, "")
    nodes = [wording.node(project, view) for view in project.nodes]
    return _file(
        state,
        (project.id, project.name),
        kept.settings or {},
        drawings=kept.drawings,
        nodes=[_saved_node(node, kept.nodes.get(node["node_id"], {})) for node in nodes],
        links=[_saved_link(link, kept.links.get(link.id, {})) for link in project.links],
    )


def document_of_records(state: ServerState, records: Mapping[str, Any]) -> dict[str, Any]:
    """What the file of a project says that is known by its records, as of a snapshot.

    :param records: as :attr:`gns3server.plugin.Archive.records`.
    """
    values = records["values"].get(KEY, {})
    drawings = {
        key.removeprefix(DRAWING): value for key, value in values.items() if key.startswith(DRAWING)
    }
    links = []
    for link in records["links"]:
        first, second = (LinkEnd(**end) for end in link["ends"])
        view = LinkView(
            id=link["id"],
            project_id=records["id"],
            ends=(first, second),
            suspended=link["suspended"],
            filters=link["filters"],
        )
        links.append(_saved_link(view, _kept(link)))
    nodes = [_recorded_node(state, *each) for each in enumerate(records["nodes"])]
    told = records["id"], records["name"]
    own = values.get(KEY) or {}
    return _file(state, told, own, drawings=drawings, nodes=nodes, links=links)


def _kept(record: Mapping[str, Any]) -> dict[str, Any]:
    """What clients have said of a node or link on record."""
    kept: dict[str, Any] = record["values"].get(KEY, {}).get(KEY, {})
    return kept


def _recorded_node(state: ServerState, number: int, node: Mapping[str, Any]) -> dict[str, Any]:
    wording, kept, place = NodeWording(state, ""), _kept(node), NodeLayout(**node["layout"])
    kind, properties = wording.types.get(node["type"]), node["properties"]
    if kind is not None:
        dumped = kind.create_schema().dump(properties)
        properties = {key: value for key, value in dumped.items() if key not in OWN_FIELDS}
    if not kept and place == NodeLayout():
        place = grid_place(number)
    lasting = wording.lasting(
        (node["id"], node["type"], node["name"]),
        kept,
        console=node["console"],
        properties=properties,
        place=place,
    )
    return _saved_node(lasting, kept)


def _file(
    state: ServerState,
    told: tuple[str, str | None],
    values: Mapping[str, Any],
    *,
    drawings: Mapping[str, Mapping[str, Any]],
    nodes: list[dict[str, Any]],
    links: list[dict[str, Any]],
) -> dict[str, Any]:
    """A whole file.

    :param told: the project's id and name.
    :param values: those of the project in this API.
    """
    return {
        **values.get("file", {}),
        "name": told[1] or "",
        "project_id": told[0],
        "revision": REVISION,
        "type": "topology",
        "version": state.config["version"],
        **{key: values.get(key, default) for key, default in PROJECT_VALUES.items()},
        "topology": {
            "computes": [],
            "drawings": [{"drawing_id": key, **drawing} for key, drawing in drawings.items()],
            "links": links,
            "nodes": nodes,
        },
    }


def _saved_node(node: Mapping[str, Any], kept: Mapping[str, Any]) -> dict[str, Any]:
    """A node as files have it, with what an earlier file has said that means nothing here."""
    own = {key: value for key, value in node.items() if key not in NOT_SAVED}
    return {**own, **kept.get("file", {})}


def _saved_link(view: LinkView, kept: Mapping[str, Any]) -> dict[str, Any]:
    link = link_object(view, kept)
    return {key: link[key] for key in ("link_id", "nodes", "filters", "link_style", "suspend")}


async def save(state: ServerState, project: Project) -> None:
    """Write the file of a project. If that fails, the log says so: nothing else is lost."""
    text = json.dumps(document(state, project), indent=4, sort_keys=True)
    await write_file(Path(project.path) / FILE_NAME, text)


async def write_file(path: Path, text: str) -> None:
    """Write a project file. If that fails, the log says so."""
    try:
        await asyncio.to_thread(_write, path, text)
    except OSError as error:
        log.warning("%s was not written: %s", path, error)


async def remove_file(path: Path) -> None:
    """Remove a project file that was written here. If that fails, the log says so."""
    try:
        await asyncio.to_thread(path.unlink, missing_ok=True)
    except OSError as error:
        log.warning("%s was not removed: %s", path, error)


async def saved_document(entry: ProjectEntry) -> dict[str, Any]:
    """The whole file of a closed project; empty if it has none that can be read."""

    def read() -> dict[str, Any]:
        try:
            content = (entry.path / FILE_NAME).read_bytes()
            value = json.loads(content)
        except (OSError, ValueError, RecursionError):
            return {}
        return value if isinstance(value, dict) else {}

    return await asyncio.to_thread(read)


def _write(path: Path, text: str) -> None:
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=".gns3-")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
    # So that the new name is there after a power cut as well.
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


async def saved(state: ServerState, entry: ProjectEntry) -> Saved:
    """What the file of a closed project says; nothing if it has none that can be read."""
    return await asyncio.to_thread(_read, state.files, entry.path / FILE_NAME)


def _read(known: dict[Path, tuple[Any, Saved]], path: Path) -> Saved:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            stamp = (status.st_ino, status.st_size, status.st_mtime_ns)
            if path in known and known[path][0] == stamp:
                return known[path][1]
            content = file.read(LARGEST + 1)
        if len(content) > LARGEST:
            raise ValueError("it is too large")
        found = _parsed(json.loads(content))
    except (OSError, ValueError, RecursionError) as error:
        if not isinstance(error, FileNotFoundError):
            log.info("%s cannot be used: %s", path, error)
        known.pop(path, None)
        return NOTHING
    known[path] = stamp, found
    return found


def _parsed(value: Any) -> Saved:
    if not isinstance(value, Mapping):
        raise ValueError("it is no object")
    name, topology = value.get("name"), value.get("topology")
    return Saved(
        name if isinstance(name, str) and name else None,
        {
            key: value[key]
            for key, usual in PROJECT_VALUES.items()
            if key in value and (usual is None or type(value[key]) is type(usual))
        },
        topology if isinstance(topology, Mapping) else {},
    )


async def closed_project(state: ServerState, entry: ProjectEntry) -> dict[str, Any]:
    """A project that is not open."""
    found = await saved(state, entry)
    return project_object(entry.id, found.name, str(entry.path), "closed", found.values)


async def of_closed(call: Call) -> Saved:
    """What is known of the closed project that the path names."""
    state = state_of(call.server)
    entry = call.server.projects.entry(call.project_id)
    return NOTHING if entry is None else await saved(state, entry)


async def drawings_of(call: Call) -> list[Mapping[str, Any]]:
    """The drawings of the closed project that the path names."""
    found = (await of_closed(call)).objects("drawings")
    return [{**drawing, "project_id": call.project_id} for drawing in found]


async def nodes_of(call: Call) -> list[Mapping[str, Any]]:
    """The nodes of the closed project that the path names."""
    found = (await of_closed(call)).objects("nodes")
    return [
        {
            **node,
            "project_id": call.project_id,
            "status": "started" if node.get("node_type") in ALWAYS_STARTED else "stopped",
            "ports": foreign_ports(node),
            "command_line": "",
            "node_directory": None,
            "console_host": call.server.settings.console_host,
        }
        for node in found
    ]


async def links_of(call: Call) -> list[Mapping[str, Any]]:
    """The links of the closed project that the path names."""
    idle = {"capturing": False, "capture_file_name": None, "capture_file_path": None}
    return [
        {
            "link_style": {},
            "filters": {},
            "suspend": False,
            **link,
            **idle,
            "capture_compute_id": None,
            "project_id": call.project_id,
            "link_type": "ethernet",
        }
        for link in (await of_closed(call)).objects("links")
    ]
