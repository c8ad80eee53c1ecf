"""Making a project of what a ``project.gns3`` says."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from gns3server.plugin import Conflict, InvalidRequest, LabError, LinkEnd, NodeType, Project
from gns3server_v2.link_filters import active
from gns3server_v2.making import KEPT, PLACED, fitting, make_node, naming
from gns3server_v2.state import DRAWING, KEY, ProjectState, ServerState
from gns3server_v2.wording import PROJECT_VALUES

log = logging.getLogger(__name__)

OF_FILE = "file"
"""Where the keys of a file are kept that nobody knows here, to be written back."""

NODE_KEYS = frozenset({*KEPT, *PLACED, "name", "node_id", "node_type", "console", "properties"})
"""The keys of a node in a file that mean something here."""

FILE_KEYS = frozenset(
    {*PROJECT_VALUES, "name", "project_id", "revision", "type", "version", "topology"}
)


def values_of(document: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a project that a file describes."""
    known = {key: document.get(key, default) for key, default in PROJECT_VALUES.items()}
    rest = {key: value for key, value in document.items() if key not in FILE_KEYS}
    return {**known, **({OF_FILE: rest} if rest else {})}


async def build(state: ServerState, project: Project, document: Mapping[str, Any]) -> None:
    """Make everything that a checked file describes, in a project that is empty.

    What does not fit here is left out, and the log says so: a link at a port that is not there,
    or a console that is taken, which is replaced.

    :raises LabError: a node cannot be made.
    """
    own, topology = await state.of(project), document["topology"]
    for node in topology["nodes"]:
        await _build_node(state, project, own, node)
    for link in topology["links"]:
        await _build_link(project, own, link)
    for drawing in topology["drawings"]:
        kept = {key: value for key, value in drawing.items() if key != "drawing_id"}
        own.drawings[drawing["drawing_id"]] = kept
        await project.store.set(f"{DRAWING}{drawing['drawing_id']}", kept)


async def _build_node(
    state: ServerState, project: Project, own: ProjectState, node: Mapping[str, Any]
) -> None:
    kind = state.server.registry.node_types.get(node["node_type"])
    rest = {key: value for key, value in node.items() if key not in NODE_KEYS}
    with naming(own, project, node["name"]) as name:
        if kind is None:
            await _park(project, own, {**node, "name": name})
            return
        try:
            await _make(project, own, kind, {**node, "name": name}, rest)
        except (Conflict, InvalidRequest) as error:
            # Its console may be taken here.
            log.info("node %r gets another console: %s", name, error)
            await _make(project, own, kind, {**node, "name": name, "console": None}, rest)


async def _make(
    project: Project,
    own: ProjectState,
    kind: NodeType,
    node: Mapping[str, Any],
    rest: Mapping[str, Any],
) -> None:
    body = {**fitting(node, kind), OF_FILE: rest}
    await make_node(project, own, kind, name=node["name"], body=body, node_id=node["node_id"])


def kept_of_file(node: Mapping[str, Any]) -> dict[str, Any]:
    """What is kept of a node that a file describes, and that nothing here can run."""
    kept = {key: node[key] for key in (*KEPT, "console", "properties") if key in node}
    rest = {key: value for key, value in node.items() if key not in NODE_KEYS}
    return {**kept, OF_FILE: rest}


async def _park(project: Project, own: ProjectState, node: Mapping[str, Any]) -> None:
    """Keep a node that nothing here can run, with all that its file says of it."""
    kept = kept_of_file(node)
    layout = {key: node[key] for key in PLACED if node.get(key) is not None}
    own.nodes[node["node_id"]] = kept
    try:
        await project.nodes.park(
            node["node_type"],
            node["name"],
            node_id=node["node_id"],
            layout={"z": 1, **layout},
            stored={KEY: kept},
        )
    except BaseException:
        own.nodes.pop(node["node_id"], None)
        raise


async def _build_link(project: Project, own: ProjectState, link: Mapping[str, Any]) -> None:
    ends = [
        LinkEnd(end["node_id"].lower(), end["adapter_number"], end["port_number"])
        for end in link["nodes"]
    ]
    kept = {
        "labels": [end.get("label") for end in link["nodes"]],
        **{key: link[key] for key in ("filters", "link_style") if link[key]},
    }
    own.links[link["link_id"]] = kept
    try:
        await project.links.create(
            ends,
            link_id=link["link_id"],
            suspended=link["suspend"],
            filters=active(link["filters"]),
            stored={KEY: kept},
        )
    except LabError as error:
        own.links.pop(link["link_id"], None)
        log.warning("project %s: a link of its file is left out: %s", project.id, error)
