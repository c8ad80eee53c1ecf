"""Consoles for web pages: the bytes of a terminal, as messages of a websocket."""

from __future__ import annotations

from gns3server.plugin import Call, Route, Scope, show_console


async def serve(call: Call) -> None:
    """Connect a websocket with the console of a node."""
    await show_console(await call.node.console_stream(), call.websocket)


async def reset(call: Call) -> None:
    """Do nothing: a console takes any number of clients, so none has to make room."""
    call.project.nodes.get(call.path["node_id"])


async def reset_all(_call: Call) -> None:
    """Do the same for all nodes of a project."""


NODES = "/v2/projects/{project_id}/nodes"
NODE = f"{NODES}/{{node_id}}"

ROUTES = (
    Route(
        method="GET",
        path=f"{NODE}/console/ws",
        handler=serve,
        websocket=True,
        scope=Scope.FIND_NODE,
        node_type=None,
        node_parameter="node_id",
        any_ids=True,
        changes=False,
        confidential=True,
        tag="v2",
        summary="The console of a node",
        errors={409: "It does not run, or its emulator serves its console itself"},
    ),
    Route(
        method="POST",
        path=f"{NODE}/console/reset",
        handler=reset,
        any_ids=True,
        status=204,
        tag="v2",
        summary="Nothing: a console takes any number of clients",
    ),
    Route(
        method="POST",
        path=f"{NODES}/console/reset",
        handler=reset_all,
        any_ids=True,
        status=204,
        tag="v2",
        summary="Nothing: consoles take any number of clients",
    ),
)
