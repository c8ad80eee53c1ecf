"""The place of a request in the queue of its project, held from the arrival of its head on.

Clients rely on the order of their requests, and send bodies a moment after the heads, so the order
is that of the heads. A body that does not come must not hold up the others for long.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from aiohttp import StreamReader

from gns3server.errors import InvalidRequest, NotFound
from gns3server.http.bodies import waits_to_be_asked
from gns3server.http.routing import Call, Scope
from gns3server.links.link import LinkEnd
from gns3server.locks import LockRequest
from gns3server.nodes.node import Node
from gns3server.projects.project import Project
from gns3server.server import Server

BODY_PATIENCE = 1.0
"""Seconds after its head for which a request whose turn has come may keep others waiting for its
body. Clients send it a moment later: the client of 2015 after 40 ms.
"""


def find_project(server: Server, project_id: str) -> Project:
    """An open project by the id in a path.

    :raises InvalidRequest: that is not an id.
    :raises NotFound: no project has that id.
    :raises Conflict: it is damaged.
    """
    try:
        return server.projects.get(project_id)
    except NotFound as error:
        raise unknown_id("project", project_id, error) from None


def find_node(call: Call) -> Node:
    """The node whose id the path has.

    :raises InvalidRequest: that is not an id.
    :raises NotFound: the project has no node of that id and of the route's type.
    """
    node_id, node_type = call.path[call.route.node_parameter], call.route.node_type
    try:
        if node_type is not None:
            return call.project.members.get(node_type, node_id)
        node = call.project.members.find(node_id)
        if node is None:
            raise NotFound(
                f"Project {call.project.id} has no VM with the id {node_id}: check both ids, or "
                "create the VM first."
            )
    except NotFound as error:
        if call.route.any_ids:
            raise
        raise unknown_id("VM", node_id, error) from None
    return node


def _project_of(call: Call, project_id: str) -> Project:
    if call.route.any_ids:
        return call.server.projects.get(project_id)
    return find_project(call.server, project_id)


def unknown_id(kind: str, text: str, error: NotFound) -> NotFound | InvalidRequest:
    """The error for an id that nothing has: it may not be an id at all (HTTP-11)."""
    try:
        uuid.UUID(text)
    except ValueError:
        return InvalidRequest(f"{text!r} is not a {kind} id: an id is a UUID of 36 characters.")
    return error


async def read_in_line(call: Call, read: Callable[[Call], Awaitable[None]]) -> None:
    """Queue for what a request works on, and keep the place while its body is read.

    The place is taken without awaiting anything. It is kept until the turn has
    come, and then until :data:`BODY_PATIENCE` after the head; once lost, it is taken anew when
    the body is there. If the body cannot be used or the client goes away, it is given back.
    A request whose path names no project has nothing to queue for.

    :param read: reads the rest of the request.
    :raises InvalidRequest: the project id in the path is not an id.
    :raises NotFound: no such project is open, or no longer, and the route wants an open one.
    :raises Conflict: it is damaged.
    """
    if "project_id" not in call.path:
        await read(call)
        return
    content = call.request.content
    complete = content.is_eof()
    try:
        _join(call)
    except InvalidRequest:
        if not waits_to_be_asked(call.request):
            # The answer repeats the body.
            await read(call)
        raise
    entry = call.entry
    timer = None if complete or entry is None else _give_up_when_late(entry, content)
    try:
        await read(call)
    except BaseException:
        if entry is not None:
            entry.leave()
        raise
    finally:
        if timer is not None:
            timer.cancel()
    if not complete and (entry is None or entry.given_up):
        _join(call)
    if call.entry is not None and call.route.creates:
        call.entry.narrow(*_named(call.body))


def _join(call: Call) -> None:
    """Find the project that the path names, and join its queue as the route's scope says."""
    project_id = call.path["project_id"]
    if call.route.damaged_too and project_id in call.server.projects.damaged:
        return
    try:
        project = call.found_project = _project_of(call, project_id)
    except NotFound:
        if call.route.closed_too:
            return
        raise
    match call.route.scope:
        case Scope.NODE:
            node_id = call.path[call.route.node_parameter]
            others = project.wires.neighbours(node_id) if call.route.neighbours_too else ()
            call.entry = project.enter(node_id, *others)
        case Scope.LINK:
            link_id = call.path["link_id"]
            call.entry = project.enter(link_id, *_ends(project, link_id))
        case Scope.PROJECT:
            call.entry = project.enter(creating=call.route.creates)
        case Scope.WHOLE_PROJECT:
            call.entry = project.enter(exclusive=True)
        case Scope.SERVER | Scope.FIND_NODE:
            call.entry = None


def _named(body: Mapping[str, Any]) -> list[str]:
    """The ids in a body: of what is to be made, and of the nodes that it joins."""
    wanted = body.get("id")
    nodes = [end.node_id for end in body.get("ends", ()) if isinstance(end, LinkEnd)]
    return [*([wanted] if isinstance(wanted, str) else []), *nodes]


async def hold_all(call: Call) -> None:
    """Wait for everything that a request works on besides what its path names.

    The links of a node, or a link itself, may have been made after the request joined the queue.
    """
    if call.entry is None:
        return
    if call.route.scope is Scope.LINK:
        await call.entry.widen(*_ends(call.project, call.path["link_id"]))
    elif call.route.neighbours_too:
        node_id = call.path[call.route.node_parameter]
        while more := call.project.wires.neighbours(node_id).difference(call.entry.keys):
            await call.entry.widen(*more)


def _ends(project: Project, link_id: str) -> list[str]:
    link = project.wires.find(link_id)
    return [] if link is None else [end.node_id for end in link.ends]


def _give_up_when_late(entry: LockRequest, body: StreamReader) -> asyncio.TimerHandle:
    """Give a place back if its turn has come and the body is late."""

    def give_up(_turn: object) -> None:
        if not body.is_eof():
            entry.leave()

    loop = asyncio.get_running_loop()
    return loop.call_later(BODY_PATIENCE, entry.turn.add_done_callback, give_up)
