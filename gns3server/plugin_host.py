"""Finds plugins, calls them one at a time, and keeps their failures apart."""

from __future__ import annotations

import asyncio
import logging
import re
import threading
import traceback
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from concurrent.futures import Future
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from typing import Any, TypeVar

import pluggy
from marshmallow import EXCLUDE, Schema

from gns3server import hookspecs
from gns3server.http.handlers.nodes import node_routes
from gns3server.http.routing import Lab, Route
from gns3server.nodes.nio import NioType
from gns3server.nodes.node_type import NodeType
from gns3server.nodes.registry import Registry
from gns3server.projects.project import Project
from gns3server.config import ConfigView
from gns3server.settings import Settings, split_list

log = logging.getLogger(__name__)

GROUP = "gns3server.plugins"
CALL_SECONDS = 10.0
"""How long one call into a plugin may take before the server goes on without it."""

NAME = re.compile(r"[a-z][a-z0-9_-]*")

T = TypeVar("T")


class PluginFailed(Exception):
    """A plugin did something the server cannot use; raised further only in strict mode."""


@dataclass(eq=False)
class Plugin:
    """One plugin: where it comes from, what it offers, and what went wrong.

    :param phase: where it failed, ``None`` while all is well.
    :param trace: the traceback of the failure, for the server's user, never for a client.
    """

    name: str
    distribution: str | None = None
    version: str | None = None
    disabled: bool = False
    phase: str | None = None
    message: str | None = None
    trace: str = ""
    hooks: tuple[str, ...] = ()
    node_types: tuple[NodeType, ...] = ()
    nio_types: tuple[NioType, ...] = ()
    routes: tuple[Route, ...] = ()
    config: ConfigView = field(default_factory=lambda: ConfigView({}))

    @property
    def usable(self) -> bool:
        """Whether it is in service."""
        return not self.disabled and self.phase is None

    def report(self) -> dict[str, Any]:
        """The plugin as ``GET /v1/plugins`` shows it."""
        return {
            "name": self.name,
            "distribution": self.distribution,
            "version": self.version,
            "status": "disabled" if self.disabled else "ok" if self.usable else "failed",
            "phase": self.phase,
            "message": self.message,
            "hooks": list(self.hooks),
            "node_types": [kind.name for kind in self.node_types],
            "nio_types": [kind.name for kind in self.nio_types],
            "routes": [f"{route.method} {route.path}" for route in self.routes],
        }


class PluginHost:
    """All plugins of this server. Hooks are called through it alone.

    :param strict: raise :class:`PluginFailed` instead of going on without a plugin.
    :param call_seconds: see :data:`CALL_SECONDS`.
    """

    def __init__(
        self, settings: Settings, *, strict: bool = False, call_seconds: float = CALL_SECONDS
    ) -> None:
        self._settings = settings
        self._strict = strict
        self._call_seconds = call_seconds
        self._manager = pluggy.PluginManager(hookspecs.PROJECT_NAME)
        self._manager.add_hookspecs(hookspecs)
        self.plugins: list[Plugin] = []

    # Loading -------------------------------------------------------------------

    def load(self, found: Iterable[EntryPoint] | None = None) -> None:
        """Import and register what the entry points name, one by one."""
        disabled = split_list(self._settings.server.disabled_plugins)
        points = entry_points(group=GROUP) if found is None else found
        for point in sorted(points, key=lambda p: (p.name, p.value)):
            dist = point.dist
            plugin = Plugin(
                point.name,
                dist.name if dist else None,
                dist.version if dist else None,
                disabled=point.name in disabled,
            )
            taken = any(other.name == point.name and other.usable for other in self.plugins)
            self.plugins.append(plugin)
            if taken:
                self._fail(
                    plugin,
                    "discovery",
                    ValueError(
                        f"another plugin is called {point.name!r} already; uninstall one of the two"
                    ),
                )
            elif not plugin.disabled:
                self._load_one(plugin, point)

    def _load_one(self, plugin: Plugin, point: EntryPoint) -> None:
        try:
            module = self._limited(point.load)
        except BaseException as error:
            self._fail(plugin, "import", error)
            return
        try:
            if NAME.fullmatch(plugin.name) is None:
                raise ValueError(f"the name {plugin.name!r} cannot be part of a path")
            self._manager.register(module, plugin.name)
            self._manager.check_pending()
        except Exception as error:
            if self._manager.has_plugin(plugin.name):
                self._manager.unregister(name=plugin.name)
            self._fail(plugin, "registration", error)
            return
        callers = self._manager.get_hookcallers(module) or ()
        plugin.hooks = tuple(sorted(caller.name for caller in callers))

    def gather(self, registry: Registry, core_routes: Iterable[Route]) -> list[Route]:
        """Ask every plugin what it offers and install all of it or nothing.

        :returns: the routes of all plugins, the standard ones of node types included.
        """
        taken = {route.shape for route in core_routes}
        routes: list[Route] = []
        for plugin in self.plugins:
            if plugin.usable and self._gather_one(plugin, registry, taken):
                registry.node_types.update({kind.name: kind for kind in plugin.node_types})
                registry.nio_types.update({kind.name: kind for kind in plugin.nio_types})
                taken.update(route.shape for route in plugin.routes)
                routes.extend(plugin.routes)
        return routes

    def _gather_one(self, plugin: Plugin, registry: Registry, taken: set[tuple[str, str]]) -> bool:
        phase = "configuration"
        try:
            self._configure(plugin)
            phase = "gns3_node_types"
            node_types = self._items(plugin, phase, NodeType)
            for kind in node_types:
                check_node_type(plugin.name, kind, registry)
            phase = "gns3_nio_types"
            nio_types = self._items(plugin, phase, NioType)
            for nio in nio_types:
                if nio.name in registry.nio_types:
                    raise ValueError(f"the NIO type {nio.name!r} is another plugin's already")
            phase = "gns3_routes"
            routes = [r for kind in node_types for r in node_routes(kind)]
            routes += self._items(plugin, phase, Route)
            check_routes(routes, taken)
        except Exception as error:
            self._fail(plugin, phase, error)
            return False
        plugin.node_types, plugin.nio_types = tuple(node_types), tuple(nio_types)
        plugin.routes = tuple(routes)
        return True

    def _configure(self, plugin: Plugin) -> None:
        schema = self._call(plugin, "gns3_config_schema")
        if schema is None:
            return
        if not (isinstance(schema, type) and issubclass(schema, Schema)):
            raise TypeError(f"gns3_config_schema returned {schema!r}, not a schema class")
        values = schema(unknown=EXCLUDE).load(dict(self._settings.section(plugin.name)))
        plugin.config.replace(values)

    def _items(self, plugin: Plugin, hook: str, kind: type[T]) -> list[T]:
        items = list(self._call(plugin, hook, config=plugin.config) or ())
        for item in items:
            if not isinstance(item, kind):
                raise TypeError(f"{hook} returned {item!r}, which is no {kind.__name__}")
        return items

    def _call(self, plugin: Plugin, hook: str, **arguments: Any) -> Any:
        """Call one hook of one plugin; ``None`` when it does not implement it."""
        if hook not in plugin.hooks:
            return None
        others = [p for name, p in self._manager.list_name_plugin() if name != plugin.name]
        caller = self._manager.subset_hook_caller(hook, remove_plugins=others)
        results = self._limited(lambda: caller(**arguments))
        return results[0] if results else None

    def _limited(self, function: Callable[[], T]) -> T:
        """Call into a plugin, and give up on it when it does not come back.

        The thread of a call that hangs is left behind; it cannot be ended.
        """
        done: Future[T] = Future()

        def work() -> None:
            try:
                done.set_result(function())
            except BaseException as error:
                done.set_exception(error)

        threading.Thread(target=work, name="plugin", daemon=True).start()
        try:
            return done.result(self._call_seconds)
        except TimeoutError:
            if done.done():
                raise
            raise TimeoutError(f"it did not return within {self._call_seconds:g} seconds") from None

    def _fail(self, plugin: Plugin, phase: str, error: BaseException) -> None:
        plugin.phase = phase
        plugin.message = f"{type(error).__name__}: {error}"
        plugin.trace = "".join(traceback.format_exception(error))
        log.error("plugin %s is out of service (%s): %s", plugin.name, phase, plugin.message)
        log.debug("%s", plugin.trace)
        if self._strict:
            raise PluginFailed(f"plugin {plugin.name}: {phase}: {plugin.message}") from error

    # Running -------------------------------------------------------------------

    @asynccontextmanager
    async def lifespans(self, lab: Lab) -> AsyncIterator[None]:
        """Enter every plugin's lifespan, and leave them in reverse order."""
        async with AsyncExitStack() as stack:
            for plugin in self.plugins:
                if plugin.usable and "gns3_lifespan" in plugin.hooks:
                    await stack.enter_async_context(self._lifespan(plugin, lab))
            yield

    @asynccontextmanager
    async def _lifespan(self, plugin: Plugin, lab: Lab) -> AsyncIterator[None]:
        context = None
        try:
            context = self._call(plugin, "gns3_lifespan", server=lab)
            async with asyncio.timeout(self._call_seconds):
                await context.__aenter__()
        except Exception as error:
            context = None
            self._fail(plugin, "gns3_lifespan", error)
        try:
            yield
        finally:
            if context is not None:
                try:
                    async with asyncio.timeout(self._call_seconds):
                        await context.__aexit__(None, None, None)
                except Exception:
                    log.exception("plugin %s did not end in order", plugin.name)

    async def observe(self, event: str, project: Project) -> None:
        """Tell the plugins that observe projects; one that fails or hangs hinders nobody."""
        hook = f"gns3_project_{event}"
        for plugin in self.plugins:
            if plugin.usable and hook in plugin.hooks:
                try:
                    async with asyncio.timeout(self._call_seconds):
                        await self._call(plugin, hook, project=project)
                except Exception:
                    log.exception("plugin %s failed in %s", plugin.name, hook)

    def reports(self) -> list[Mapping[str, Any]]:
        """Every plugin as ``GET /v1/plugins`` shows it."""
        return [plugin.report() for plugin in self.plugins]

    def failed(self) -> dict[str, str]:
        """The names that no usable plugin answers to, and why."""
        usable = {plugin.name for plugin in self.plugins if plugin.usable}
        return {
            plugin.name: f"{plugin.message} (in {plugin.phase})"
            for plugin in self.plugins
            if plugin.phase is not None and plugin.name not in usable
        }


def check_node_type(plugin: str, kind: NodeType, registry: Registry) -> None:
    """Refuse a node type whose name would not lead to its plugin, or is taken.

    :raises ValueError: says which.
    """
    if kind.name != plugin and not kind.name.startswith(f"{plugin}-"):
        raise ValueError(f"the node type {kind.name!r} must be called {plugin!r} or {plugin}-...")
    if NAME.fullmatch(kind.name) is None:
        raise ValueError(f"the node type name {kind.name!r} cannot be part of a path")
    if kind.name in registry.node_types:
        raise ValueError(f"the node type {kind.name!r} exists already")


def check_routes(routes: Iterable[Route], taken: set[tuple[str, str]]) -> None:
    """Refuse routes outside the API, and ones that would meet another.

    :raises ValueError: names the route.
    """
    seen = set(taken)
    for route in routes:
        if not route.path.startswith("/v1/"):
            raise ValueError(f"the route {route.path} does not begin with /v1/")
        if route.shape in seen:
            raise ValueError(f"the route {route.method} {route.path} exists already")
        seen.add(route.shape)
