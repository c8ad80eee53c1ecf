"""Routes beside those that every node type has."""

from __future__ import annotations

from functools import partial
from typing import Any

from marshmallow import Schema, fields

from gns3server.plugin import Call, NodeState, Route, Scope
from gns3server_linux.frr import CONFIGURATION
from gns3server_linux.schemas import InterfaceCountersSchema

NOT_UP = {409: "It is not up", 503: "Its program does not answer"}
NOT_TAKEN = {409: "It runs, or FRR does not take a line", 503: "It cannot be stored"}


class ConfigurationSchema(Schema):
    """The text of a router's file ``frr.conf``; null while there is none."""

    config = fields.String(
        required=True, allow_none=True, metadata={"example": "interface eth0\n shutdown\n"}
    )


async def show_counters(call: Call) -> Any:
    """What the interfaces have counted."""
    return await call.node.ask("counters")  # type: ignore[attr-defined]


async def show_configuration(call: Call) -> Any:
    """The configuration: what a router runs with, or what is stored of one that is stopped."""
    if call.node.state is NodeState.STARTED:
        await call.node.save()  # type: ignore[attr-defined]
    return await stored(call)


async def replace_configuration(call: Call) -> Any:
    """Store another configuration."""
    await call.project.nodes.update(call.node.id, {"config": call.body["config"]})
    return await stored(call)


async def stored(call: Call) -> dict[str, str | None]:
    """What is in the file."""
    content = await call.node.read_file(CONFIGURATION)
    return {"config": None if content is None else content.decode(errors="replace")}


def routes() -> list[Route]:
    """All of them."""
    return [
        *(
            counters(name, title)
            for name, title in (("linux", "Linux host"), ("frr", "FRR router"))
        ),
        *configuration(),
    ]


def counters(name: str, title: str) -> Route:
    """What the interfaces of a node have counted."""
    return Route(
        method="GET",
        path=f"/v1/projects/{{project_id}}/{name}/vms/{{vm_id}}/counters",
        scope=Scope.NODE,
        node_type=name,
        tag=name,
        errors=NOT_UP,
        handler=show_counters,
        changes=False,
        summary=f"What the interfaces of a {title} have counted",
        answer=InterfaceCountersSchema,
        many=True,
    )


def configuration() -> list[Route]:
    """A router's configuration."""
    route = partial(
        Route,
        path="/v1/projects/{project_id}/frr/vms/{vm_id}/config",
        scope=Scope.NODE,
        node_type="frr",
        tag="frr",
        answer=ConfigurationSchema,
    )
    return [
        route(
            method="GET",
            handler=show_configuration,
            errors=NOT_UP,
            summary="The configuration that an FRR router runs with; a stopped one's is as stored",
        ),
        route(
            method="PUT",
            handler=replace_configuration,
            body=ConfigurationSchema,
            errors=NOT_TAKEN,
            summary="Store the configuration of an FRR router that is stopped",
        ),
    ]
