"""Nodes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gns3server.plugin import (
    Call,
    Conflict,
    Event,
    Forbidden,
    NodeState,
    NodeView,
    NotFound,
    Project,
    Route,
    Scope,
)
from gns3server_v2.making import (
    ALSO_TAKEN,
    KEPT,
    PLACED,
    from_template,
    make_node,
    naming,
    sorted_properties,
)
from gns3server_v2.node_shapes import (
    DuplicateRequest,
    FromTemplateRequest,
    NodeAnswer,
    NodeRequest,
    NodeUpdate,
)
from gns3server_v2.saved import nodes_of
from gns3server_v2.state import KEY, NodeTold, ProjectState, state_of
from gns3server_v2.wording import NodeWording

LIMIT = 600.0
"""Seconds that work on all nodes of a project may take."""


def wording(call: Call) -> NodeWording:
    """Words nodes for the client of a request."""
    return NodeWording(state_of(call.server), call.request.url.host or "")


def shown(call: Call, view: NodeView) -> dict[str, Any]:
    """A node in the words of the wire."""
    return wording(call).node(call.project, view)


async def own_state(call: Call) -> ProjectState:
    """What is kept of the project that the path names."""
    return await state_of(call.server).of(call.project)


async def list_all(call: Call) -> list[Mapping[str, Any]]:
    """The nodes of a project, open or not."""
    if call.found_project is None:
        return await nodes_of(call)
    await own_state(call)
    words = wording(call)
    return [words.node(call.project, view) for view in call.project.nodes]


async def create(call: Call) -> Mapping[str, Any]:
    """Make a node."""
    body, project = call.body, call.project
    kind = call.server.registry.node_types.get(body["node_type"])
    if kind is None:
        raise Conflict(
            f"Nodes of the type {body['node_type']!r} cannot be made here: no plugin of this "
            "server offers it."
        )
    state = await own_state(call)
    with naming(state, project, body["name"]) as name:
        view = await make_node(
            project, state, kind, name=name, body=body, node_id=body.get("node_id")
        )
    return shown(call, view)


async def create_from_template(call: Call) -> Mapping[str, Any]:
    """Make a node from a template."""
    if call.found_project is None:
        raise Forbidden("The project is closed: open it first.")
    body, project = call.body, call.project
    templates = state_of(call.server).templates
    template = await templates.get(call.path["template_id"])
    kind, state = templates.kind(template), await own_state(call)
    wanted = body.get("name") or template["default_name_format"]
    values = {**from_template(template, kind), "x": body["x"], "y": body["y"]}
    with naming(state, project, wanted, template["name"]) as name:
        view = await make_node(project, state, kind, name=name, body=values)
    return shown(call, view)


async def find_closed(call: Call) -> Mapping[str, Any]:
    """The node that the path names, of a project that is closed.

    :raises NotFound: there is none.
    """
    for node in await nodes_of(call):
        if node.get("node_id") == call.path["node_id"].lower():
            return node
    raise NotFound(f"The project has no node {call.path['node_id']:.80}: check the id.")


async def show(call: Call) -> Mapping[str, Any]:
    """A node."""
    if call.found_project is None:
        return await find_closed(call)
    await own_state(call)
    return shown(call, call.project.nodes.get(call.path["node_id"]))


async def update(call: Call) -> Mapping[str, Any]:
    """Change a node, all of it or nothing."""
    project, view = call.project, call.project.nodes.get(call.node.id)
    state = await own_state(call)
    body = {key: value for key, value in call.body.items() if value is not None}
    name = body.get("name", view.name)
    if name != view.name and name in project.nodes.names().values():
        raise Conflict(f"There is a node {name!r:.80} in the project already: choose another name.")
    values = _core_values(call, view, body)
    old = state.nodes.get(view.id, {})
    kept = {**old, **{key: body[key] for key in KEPT if key in body}}
    _, rest = sorted_properties(body.get("properties", {}), call.node.type.update_schema().fields)
    # Clients send back what they have been shown.
    rest = {key: value for key, value in rest.items() if key not in view.runs_with}
    if rest:
        kept["properties"] = {**old.get("properties", {}), **rest}
    layout = _layout(project, state, view, body)
    if "symbol" in layout and "file" in kept:
        # The size was that of the former symbol.
        kept["file"] = {
            key: value for key, value in kept["file"].items() if key not in ("width", "height")
        }
    if values or layout or kept != old:
        await _store(project, state, view.id, Changes(values, layout, kept))
    return shown(call, project.nodes.get(view.id))


def _core_values(call: Call, view: NodeView, body: Mapping[str, Any]) -> dict[str, Any]:
    """What changes of a node that the core and its type know."""
    kind = call.node.type
    taken, _ = sorted_properties(body.get("properties", {}), kind.update_schema().fields)
    values = {
        key: value
        for key, value in taken.items()
        if key not in view.properties or view.properties[key] != value
    }
    for key in ALSO_TAKEN:
        if key in kind.update_schema().fields and body.get(key, view.properties.get(key)) != (
            view.properties.get(key)
        ):
            values[key] = body[key]
    if body.get("name", view.name) != view.name:
        values["name"] = body["name"]
    if kind.console and body.get("console", view.console) != view.console:
        values["console"] = body["console"]
    return values


def _layout(
    project: Project, state: ProjectState, view: NodeView, body: Mapping[str, Any]
) -> dict[str, Any]:
    """What changes about how a node is drawn."""
    stored, place = project.layout.get(view.id), state.place(project, view)
    # One that nobody has placed yet gets its place with its first change.
    given: dict[str, Any] = {"x": place.x, "y": place.y, "z": place.z}
    given |= {key: body[key] for key in PLACED if key in body}
    if "label" in given:
        given["label"] = {**stored.label, **given["label"]}
    return {key: value for key, value in given.items() if getattr(stored, key) != value}


@dataclass(frozen=True, slots=True)
class Changes:
    """What changes of a node.

    :param values: in the words of its type's v1 route.
    :param layout: how it is drawn.
    :param kept: all that is kept of it for clients, as it is then.
    """

    values: Mapping[str, Any]
    layout: Mapping[str, Any]
    kept: dict[str, Any]


async def _store(
    project: Project,
    state: ProjectState,
    node_id: str,
    new: Changes,
) -> None:
    """Store what changes of a node, in one commit, and tell it."""
    old, kept = state.nodes.get(node_id), new.kept
    # The event tells it.
    state.nodes[node_id] = kept
    try:
        if new.values:
            stored = {KEY: kept}
            await project.nodes.update(node_id, new.values, layout=new.layout, stored=stored)
            return
        async with project.change() as change:
            if new.layout:
                project.layout.save(change, node_id, new.layout)
            if kept != old:
                project.nodes.store(node_id).save(change, KEY, kept)
            if not new.layout:
                change.tell(Event(KEY, "node.updated", project.id, NodeTold(node_id)))
    except BaseException:
        if old is None:
            state.nodes.pop(node_id, None)
        else:
            state.nodes[node_id] = old
        raise


async def delete(call: Call) -> None:
    """Stop a node, and forget it."""
    node_id = call.project.nodes.get(call.path["node_id"]).id
    await call.project.nodes.delete(node_id)


# Running ------------------------------------------------------------------------------


async def start(call: Call) -> Mapping[str, Any]:
    """Start a node, and answer when it is ready."""
    await call.project.nodes.start(call.node.id)
    return await _after(call)


async def stop(call: Call) -> Mapping[str, Any]:
    """Stop a node, and answer when all its processes are gone."""
    await call.project.nodes.stop(call.node.id)
    return await _after(call)


async def suspend(call: Call) -> Mapping[str, Any]:
    """Freeze a node; one that cannot be frozen is left as it is."""
    if "suspend" in call.node.type.capabilities:
        await call.project.nodes.suspend(call.node.id)
    return await _after(call)


async def reload(call: Call) -> Mapping[str, Any]:
    """Stop a node and start it again."""
    await call.project.nodes.reload(call.node.id)
    return await _after(call)


async def _after(call: Call) -> Mapping[str, Any]:
    await own_state(call)
    return shown(call, call.project.nodes.get(call.node.id))


async def start_all(call: Call) -> None:
    """Start all nodes of a project."""
    await tell_failures(call, await call.project.nodes.start_all())


async def stop_all(call: Call) -> None:
    """Stop all nodes of a project."""
    await tell_failures(call, await call.project.nodes.stop_all())


async def suspend_all(call: Call) -> None:
    """Freeze all nodes of a project that can be frozen."""
    types = call.server.registry.node_types
    for view in call.project.nodes:
        kind = types.get(view.type)
        if kind and "suspend" in kind.capabilities and view.state is NodeState.STARTED:
            await call.project.nodes.suspend(view.id)


async def reload_all(call: Call) -> None:
    """Stop all nodes of a project, and start those again that ran."""
    running = [view.id for view in call.project.nodes if view.state is not NodeState.STOPPED]
    failed = {}
    for node_id in running:
        try:
            await call.project.nodes.reload(node_id)
        except Conflict as error:
            failed[node_id] = error.message
    await tell_failures(call, failed)


async def tell_failures(call: Call, failed: Mapping[str, str]) -> None:
    """Tell those who listen to a project what could not be done with its nodes."""
    for reason in failed.values():
        state_of(call.server).tell_project(call.project.id, "log.error", {"message": reason})


async def duplicate(call: Call) -> Mapping[str, Any]:
    """Make a node like another one, without its wires."""
    project, node, state = call.project, call.node, await own_state(call)
    view, place = project.nodes.get(node.id), project.layout.get(node.id)
    kept = state.nodes.get(node.id, {})
    texts = {}
    for file in node.type.text_files:
        content = await node.read_file(file.name)
        if content is not None:
            texts[file.text] = content.decode(errors="replace")
    values = {
        **{key: kept[key] for key in KEPT if key in kept},
        **{key: call.body[key] for key in ("x", "y", "z")},
        "symbol": place.symbol or None,
        "label": {key: value for key, value in place.label.items() if key != "text"} or None,
        "properties": {**kept.get("properties", {}), **view.properties, **texts},
    }
    return {"kind": node.type, "name": view.name, "values": values}


async def make_duplicate(call: Call) -> Mapping[str, Any]:
    """Make a node like another one, without its wires."""
    like = await duplicate(call)
    project, state = call.project, await own_state(call)
    if like["kind"].name not in call.server.registry.node_types:
        raise Conflict(f"The node {like['name']!r} is parked, and cannot be duplicated here.")
    with naming(state, project, f"{like['name']}{{0}}") as name:
        view = await make_node(project, state, like["kind"], name=name, body=like["values"])
    return shown(call, view)


# Routes -------------------------------------------------------------------------------

PATH = "/v2/projects/{project_id}/nodes"
# Words such as "start" stand in the same place.
NODE = f"{PATH}/{{node_id:[0-9a-fA-F-]+}}"
STORAGE = {507: "The records cannot be written"}
ON_NODE: Mapping[str, Any] = {
    "scope": Scope.NODE,
    "node_type": None,
    "node_parameter": "node_id",
    "any_ids": True,
    "tag": "v2",
}


def _action(word: str, handler: Any, summary: str) -> Route:
    return Route(
        method="POST",
        path=f"{NODE}/{word}",
        handler=handler,
        limit=LIMIT,
        summary=summary,
        answer=NodeAnswer,
        errors=STORAGE,
        **ON_NODE,
    )


def _on_all(word: str, handler: Any, summary: str) -> Route:
    return Route(
        method="POST",
        path=f"{PATH}/{word}",
        handler=handler,
        limit=LIMIT,
        any_ids=True,
        status=204,
        tag="v2",
        summary=summary,
        errors=STORAGE,
    )


ROUTES = (
    Route(
        method="GET",
        path=PATH,
        handler=list_all,
        closed_too=True,
        any_ids=True,
        changes=False,
        tag="v2",
        summary="The nodes of a project, which may be closed",
        answer=NodeAnswer,
        many=True,
    ),
    Route(
        method="POST",
        path=PATH,
        handler=create,
        any_ids=True,
        status=201,
        tag="v2",
        summary="Make a node",
        body=NodeRequest,
        answer=NodeAnswer,
        errors=STORAGE,
    ),
    Route(
        method="POST",
        path="/v2/projects/{project_id}/templates/{template_id}",
        handler=create_from_template,
        closed_too=True,
        any_ids=True,
        status=201,
        tag="v2",
        summary="Make a node from a template",
        body=FromTemplateRequest,
        answer=NodeAnswer,
        errors={403: "The project is closed", **STORAGE},
    ),
    _on_all("start", start_all, "Start all nodes of a project; events tell what fails"),
    _on_all("stop", stop_all, "Stop all nodes of a project"),
    _on_all("suspend", suspend_all, "Freeze all nodes of a project that can be frozen"),
    _on_all("reload", reload_all, "Start all running nodes of a project anew"),
    Route(
        method="GET",
        path=NODE,
        handler=show,
        closed_too=True,
        any_ids=True,
        changes=False,
        tag="v2",
        summary="A node of a project, which may be closed",
        answer=NodeAnswer,
    ),
    Route(
        method="PUT",
        path=NODE,
        handler=update,
        summary="Change a node, all of it or nothing",
        body=NodeUpdate,
        answer=NodeAnswer,
        errors=STORAGE,
        **ON_NODE,
    ),
    Route(
        method="DELETE",
        path=NODE,
        handler=delete,
        any_ids=True,
        status=204,
        tag="v2",
        summary="Stop a node and forget it, with its links",
        errors=STORAGE,
    ),
    _action("start", start, "Start a node; the answer comes when it is ready"),
    _action("stop", stop, "Stop a node"),
    _action("suspend", suspend, "Freeze a node; one that cannot be frozen is left as it is"),
    _action("reload", reload, "Stop a node and start it again"),
    Route(
        method="POST",
        path=f"{NODE}/duplicate",
        handler=make_duplicate,
        scope=Scope.FIND_NODE,
        node_type=None,
        node_parameter="node_id",
        any_ids=True,
        status=201,
        tag="v2",
        summary="Make a node like another one, without its wires",
        body=DuplicateRequest,
        answer=NodeAnswer,
        errors=STORAGE,
    ),
)
