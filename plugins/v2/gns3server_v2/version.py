"""The version gate: clients work only with a server of their own version."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from marshmallow import fields

from gns3server.plugin import Call, Conflict, Forbidden, Route
from gns3server_v2.shapes import Answer, Request, Words
from gns3server_v2.state import state_of

DESKTOP_CLIENT = re.compile(r"GNS3 QT Client v(2\.\d+[\w.+-]{0,40})")
"""How a desktop client of the 2 series names itself, with its version."""


class VersionAnswer(Answer):
    """The server's version, and whether it serves this machine alone."""

    version = fields.String(required=True)
    local = fields.Boolean(required=True)


class VersionRequest(Request):
    """A client's version."""

    version = Words(required=True)


class SameVersion(Answer):
    """The version that client and server share."""

    version = fields.String(required=True)


def told_version(call: Call) -> str:
    """The version that this client is told."""
    config = state_of(call.server).config
    client = DESKTOP_CLIENT.search(call.request.headers.get("User-Agent", ""))
    if client is not None and config["echo_version"]:
        return client[1]
    return str(config["version"])


async def show(call: Call) -> Mapping[str, Any]:
    """Tell the version."""
    return {"version": told_version(call), "local": call.server.settings.server.local}


async def compare(call: Call) -> Mapping[str, Any]:
    """Compare a client's version with the server's."""
    ours, theirs = told_version(call), call.body["version"]
    if ours != theirs:
        raise Conflict(f"The client's version is {theirs:.80}, and this server's is {ours}.")
    return {"version": ours}


async def shut_down(call: Call) -> None:
    """End the server for the client that has started it."""
    if not call.server.settings.server.local:
        raise Forbidden(
            "Only a local server lets clients shut it down: start it with --local, or end it on "
            "its machine."
        )
    await call.server.end(keep_nodes=state_of(call.server).config["shutdown_keeps_nodes"])


ROUTES = (
    Route(
        method="GET",
        path="/v2/version",
        handler=show,
        changes=False,
        tag="v2",
        summary="The version that clients compare with theirs",
        answer=VersionAnswer,
    ),
    Route(
        method="POST",
        path="/v2/version",
        handler=compare,
        changes=False,
        tag="v2",
        summary="Compare a client's version with the server's",
        body=VersionRequest,
        answer=SameVersion,
        errors={409: "They differ"},
    ),
    Route(
        method="POST",
        path="/v2/shutdown",
        handler=shut_down,
        status=201,
        tag="v2",
        summary="End the server; its nodes run on, unless a setting says otherwise",
        errors={403: "The server is not local"},
    ),
)
