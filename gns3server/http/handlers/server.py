"""Version, plugins and the API document."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from gns3server.errors import QUOTED_CHARACTERS, Conflict, Forbidden
from gns3server.http.families import ERROR_SHAPES
from gns3server.http.routing import ROUTE_TABLE, Call, Route
from gns3server.http.schemas import (
    InterfaceSchema,
    OpenApiSchema,
    PluginSchema,
    VersionCheckSchema,
    VersionMatchSchema,
    VersionSchema,
)
from gns3server.settings.errors import SettingsError


async def get_version(call: Call) -> Mapping[str, Any]:
    """The version that clients compare with theirs."""
    server = call.server.settings.server
    return {"version": server.announced_version, "local": server.local}


async def check_version(call: Call) -> Mapping[str, Any]:
    """Compare a client's version with the server's (contract 1.8; the text is VER-03's)."""
    ours, theirs = call.server.settings.server.announced_version, call.body["version"]
    if ours != theirs:
        raise Conflict(
            f"Client version {theirs[:QUOTED_CHARACTERS]} differs with server version {ours}"
        )
    return {"version": ours}


def only_local(call: Call, what: str) -> None:
    """Refuse what only a local server lets clients do (contract 1.7).

    :raises Forbidden: the server is not local.
    """
    if not call.server.settings.server.local:
        raise Forbidden(
            f"Only a local server lets clients {what}: start it with --local, or do it on the "
            "server's machine."
        )


async def reload_settings(call: Call) -> None:
    """Read the configuration files again (CFG-01, CFG-02)."""
    only_local(call, "reload the settings")
    try:
        await asyncio.to_thread(call.server.live_settings.reload)
    except SettingsError as error:
        raise Conflict(f"The settings stay as they are: {error}") from error


async def shut_down(call: Call) -> None:
    """Close all projects for good, then end the server (SRV-01, SRV-02)."""
    only_local(call, "shut it down")
    await call.server.projects.shutdown(open_again=False)
    call.server.stopping.set()


async def show_interfaces(call: Call) -> Sequence[Mapping[str, str]]:
    """The network interfaces of the machine that nodes run on (NET-01, NET-02)."""
    return await call.server.machine.list_interfaces()


async def list_plugins(call: Call) -> list[Mapping[str, Any]]:
    """Every plugin that is installed, its state, and whether its nodes can run here."""
    server = call.server
    abilities = await server.examiner.ask(server.registry, server.machine)
    return [
        {**report, "types": [abilities[n] for n in report["node_types"] if n in abilities]}
        for report in server.plugins()
    ]


async def get_openapi(call: Call) -> Mapping[str, Any]:
    """The document that describes exactly the routes that exist."""
    # Imported when used: so that it does not slow down the start.
    from gns3server.http.openapi import build

    routes, shapes = call.request.app[ROUTE_TABLE], call.request.app[ERROR_SHAPES]
    return await asyncio.to_thread(build, call.server, routes, shapes)


ROUTES = (
    Route(
        method="GET",
        path="/v1/version",
        handler=get_version,
        changes=False,
        summary="Version and mode of the server",
        answer=VersionSchema,
    ),
    Route(
        method="POST",
        path="/v1/version",
        handler=check_version,
        changes=False,
        summary="Compare a client's version with the server's",
        body=VersionCheckSchema,
        answer=VersionMatchSchema,
        errors={409: "The versions differ"},
    ),
    Route(
        method="POST",
        path="/v1/config/reload",
        handler=reload_settings,
        status=201,
        summary="Read the configuration files again; local servers only",
        errors={403: "The server is not local", 409: "The files cannot be used"},
    ),
    Route(
        method="POST",
        path="/v1/server/shutdown",
        handler=shut_down,
        status=201,
        summary="Close all projects and end the server; local servers only",
        errors={403: "The server is not local"},
    ),
    Route(
        method="GET",
        path="/v1/interfaces",
        handler=show_interfaces,
        changes=False,
        summary="The network interfaces of the server's machine",
        answer=InterfaceSchema,
        many=True,
    ),
    Route(
        method="GET",
        path="/v1/plugins",
        handler=list_plugins,
        changes=False,
        summary="The plugins of this server and their state",
        answer=PluginSchema,
        many=True,
    ),
    Route(
        method="GET",
        path="/v1/openapi.json",
        handler=get_openapi,
        changes=False,
        summary="This document",
        answer=OpenApiSchema,
    ),
)
