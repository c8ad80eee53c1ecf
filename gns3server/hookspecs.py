"""The hooks: everything a plugin can tell the server, and be told by it.

A plugin is a module named by an entry point of the group ``gns3server.plugins``.
It implements any of these hooks, taking as few of their arguments as it wants,
each marked with :data:`gns3server.plugin.hookimpl`.

Hooks that register return data and change nothing themselves: the server
checks all of a plugin's data, then installs all of it or none. Only the hooks
that say so are awaited, and only they may be written with ``async def``.

When a hook that registers, or a lifespan, raises, returns something unfit or takes
longer than ten seconds (one while the server stops), its plugin, and no other, is put
out of service: its hooks are not called any more, and requests to it are answered 503
with the reason. A restart puts it back in service. A hook about projects or nodes
that raises or takes too long is not called again; the rest of its plugin carries
on. Nothing that a hook raises ends the server, not even ``SystemExit`` or
``KeyboardInterrupt``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any

import pluggy

if TYPE_CHECKING:
    from marshmallow import Schema

    from gns3server.events import Event
    from gns3server.http.families import ErrorShape, StaticFiles
    from gns3server.http.routing import Route
    from gns3server.nodes.nio import NioType
    from gns3server.nodes.node_type import NodeType
    from gns3server.projects.project import Project
    from gns3server.server import Server

PROJECT_NAME = "gns3server"
PREFIX = "gns3_"

hookspec = pluggy.HookspecMarker(PROJECT_NAME)
hookimpl = pluggy.HookimplMarker(PROJECT_NAME)


@hookspec
def gns3_config_schema() -> type[Schema]:  # type: ignore[empty-body]
    """The schema of the plugin's own section in the configuration file.

    Called first of all; also when only settings are shown. The section has the plugin's
    name (its entry point's). Defaults belong into the schema (``load_default``); keys it does
    not know do nothing, and the log names them.

    A field's ``metadata`` may say more of a setting: ``help``, a sentence; ``flag``, its option on
    the command line, as ``--myemulator-path`` of the plugin ``myemulator``; ``fixed=True`` if a
    reload changes nothing of it. A ``load_only`` field is a secret, and never shown. Paths are
    :class:`~gns3server.plugin.PathText`.

    :returns: a marshmallow schema class.
    """


@hookspec
def gns3_node_types(config: Mapping[str, Any]) -> Sequence[NodeType]:  # type: ignore[empty-body]
    """The node types that the plugin offers.

    Called once, while the server is built. Two plugins may not offer types of the
    same name: see :doc:`hooks`.

    :param config: live, read-only view of the plugin's section; always shows
        the newest settings.
    :returns: the types; the server makes their routes, records and API document.
    """


@hookspec
def gns3_nio_types(config: Mapping[str, Any]) -> Sequence[NioType]:  # type: ignore[empty-body]
    """The kinds of wire ends that the plugin offers to all node types.

    Called once, while the server is built.

    :param config: as for :func:`gns3_node_types`.
    :returns: the NIO types; no other plugin may use their names.
    """


@hookspec
def gns3_routes(  # type: ignore[empty-body]
    config: Mapping[str, Any],
) -> Sequence[Route | StaticFiles | ErrorShape]:
    """Routes beyond the standard ones of a node type, files for browsers, and shapes of errors.

    Called once, while the server is built. A path begins with ``/v1/``, or with a first segment
    that neither the server nor another plugin uses, and no other route may match it. The
    handler of a route is abandoned after sixty seconds, or after its ``limit``; the answer is
    then 503.

    :param config: as for :func:`gns3_node_types`.
    :returns: the routes, along with what serves a folder of the plugin's package
        (:class:`~gns3server.plugin.StaticFiles`) or gives errors below a prefix another shape
        (:class:`~gns3server.plugin.ErrorShape`).
    """


@hookspec
def gns3_lifespan(  # type: ignore[empty-body]
    server: Server, config: Mapping[str, Any]
) -> AbstractAsyncContextManager[None]:
    """What the plugin needs while the server runs.

    Called once, before any project is opened and before the server listens. The context
    manager is then entered (awaited, within ten seconds), and exited at shutdown,
    after the last project has been closed. Both happen in one task of its own: a task
    group in it that fails ends only the plugin.

    :param server: the running server.
    :param config: as for :func:`gns3_node_types`.
    :returns: an asynchronous context manager.
    """


@hookspec
async def gns3_listening(server: Server) -> None:
    """The server listens, and the projects that were open are open again.

    Awaited, within ten seconds.

    :param server: the running server.
    """


@hookspec
async def gns3_project_opened(project: Project, server: Server) -> None:
    """A project was created or opened; also called when a starting server opens it again.

    Awaited, within ten seconds; cannot veto. Whoever closes or deletes the project meanwhile waits.

    :param project: the open project.
    :param server: the running server.
    """


@hookspec
async def gns3_project_updated(project: Project, server: Server) -> None:
    """A project has another name or path, or is temporary now, or no longer.

    Awaited, within ten seconds; cannot veto.

    :param project: the project, as it is now.
    :param server: the running server.
    """


@hookspec
async def gns3_project_closing(project: Project, server: Server) -> None:
    """A project is about to be closed or deleted (also at shutdown); its nodes still run.

    If the server was told to keep them, they go on running and the next server adopts them.

    Awaited, within ten seconds; cannot veto. A project whose files cannot be
    removed stays open, and :func:`gns3_project_closed` is not called.

    :param project: the project; nothing else works on it.
    :param server: the running server.
    """


@hookspec
async def gns3_project_closed(project: Project, server: Server) -> None:
    """A project was closed or deleted; its directory may be gone.

    Awaited, within ten seconds; cannot veto.

    :param project: the closed project.
    :param server: the running server.
    """


@hookspec
async def gns3_project_committed(project: Project, server: Server) -> None:
    """A project was committed: the directories of deleted nodes are gone.

    Awaited, within ten seconds; cannot veto.

    :param project: the project.
    :param server: the running server.
    """


@hookspec
async def gns3_node_event(project: Project, event: Event) -> None:
    """Something has happened to a node, of any plugin; it is already on disk and published.

    Awaited, within ten seconds; cannot veto. Events come one at a time, in order. Events of a
    project that has been closed meanwhile are left out, and so are those that come while more
    than 2000 are waiting.

    :param project: the project.
    :param event: its ``change`` says what: ``created``, ``started``, ``stopped``, ``suspended``,
        ``resumed``, ``updated``, ``deleted`` or ``layout``; its ``object`` is a
        :class:`~gns3server.plugin.NodeView`, or for ``layout`` a
        :class:`~gns3server.plugin.LayoutView`.
    """
