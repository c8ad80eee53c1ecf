"""Watches nodes of any type: counts what happens to them, and builds labs for clients."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from marshmallow import Schema, fields

from gns3server.plugin import Call, Event, Project, Route, Scope, Server, hookimpl

LAB = "/v1/projects/{project_id}"


class AnswerSchema(Schema):
    """What a route answers."""

    values = fields.Dict(required=True)


PLAIN: Any = {"answer": AnswerSchema, "summary": "For tests", "errors": {409: "Refused"}}


@hookimpl
@asynccontextmanager
async def gns3_lifespan(server: Server) -> AsyncIterator[None]:
    """Count the starts of the server."""
    await server.store.set("starts", await server.store.get("starts", 0) + 1)
    yield


@hookimpl
async def gns3_node_event(project: Project, event: Event) -> None:
    """Count what happens in a project, and tell of it."""
    key = f"{event.kind} {event.change}"
    count = await project.store.get(key, 0) + 1
    await project.store.set(key, count)
    await project.publish("observer.counted", {"what": key, "count": count})


async def seen(call: Call) -> Mapping[str, Any]:
    """What has been counted."""
    server = call.server
    values = {
        "starts": await server.store.get("starts"),
        "counts": await call.project.store.items(),
        "projects": [[each.name, each.status] for each in server.projects.list_all()],
    }
    return {"values": values}


async def build(call: Call) -> Mapping[str, Any]:
    """Make two nodes side by side and start them."""
    nodes = call.project.nodes
    made = [
        await nodes.create("toy", {"name": name}, layout={"x": 100 * n, "symbol": "toy"})
        for n, name in enumerate(("one", "two"))
    ]
    failed = await nodes.start_all()
    views = [nodes.get(node.id) for node in made]
    pids = {view.id: len(view.pids) for view in views}
    return {"values": {"failed": dict(failed), "pids": pids}}


async def lab(call: Call) -> Mapping[str, Any]:
    """Make a project, rename it, close it, open it and delete it."""
    projects = call.server.projects
    project = await projects.create(name="first")
    await projects.rename(project, "second")
    await projects.close(project)
    closed = projects.entry(project.id)
    again = await projects.open(project.id)
    values = {"name": again.name, "was": closed and closed.status}
    await projects.delete(again)
    left = [each.id for each in projects.list_all()]
    return {"values": {**values, "left": left, "entry": projects.entry(project.id)}}


async def touch(call: Call) -> Mapping[str, Any]:
    """Stop the node that is held, then all."""
    await call.project.nodes.stop(call.node.id)
    await call.project.nodes.stop_all()
    return {"values": {}}


async def tell(call: Call) -> None:
    """Tell everybody, and listen to it."""
    with call.server.events() as events:
        call.server.publish("observer.hello", {"a": 1})
        async for event in events:
            if event.kind == "observer":
                break


@hookimpl
def gns3_routes() -> Sequence[Route]:
    """The routes."""
    return [
        Route(method="GET", path=f"{LAB}/observer/seen", handler=seen, **PLAIN),
        Route(
            method="POST",
            path=f"{LAB}/observer/build",
            handler=build,
            scope=Scope.PROJECT,
            **PLAIN,
        ),
        Route(method="POST", path="/v1/observer/lab", handler=lab, **PLAIN),
        Route(method="POST", path="/v1/observer/tell", handler=tell, status=204, summary="Tell"),
        Route(
            method="POST",
            path=f"{LAB}/observer/{{vm_id}}/touch",
            handler=touch,
            scope=Scope.NODE,
            node_type="toy",
            **PLAIN,
        ),
    ]
