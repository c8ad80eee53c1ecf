"""All nodes of a project at once: what they are, and their start and stop."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from gns3server.http.handlers.projects import PROJECT
from gns3server.http.routing import Call, Route
from gns3server.http.schemas import NodesOutcomeSchema, NodeSummarySchema
from gns3server.links.link import LinkView
from gns3server.nodes.view import NodeView
from gns3server.projects.project import Project

TAG = "nodes"


def describe(node: NodeView, links: Iterable[LinkView]) -> Mapping[str, Any]:
    """A node of any type, as its schema shows it.

    :param links: those of the node.
    """
    return {
        "id": node.id,
        "project_id": node.project_id,
        "type": node.type,
        "name": node.name,
        "state": node.state,
        "console": node.console,
        "runs_with": node.runs_with,
        "wires": [
            {"adapter": adapter, "port": port, "nio": nio.wire()}
            for (adapter, port), nio in sorted(node.wires.items())
        ],
        "links": [
            {"adapter": end.adapter, "port": end.port, "link_id": link.id}
            for link in links
            for end in link.ends
            if end.node_id == node.id
        ],
    }


def _all_nodes(project: Project) -> list[Mapping[str, Any]]:
    links: dict[str, list[LinkView]] = {}
    for link in project.links:
        for end in link.ends:
            links.setdefault(end.node_id, []).append(link)
    return [describe(node, links.get(node.id, ())) for node in project.nodes]


async def list_nodes(call: Call) -> list[Mapping[str, Any]]:
    """All nodes of a project, in the order in which they were created."""
    return _all_nodes(call.project)


async def start(call: Call) -> Mapping[str, Any]:
    """Start all nodes; those that run are left alone."""
    return _outcome(call, await call.project.nodes.start_all())


async def stop(call: Call) -> Mapping[str, Any]:
    """Stop all nodes."""
    return _outcome(call, await call.project.nodes.stop_all())


def _outcome(call: Call, failed: Mapping[str, str]) -> Mapping[str, Any]:
    """What went wrong with which nodes.

    :raises NotFound: the project was closed meanwhile.
    """
    call.project.check_open()
    return {
        "nodes": _all_nodes(call.project),
        "failed": [{"id": node_id, "message": text} for node_id, text in failed.items()],
    }


ROUTES = (
    Route(
        method="GET",
        path=f"{PROJECT}/nodes",
        handler=list_nodes,
        changes=False,
        tag=TAG,
        summary="All nodes of a project, of every type, with their wires",
        answer=NodeSummarySchema,
        many=True,
    ),
    Route(
        method="POST",
        path=f"{PROJECT}/start",
        handler=start,
        tag=TAG,
        summary="Start all nodes of a project; the answer says which did not start, and why",
        answer=NodesOutcomeSchema,
    ),
    Route(
        method="POST",
        path=f"{PROJECT}/stop",
        handler=stop,
        tag=TAG,
        summary="Stop all nodes of a project; the answer says what went wrong with which",
        answer=NodesOutcomeSchema,
    ),
)
