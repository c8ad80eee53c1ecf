"""Links."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aiohttp import web
from marshmallow import fields, validate

from gns3server.plugin import (
    Call,
    LinkEnd,
    LinkView,
    NotFound,
    Project,
    Route,
    send_capture,
)
from gns3server_v2.link_filters import active, descriptions, to_core
from gns3server_v2.link_wording import link_object
from gns3server_v2.nodes import find_closed, own_state
from gns3server_v2.saved import links_of
from gns3server_v2.shapes import Answer, Flag, Id, LabelShape, Request, Whole, Words
from gns3server_v2.state import KEY, LinkTold, ProjectState, change_kept, state_of
from gns3server_v2.wording import NodeWording


class EndShape(Request):
    """One end of a link."""

    node_id = Words(required=True)
    adapter_number = Whole(least=0, required=True)
    port_number = Whole(least=0, required=True)
    label = fields.Nested(LabelShape, allow_none=True)


class StyleShape(Request):
    """How a link is drawn."""

    color = Words()
    width = Whole(least=0)
    type = Whole(least=0)


class LinkUpdate(Request):
    """What is to change about a link. Of its ends, only the labels can."""

    nodes = fields.List(fields.Nested(EndShape), validate=validate.Length(max=2))
    filters = fields.Dict(keys=fields.String(), values=fields.List(fields.Raw(allow_none=True)))
    link_style = fields.Nested(StyleShape, allow_none=True)
    suspend = Flag()


class LinkRequest(LinkUpdate):
    """A new link."""

    nodes = fields.List(fields.Nested(EndShape), required=True, validate=validate.Length(equal=2))
    link_id = Id(allow_none=True)


class CaptureRequest(Request):
    """Where to capture to."""

    capture_file_name = Words(least=1, most=200, allow_none=True)
    data_link_type = Words(allow_none=True)


class FilterAnswer(Answer):
    """A filter that a link can have."""

    type = fields.String(required=True)
    name = fields.String(required=True)
    description = fields.String(required=True)
    parameters = fields.Raw(required=True)


class LinkAnswer(Answer):
    """A link."""

    link_id = fields.String(required=True)
    project_id = fields.String(required=True)
    link_type = fields.String(required=True)
    nodes = fields.Raw(required=True)
    suspend = fields.Boolean(required=True)
    filters = fields.Raw(required=True)
    link_style = fields.Raw(required=True)
    capturing = fields.Boolean(required=True)
    capture_file_name = fields.String(required=True, allow_none=True)
    capture_file_path = fields.String(required=True, allow_none=True)
    capture_compute_id = fields.String(required=True, allow_none=True)


def shown(state: ProjectState, view: LinkView) -> dict[str, Any]:
    """A link in the words of the wire."""
    return link_object(view, state.links.get(view.id, {}))


async def list_all(call: Call) -> list[Mapping[str, Any]]:
    """The links of a project, open or not."""
    if call.found_project is None:
        return await links_of(call)
    state = await own_state(call)
    return [shown(state, view) for view in call.project.links]


async def create(call: Call) -> Mapping[str, Any]:
    """Make a link."""
    project, body, state = call.project, call.body, await own_state(call)
    ends = [
        LinkEnd(end["node_id"].lower(), end["adapter_number"], end["port_number"])
        for end in body["nodes"]
    ]
    for end in ends:
        check_port(NodeWording(state_of(call.server), ""), project, end)
    link_id = body.get("link_id") or str(uuid.uuid4())
    kept = {
        "labels": [end.get("label") for end in body["nodes"]],
        **{key: body[key] for key in ("link_style", "filters") if body.get(key)},
    }
    before = state.links.get(link_id)
    # The event of the creation tells it.
    state.links.setdefault(link_id, kept)
    try:
        view = await project.links.create(
            ends,
            link_id=link_id,
            suspended=body.get("suspend", False),
            filters=active(body.get("filters", {})),
            stored={KEY: kept},
        )
    except BaseException:
        if before is None:
            state.links.pop(link_id, None)
        raise
    return shown(state, view)


def check_port(wording: NodeWording, project: Project, end: LinkEnd) -> None:
    """Refuse a port that a node does not have.

    :raises NotFound: it has no such port, or there is no such node.
    """
    view = project.nodes.get(end.node_id)
    if view.type not in wording.types:
        # Nobody knows what ports it has.
        return
    ports = wording.ports(project, view)
    if (end.adapter, end.port) not in {
        (port["adapter_number"], port["port_number"]) for port in ports
    }:
        raise NotFound(f"Node {view.name!r} has no port {end.port} on adapter {end.adapter}.")


def find(project: Project, link_id: str) -> LinkView:
    """A link of a project.

    :raises NotFound: there is none of this id.
    """
    return project.links.get(link_id.lower())


async def show(call: Call) -> Mapping[str, Any]:
    """A link of a project, open or not."""
    if call.found_project is None:
        for link in await links_of(call):
            if link.get("link_id") == call.path["link_id"].lower():
                return link
        raise NotFound(f"The project has no link {call.path['link_id']:.80}: check the id.")
    return shown(await own_state(call), find(call.project, call.path["link_id"]))


async def update(call: Call) -> Mapping[str, Any]:
    """Change how a link is drawn, and what it does to frames."""
    state, link_id = await own_state(call), find(call.project, call.path["link_id"]).id
    async with state.turn(link_id):
        return await _update(call, state, link_id)


async def _update(call: Call, state: ProjectState, link_id: str) -> Mapping[str, Any]:
    project, body, view = call.project, call.body, find(call.project, link_id)
    old = state.links.get(view.id, {})
    kept = {**old, **{key: body[key] for key in ("link_style", "filters") if key in body}}
    if "nodes" in body:
        kept["labels"] = _labels(view, old, body["nodes"])
    wanted = _wanted(view, body)
    if wanted:
        await project.links.update(view.id, **wanted)
    if kept != old:
        await change_kept(
            project,
            state.links,
            view.id,
            kept,
            store=project.links.store(view.id),
            event=("link.updated", LinkTold(view.id)),
        )
    return shown(state, find(project, view.id))


def _wanted(view: LinkView, body: Mapping[str, Any]) -> dict[str, Any]:
    """What a link shall do to frames that it does not do."""
    wanted: dict[str, Any] = {}
    if body.get("suspend", view.suspended) != view.suspended:
        wanted["suspended"] = body["suspend"]
    if "filters" in body:
        filters = to_core(body["filters"])
        if any(_differs(view.filters.get(kind), values) for kind, values in filters.items()):
            wanted["filters"] = filters
    return wanted


def _differs(now: Mapping[str, Any] | None, wanted: Mapping[str, Any] | None) -> bool:
    if now is None or wanted is None:
        return now is not wanted
    return any(now.get(name) != value for name, value in wanted.items())


def _labels(view: LinkView, old: Mapping[str, Any], ends: list[Mapping[str, Any]]) -> list[Any]:
    """The labels of both ends; one that is not given stays as it is."""
    given = {(end["node_id"].lower(), end["port_number"]): end.get("label") for end in ends}
    labels = list(old.get("labels", [None, None]))
    for number, end in enumerate(view.ends):
        label = given.get((end.node_id, end.port))
        if label is not None:
            labels[number] = {**(labels[number] or {}), **label}
    return labels


async def delete(call: Call) -> None:
    """Unplug both ends of a link, and forget it."""
    view = find(call.project, call.path["link_id"])
    await call.project.links.delete(view.id)


async def list_filters(call: Call) -> list[Mapping[str, Any]]:
    """The filters that a link can have."""
    find(call.project, call.path["link_id"])
    return list(descriptions())


async def start_capture(call: Call) -> Mapping[str, Any]:
    """Capture what a link carries into a file, in place of one of that name."""
    project, state = call.project, await own_state(call)
    view = find(project, call.path["link_id"])
    name = call.body.get("capture_file_name")
    started = await project.links.start_capture(view.id, file=name, overwrite=True)
    if started.capture is None:
        return shown(state, started)
    file = started.capture.file
    kept = {
        **state.links.get(view.id, {}),
        "capture_file_name": Path(file).name,
        "capture_file_path": str(project.path / file),
    }
    await change_kept(
        project,
        state.links,
        view.id,
        kept,
        store=project.links.store(view.id),
        event=("link.updated", LinkTold(view.id)),
    )
    return shown(state, started)


async def stop_capture(call: Call) -> Mapping[str, Any]:
    """End a capture; its file stays."""
    view = find(call.project, call.path["link_id"])
    await call.project.links.stop_capture(view.id)
    return shown(await own_state(call), find(call.project, view.id))


async def follow(call: Call) -> web.StreamResponse:
    """Send what is captured of a link."""
    return await send_capture(call, find(call.project, call.path["link_id"]).id)


async def of_node(call: Call) -> list[Mapping[str, Any]]:
    """The links of a node, whose project may be closed."""
    if call.found_project is None:
        node_id = (await find_closed(call))["node_id"]
        return [
            link
            for link in await links_of(call)
            if node_id in {end["node_id"] for end in link["nodes"]}
        ]
    state, node_id = await own_state(call), call.project.nodes.get(call.path["node_id"]).id
    return [
        shown(state, view)
        for view in call.project.links
        if node_id in {end.node_id for end in view.ends}
    ]


PATH = "/v2/projects/{project_id}/links"
LINK = f"{PATH}/{{link_id}}"
STORAGE = {507: "The records cannot be written"}

ROUTES = (
    Route(
        method="GET",
        path=PATH,
        handler=list_all,
        closed_too=True,
        any_ids=True,
        changes=False,
        tag="v2",
        summary="The links of a project, which may be closed",
        answer=LinkAnswer,
        many=True,
    ),
    Route(
        method="POST",
        path=PATH,
        handler=create,
        any_ids=True,
        status=201,
        tag="v2",
        summary="Make a link between two ports",
        body=LinkRequest,
        answer=LinkAnswer,
        errors={409: "A port is taken, or both ends are at one node", **STORAGE},
    ),
    Route(
        method="GET",
        path=LINK,
        handler=show,
        closed_too=True,
        any_ids=True,
        changes=False,
        tag="v2",
        summary="A link of a project, which may be closed",
        answer=LinkAnswer,
    ),
    Route(
        method="PUT",
        path=LINK,
        handler=update,
        any_ids=True,
        status=201,
        tag="v2",
        summary="Change how a link is drawn, and what it does to frames",
        body=LinkUpdate,
        answer=LinkAnswer,
        errors=STORAGE,
    ),
    Route(
        method="DELETE",
        path=LINK,
        handler=delete,
        any_ids=True,
        status=204,
        tag="v2",
        summary="Unplug both ends of a link, and forget it",
        errors=STORAGE,
    ),
    Route(
        method="GET",
        path=f"{LINK}/available_filters",
        handler=list_filters,
        any_ids=True,
        changes=False,
        tag="v2",
        summary="The filters that a link can have",
        answer=FilterAnswer,
        many=True,
    ),
    Route(
        method="POST",
        path=f"{LINK}/start_capture",
        handler=start_capture,
        any_ids=True,
        status=201,
        tag="v2",
        summary="Capture what a link carries",
        body=CaptureRequest,
        answer=LinkAnswer,
        errors={409: "It is captured already, or cannot be", **STORAGE},
    ),
    Route(
        method="POST",
        path=f"{LINK}/stop_capture",
        handler=stop_capture,
        any_ids=True,
        status=201,
        tag="v2",
        summary="End a capture; its file stays",
        answer=LinkAnswer,
        errors=STORAGE,
    ),
    Route(
        method="GET",
        path=f"{LINK}/pcap",
        handler=follow,
        stream=True,
        endless=True,
        any_ids=True,
        answer_type="application/vnd.tcpdump.pcap",
        changes=False,
        tag="v2",
        summary="What is captured of a link, as a stream that ends with the capture",
        errors={409: "It is not being captured, or too many follow it"},
    ),
    Route(
        method="GET",
        path="/v2/projects/{project_id}/nodes/{node_id}/links",
        handler=of_node,
        closed_too=True,
        any_ids=True,
        changes=False,
        tag="v2",
        summary="The links of a node, whose project may be closed",
        answer=LinkAnswer,
        many=True,
    ),
)
