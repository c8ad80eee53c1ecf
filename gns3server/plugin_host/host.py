"""Finds plugins, calls them one at a time, and keeps their failures apart."""

from __future__ import annotations

import logging
import traceback
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from importlib.metadata import EntryPoint, entry_points
from typing import Any, TypeVar

import pluggy

from gns3server import hookspecs
from gns3server.http.handlers.nodes import node_routes
from gns3server.http.routing import Route, Server
from gns3server.nodes.nio import NioType
from gns3server.nodes.node_type import NodeType
from gns3server.nodes.registry import Registry
from gns3server.plugin_host.calls import Caller
from gns3server.plugin_host.checks import (
    check_image_kinds,
    check_marks,
    check_name,
    check_nio_types,
    check_node_types,
    check_routes,
    read_section,
)
from gns3server.projects.project import Project
from gns3server.settings.schema import ConfigView, Settings, SettingsError, split_list

log = logging.getLogger(__name__)

GROUP = "gns3server.plugins"
CALL_SECONDS = 10.0
"""How long one call into a plugin may take before the server goes on without it."""

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
    error: BaseException | None = None
    module: Any = None
    hooks: tuple[str, ...] = ()
    node_types: tuple[NodeType, ...] = ()
    nio_types: tuple[NioType, ...] = ()
    routes: tuple[Route, ...] = ()
    config_schema: Any = None
    config: ConfigView = field(default_factory=lambda: ConfigView({}))

    @property
    def usable(self) -> bool:
        """Whether it is in service."""
        return not self.disabled and self.phase is None

    def read_section(self, settings: Settings) -> Mapping[str, Any]:
        """Its own section, as its schema reads it; empty for one that has no schema."""
        if self.config_schema is None:
            return {}
        return read_section(self.name, self.config_schema, settings.section(self.name))

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

    :param strict: raise :class:`PluginFailed` instead of going on without a
        plugin: at once while the server starts, and at its end for what fails
        while it runs, when too much depends on going on.
    :param call_seconds: see :data:`CALL_SECONDS`.
    """

    def __init__(
        self, settings: Settings, *, strict: bool = False, call_seconds: float = CALL_SECONDS
    ) -> None:
        self._settings = settings
        self._strict = strict
        self._caller = Caller(call_seconds)
        self._manager = pluggy.PluginManager(hookspecs.PROJECT_NAME)
        self._manager.add_hookspecs(hookspecs)
        self._registry = Registry()
        self.plugins: list[Plugin] = []
        self.failures: dict[str, str] = {}
        """The names that no plugin in service answers to, and why. Kept up to date."""

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
                reason = f"another plugin is called {point.name!r} already; uninstall one of them"
                self._fail(plugin, "discovery", ValueError(reason))
            elif not plugin.disabled:
                self._load_one(plugin, point)
        self._tell_failures()

    def _load_one(self, plugin: Plugin, point: EntryPoint) -> None:
        phase = "import"
        try:
            plugin.module = self._caller.call(point.load)
            phase = "registration"
            check_name(plugin.name)
            self._manager.register(plugin.module, plugin.name)
            self._manager.check_pending()
            callers = self._manager.get_hookcallers(plugin.module) or ()
            plugin.hooks = tuple(sorted(caller.name for caller in callers))
            check_marks(plugin.module, hookspecs.PREFIX, plugin.hooks)
        except Exception as error:
            self._fail(plugin, phase, error)

    def gather(self, registry: Registry, core_routes: Iterable[Route]) -> None:
        """Ask every plugin what it offers, and install all of it or nothing.

        Its routes, the standard ones of its node types included, are in :meth:`routes` then.
        """
        self._registry = registry
        taken = {route.shape for route in core_routes}
        for plugin in self.plugins:
            if plugin.usable and self._gather_one(plugin, taken):
                registry.node_types.update({kind.name: kind for kind in plugin.node_types})
                node_types = [kind.name for kind in plugin.node_types]
                nio_types = [kind.name for kind in plugin.nio_types]
                registry.plugins.update(dict.fromkeys((*node_types, *nio_types), plugin.name))
                registry.settings.update(dict.fromkeys(node_types, plugin.config))
                registry.nio_types.update({kind.name: kind for kind in plugin.nio_types})
                taken.update(route.shape for route in plugin.routes)

    def _gather_one(self, plugin: Plugin, taken: set[tuple[str, str]]) -> bool:
        phase = "gns3_config_schema"
        try:
            plugin.config_schema = self._caller.call(partial(self._call, plugin, phase))
            phase = "configuration"
            plugin.config.replace(plugin.read_section(self._settings))
            phase = "gns3_node_types"
            node_types = self._items(plugin, phase, NodeType)
            check_node_types(node_types, self._registry.node_types)
            image_kinds = [image for kind in node_types for image in kind.image_kinds]
            check_image_kinds(image_kinds, self._registry.image_kinds())
            phase = "gns3_nio_types"
            nio_types = self._items(plugin, phase, NioType)
            check_nio_types(nio_types, self._registry.nio_types)
            phase = "gns3_routes"
            routes = [r for kind in node_types for r in node_routes(kind)]
            routes += self._items(plugin, phase, Route)
            check_routes(routes, taken)
        except Exception as error:
            self._fail(plugin, phase, error)
            return False
        plugin.node_types, plugin.nio_types = tuple(node_types), tuple(nio_types)
        plugin.routes = tuple(replace(route, plugin=plugin.name) for route in routes)
        return True

    def refresh(self, settings: Settings) -> None:
        """Show all plugins in service their sections of new settings.

        :raises SettingsError: one does not fit; nobody has been shown anything then.
        """
        using = [plugin for plugin in self.plugins if plugin.usable]
        try:
            sections = [(plugin, plugin.read_section(settings)) for plugin in using]
        except Exception as error:
            raise SettingsError(str(error)) from error
        for plugin, section in sections:
            plugin.config.replace(section)

    def routes(self) -> list[Route]:
        """The routes of all plugins that are in service."""
        return [route for plugin in self.plugins for route in plugin.routes]

    # Calling -------------------------------------------------------------------

    def _call(self, plugin: Plugin, hook: str, **arguments: Any) -> Any:
        """Call one hook of one plugin; ``None`` when it does not implement it."""
        if hook not in plugin.hooks:
            return None
        others = [p for name, p in self._manager.list_name_plugin() if name != plugin.name]
        caller = self._manager.subset_hook_caller(hook, remove_plugins=others)
        results = caller(**arguments)
        return results[0] if results else None

    def _items(self, plugin: Plugin, hook: str, kind: type[T]) -> list[T]:
        # It may be a generator: then it is the list that runs its code.
        items = self._caller.call(
            lambda: list(self._call(plugin, hook, config=plugin.config) or ())
        )
        for item in items:
            if not isinstance(item, kind):
                raise TypeError(f"{hook} returned {item!r}, which is no {kind.__name__}")
        return items

    # Failures ------------------------------------------------------------------

    def _fail(self, plugin: Plugin, phase: str, error: BaseException) -> None:
        """Take a plugin out of service, and all that is its own out of the server."""
        if plugin.module and self._manager.get_plugin(plugin.name) is plugin.module:
            self._manager.unregister(plugin.module)
        for kind in plugin.node_types:
            del self._registry.node_types[kind.name]
        for nio in plugin.nio_types:
            del self._registry.nio_types[nio.name]
        plugin.node_types, plugin.nio_types, plugin.routes = (), (), ()
        self._note(plugin, phase, error)
        if self._strict:
            raise PluginFailed(f"plugin {plugin.name}: {phase}: {plugin.message}") from error

    def _note(self, plugin: Plugin, phase: str, error: BaseException) -> None:
        """Keep the first failure of a plugin, and log each."""
        message, trace = f"{type(error).__name__}: {error}", traceback.format_exception(error)
        log.error("plugin %s failed in %s: %s", plugin.name, phase, message)
        log.debug("%s", "".join(trace))
        if plugin.phase is None:
            plugin.phase, plugin.message, plugin.trace = phase, message, "".join(trace)
            plugin.error = error
        self._tell_failures()

    def _tell_failures(self) -> None:
        usable = {plugin.name for plugin in self.plugins if plugin.usable}
        self.failures.clear()
        for plugin in self.plugins:
            if plugin.phase is not None and plugin.name not in usable:
                self.failures[plugin.name] = f"{plugin.message} (in {plugin.phase})"

    def reports(self) -> list[Mapping[str, Any]]:
        """Every plugin as ``GET /v1/plugins`` shows it."""
        return [plugin.report() for plugin in self.plugins]

    # Running -------------------------------------------------------------------

    @asynccontextmanager
    async def lifespans(self, server: Server) -> AsyncIterator[None]:
        """Enter every plugin's lifespan, and leave them in reverse order.

        :raises PluginFailed: in strict mode, when a plugin has failed.
        """
        async with AsyncExitStack() as stack:
            for plugin in self.plugins:
                if plugin.usable and "gns3_lifespan" in plugin.hooks:
                    await stack.enter_async_context(self._lifespan(plugin, server))
            yield
        for plugin in self.plugins:
            if self._strict and plugin.error is not None:
                text = f"plugin {plugin.name}: {plugin.phase}: {plugin.message}"
                raise PluginFailed(text) from plugin.error

    @asynccontextmanager
    async def _lifespan(self, plugin: Plugin, server: Server) -> AsyncIterator[None]:
        hook = "gns3_lifespan"
        context = None
        try:
            context = await self._caller.enter(partial(self._call, plugin, hook, server=server))
        except Exception as error:
            self._fail(plugin, hook, error)
        try:
            yield
        finally:
            try:
                await self._caller.leave(context)
            except Exception as error:
                self._note(plugin, hook, error)

    def hurry(self) -> None:
        """Give all calls little time from now on, those under way included: the server stops."""
        self._caller.hurry()

    async def observe(self, event: str, project: Project) -> None:
        """Tell the plugins that observe projects.

        One that fails is out of service from then on, but what it offers stays registered: its
        nodes must still be stopped with their projects, and others may use its wires.
        """
        hook = f"gns3_project_{event}"
        for plugin in self.plugins:
            if plugin.usable and hook in plugin.hooks:
                try:
                    await self._caller.observe(partial(self._call, plugin, hook, project=project))
                except Exception as error:
                    self._note(plugin, hook, error)
