"""Finds plugins, calls them one at a time, and keeps their failures apart."""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import AsyncIterator, Awaitable, Collection, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from functools import partial
from importlib.metadata import EntryPoint, PackageNotFoundError, entry_points, requires
from itertools import islice
from typing import Any, TypeVar

import pluggy

from gns3server import hookspecs
from gns3server.calls import CallFailed, on_behalf_of
from gns3server.events import Event, Listener
from gns3server.http.families import ErrorShape, StaticFiles
from gns3server.http.handlers.nodes import node_routes
from gns3server.http.routing import FailedPlugin, Route
from gns3server.http.static import static_routes
from gns3server.nodes.nio import NioType
from gns3server.nodes.node_type import NodeType
from gns3server.nodes.registry import Registry
from gns3server.plugin_host import checks, family_checks, route_checks
from gns3server.plugin_host.calls import HookCaller, drop
from gns3server.plugin_host.checks import Unfit
from gns3server.plugin_host.handlers import Handlers
from gns3server.plugin_host.modules import PluginModules
from gns3server.plugin_host.paths import Claim
from gns3server.plugin_host.plugin import Offer, Plugin, plain, shipped_distributions
from gns3server.projects.project import Project
from gns3server.server import Server
from gns3server.settings.errors import SettingsError
from gns3server.settings.schema import Settings, split_list

log = logging.getLogger(__name__)

GROUP = "gns3server.plugins"
CALL_SECONDS = 10.0
"""How long one call of a hook may take before the server goes on without it."""

NODE_EVENT = "gns3_node_event"

MOST_ITEMS = 1000
"""How many node types, NIO types or routes one plugin may have."""

HOOKS = {
    name: value for name, value in vars(hookspecs).items() if name.startswith(hookspecs.PREFIX)
}

T = TypeVar("T")


class PluginFailed(Exception):
    """A plugin did something the server cannot use; passed on only in strict mode."""


class PluginHost:
    """All plugins of this server. Hooks and handlers of plugins are called only through it.

    :param strict: raise :class:`PluginFailed` instead of going on without a
        plugin: at once while the server starts, but at its end for a failure
        while it runs, when too much depends on it.
    :param call_seconds: see :data:`CALL_SECONDS`.
    :param modules: is told which modules belong to which plugin.
    :param shipped: the distributions whose plugins win over others that offer the same; those that
        the server comes with by default.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        strict: bool = False,
        call_seconds: float = CALL_SECONDS,
        modules: PluginModules | None = None,
        shipped: Collection[str] | None = None,
    ) -> None:
        self._settings = settings
        self._shipped = _shipped() if shipped is None else frozenset(map(plain, shipped))
        self._strict = strict
        self._caller = HookCaller(call_seconds)
        self._handlers = Handlers()
        self.modules = PluginModules() if modules is None else modules
        self.culprit = self.modules.culprit
        self._manager = pluggy.PluginManager(hookspecs.PROJECT_NAME)
        self._manager.add_hookspecs(hookspecs)
        self._registry = Registry()
        self._core_families = frozenset[str]()
        self.plugins: list[Plugin] = []
        self.failures: dict[str, FailedPlugin] = {}
        """The plugins out of service whose names no plugin in service has. Kept up to date."""

    # Loading -------------------------------------------------------------------

    def load(self, found: Iterable[EntryPoint] | None = None) -> None:
        """Import and register what the entry points name, one by one."""
        disabled = split_list(self._settings.server.disabled_plugins)
        points = entry_points(group=GROUP) if found is None else found
        found_plugins = [(point, _plugin(point, disabled)) for point in points]
        for point, plugin in sorted(
            found_plugins,
            key=lambda each: (each[0].name, each[1].rank(self._shipped), each[0].value),
        ):
            taken = any(other.name == point.name and other.usable for other in self.plugins)
            self.plugins.append(plugin)
            if taken:
                reason = f"another plugin is called {point.name!r} already; uninstall one of them"
                self._fail(plugin, "discovery", Unfit(reason))
            elif not plugin.disabled:
                self._load_one(plugin, point)
        self._tell_failures()

    def _load_one(self, plugin: Plugin, point: EntryPoint) -> None:
        phase = "import"
        try:
            plugin.module = self._caller.call(point.load)
            self.modules.add(plugin.name, point.module)
            phase = "registration"
            checks.check_name(plugin.name)
            checks.check_hooks(
                plugin.module, partial(self._hook_of, plugin.module), HOOKS, hookspecs.PREFIX
            )
            self._manager.register(plugin.module, plugin.name)
            callers = self._manager.get_hookcallers(plugin.module) or ()
            plugin.hooks = tuple(sorted(caller.name for caller in callers))
        except Exception as error:
            self._fail(plugin, phase, error)

    def _hook_of(self, module: object, name: str) -> str | None:
        """The hook that a name in a module is marked as implementing, if any."""
        options = self._manager.parse_hookimpl_opts(module, name)
        return None if options is None else options.get("specname") or name

    def gather(self, registry: Registry, core_routes: Iterable[Route]) -> None:
        """Ask each plugin what it offers, and install all of that or nothing.

        After this, :meth:`routes` has its routes, including the standard ones of its node types.
        """
        self._registry = registry
        core = [Claim(route, place) for place, route in enumerate(core_routes)]
        self._core_families = route_checks.families_of(claim.route for claim in core)
        place = len(core)
        for plugin in self.plugins:
            if plugin.usable:
                self._ask(plugin, place)
                place += len(plugin.offer.claims)
        for plugin in sorted(self.plugins, key=lambda plugin: plugin.rank(self._shipped)):
            if plugin.usable:
                self._install(plugin, core)
        self._tell_failures()

    def _ask(self, plugin: Plugin, place: int) -> None:
        """Fill in what a plugin offers, with each thing checked by itself."""
        phase = "gns3_config_schema"
        try:
            self._read_schema(plugin)
            phase = "configuration"
            plugin.config.replace(plugin.read_section(self._settings))
            phase = "gns3_node_types"
            node_types = self._items(plugin, phase, NodeType)
            checks.check_node_types(node_types)
            plugin.offer = Offer(node_types)
            phase = "gns3_nio_types"
            nio_types = self._items(plugin, phase, NioType)
            checks.check_nio_types(nio_types)
            phase = "gns3_routes"
            routes, shapes = self._ask_for_routes(plugin, phase)
            standard = [route for kind in node_types for route in node_routes(kind)]
            served = [*(replace(route, plugin=plugin.name) for route in standard), *routes]
            claims = [Claim(route, place + n) for n, route in enumerate(served)]
            plugin.offer = Offer(node_types, nio_types, claims, shapes)
            route_checks.check_own_paths(claims)
        except Exception as error:
            self._fail(plugin, phase, error)

    def read_schemas(self) -> None:
        """Ask every plugin what can be set of it, and nothing else."""
        for plugin in self.plugins:
            if plugin.usable:
                try:
                    self._read_schema(plugin)
                except Exception as error:
                    self._fail(plugin, "gns3_config_schema", error)

    def _read_schema(self, plugin: Plugin) -> None:
        schema = self._caller.call(partial(self._call, plugin, "gns3_config_schema"))
        if schema is not None:
            plugin.config_schema = checks.check_config_schema(plugin.name, schema)

    def setting_names(self) -> dict[str, frozenset[str] | None]:
        """What can be set of each plugin; ``None`` for one that could not be asked."""
        return {
            plugin.name: frozenset(one.name for one in plugin.settings()) if plugin.usable else None
            for plugin in self.plugins
        }

    def _ask_for_routes(self, plugin: Plugin, hook: str) -> tuple[list[Route], list[ErrorShape]]:
        """A plugin's own routes, including those of its files, and its shapes of errors."""
        offered = self._items(plugin, hook, Route, StaticFiles, ErrorShape)
        own = [item for item in offered if isinstance(item, Route)]
        static = [item for item in offered if isinstance(item, StaticFiles)]
        shapes = [item for item in offered if isinstance(item, ErrorShape)]
        route_checks.check_routes(own)
        family_checks.check_static(static)
        routes = [
            *(self._handlers.wrap(plugin.name, route) for route in own),
            *(replace(r, plugin=plugin.name) for files in static for r in static_routes(files)),
        ]
        family_checks.check_error_shapes(shapes, route_checks.families_of(routes))
        return routes, [self._handlers.wrap_shape(plugin.name, shape) for shape in shapes]

    def _install(self, plugin: Plugin, core: Sequence[Claim]) -> None:
        """Install what a plugin offers, if nothing else has any of it."""
        registry, offer = self._registry, plugin.offer
        self._end_wide_routes(plugin)
        installed = [other for other in self.plugins if other.installed]
        phase = "gns3_node_types"
        try:
            node_types = {k.name: p.name for p in installed for k in p.offer.node_types}
            checks.check_new("node type", [kind.name for kind in offer.node_types], node_types)
            image_kinds = [image for kind in offer.node_types for image in kind.image_kinds]
            checks.check_image_kinds(image_kinds, registry.image_kinds())
            phase = "gns3_nio_types"
            nio_types = {k.name: p.name for p in installed for k in p.offer.nio_types}
            checks.check_new("NIO type", [kind.name for kind in offer.nio_types], nio_types)
            phase = "gns3_routes"
            families = dict.fromkeys(self._core_families, "")
            families |= {name: other.name for other in installed for name in other.offer.families}
            route_checks.check_families(offer.families, families)
            route_checks.check_free(offer.claims, core)
            for other in installed:
                route_checks.check_free(offer.claims, other.offer.claims)
        except Exception as error:
            self._fail(plugin, phase, error)
            return
        registry.node_types.update({kind.name: kind for kind in offer.node_types})
        registry.nio_types.update({kind.name: kind for kind in offer.nio_types})
        names = [kind.name for kind in offer.node_types] + [kind.name for kind in offer.nio_types]
        registry.plugins.update(dict.fromkeys(names, plugin.name))
        settings = {kind.name: plugin.config for kind in offer.node_types}
        registry.settings.update(settings)
        plugin.installed = True

    def _end_wide_routes(self, plugin: Plugin) -> None:
        """Take plugins out of service whose routes would get all requests meant for a new route."""
        for other in self.plugins:
            for claim in other.present.claims:
                if route_checks.is_wider(claim, plugin.offer.claims):
                    reason = (
                        f"the route {claim.route.method} {claim.route.path} would get requests "
                        f"meant for the plugin {plugin.name!r}: choose a narrower path"
                    )
                    self._fail(other, "gns3_routes", Unfit(reason))
                    break

    def refresh(self, settings: Settings) -> None:
        """Show all plugins in service their sections of new settings.

        :raises SettingsError: one does not fit; none has been shown anything then.
        """
        using = [plugin for plugin in self.plugins if plugin.usable]
        try:
            sections = [(plugin, plugin.read_again(settings)) for plugin in using]
        except Exception as error:
            raise SettingsError(str(error)) from error
        for plugin, section in sections:
            plugin.config.replace(section)

    def routes(self) -> list[Route]:
        """The routes of all plugins whose offers are installed."""
        return [route for plugin in self.plugins for route in plugin.present.routes]

    def error_shapes(self) -> list[ErrorShape]:
        """The shapes of errors of all plugins whose offers are installed."""
        return [shape for plugin in self.plugins for shape in plugin.present.error_shapes]

    # Calling -------------------------------------------------------------------

    def _call(self, plugin: Plugin, hook: str, **arguments: Any) -> Any:
        """Call one hook of one plugin; ``None`` when it does not implement it."""
        if hook not in plugin.hooks:
            return None
        others = [p for name, p in self._manager.list_name_plugin() if name != plugin.name]
        caller = self._manager.subset_hook_caller(hook, remove_plugins=others)
        results = caller(**arguments)
        return results[0] if results else None

    def _items(self, plugin: Plugin, hook: str, *kinds: type[T]) -> list[T]:
        def collect() -> list[T]:
            result = self._call(plugin, hook, config=plugin.config) or ()
            if isinstance(result, Awaitable):
                drop(result)
                raise Unfit(f"{hook} returned {result!r}, which nobody awaits: return a list")
            if not isinstance(result, Iterable):
                raise Unfit(f"{hook} returned {result!r}: return a list")
            # It may be a generator, whose code runs only now, and perhaps forever.
            return list(islice(result, MOST_ITEMS + 1))

        items = self._caller.call(collect)
        if len(items) > MOST_ITEMS:
            raise Unfit(f"{hook} returned more than {MOST_ITEMS} items")
        for item in items:
            if not isinstance(item, kinds):
                names = " or ".join(kind.__name__ for kind in kinds)
                raise Unfit(f"{hook} returned {item!r}, which is not a {names}")
        return items

    # Failures ------------------------------------------------------------------

    def _fail(self, plugin: Plugin, phase: str, error: BaseException) -> None:
        """Take a plugin out of service, and what it offers out of the registry."""
        if plugin.module and self._manager.get_plugin(plugin.name) is plugin.module:
            self._manager.unregister(plugin.module)
        for kind in plugin.present.node_types:
            del self._registry.node_types[kind.name]
        for nio in plugin.present.nio_types:
            del self._registry.nio_types[nio.name]
        plugin.failed, plugin.installed = True, False
        self._note(plugin, phase, error)
        if self._strict:
            raise PluginFailed(f"plugin {plugin.name}: {phase}: {plugin.message}") from error

    def _note(self, plugin: Plugin, phase: str, error: BaseException, then: str = "") -> None:
        """Keep the first failure of a plugin, and log every one.

        :param then: the consequence, for the log.
        """
        # The server's own messages need no Python class in front of them.
        own = isinstance(error, (Unfit, CallFailed))
        message = str(error) if own else f"{type(error).__name__}: {error}"
        trace = traceback.format_exception(error)
        log.error(
            "plugin %s failed in %s: %s%s", plugin.name, phase, message, f"; {then}" if then else ""
        )
        log.debug("%s", "".join(trace))
        if plugin.phase is None:
            plugin.phase, plugin.message, plugin.trace = phase, message, "".join(trace)
            plugin.error = error
        self._tell_failures()

    def note(self, name: str, phase: str, error: BaseException) -> None:
        """Keep on record a plugin's mistake that the server has made up for."""
        for plugin in self.plugins:
            if plugin.name == name and plugin.usable:
                self._note(plugin, phase, error)

    def _tell_failures(self) -> None:
        usable = {plugin.name for plugin in self.plugins if plugin.usable}
        types, paths = self._registry.node_types.keys(), {route.path for route in self.routes()}
        present = [plugin.present.families for plugin in self.plugins]
        families = self._core_families.union(*present)
        self.failures.clear()
        for plugin in self.plugins:
            if plugin.failed and plugin.name not in usable:
                # What another plugin offers too is not missing.
                lost = {kind.name for kind in plugin.offer.node_types} - types
                routes = {route.path for route in plugin.offer.routes} - paths
                prefixes = {f"/{name}" for name in plugin.offer.families - families}
                # For clients, whom classes of Python tell nothing.
                reason = f"{str(plugin.error) or 'it failed'} (in {plugin.phase})"
                self.failures[plugin.name] = FailedPlugin(
                    plugin.name,
                    reason,
                    frozenset(lost),
                    frozenset(routes),
                    frozenset(prefixes),
                )

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
        lifespan = self._caller.lifespan(
            partial(self._call, plugin, hook, server=server, config=plugin.config),
            partial(self._lost_lifespan, plugin, hook),
        )
        try:
            with on_behalf_of(plugin.name):
                await lifespan.enter()
        except Exception as error:
            self._fail(plugin, hook, error)
        try:
            yield
        finally:
            try:
                await lifespan.leave()
            except Exception as error:
                self._note(plugin, hook, error)

    def _lost_lifespan(self, plugin: Plugin, hook: str, error: Exception) -> None:
        """Take a plugin whose lifespan has ended too early out of service.

        What it offers stays registered: its nodes must still be stopped with their projects,
        and other nodes may use its NIO types.
        """
        plugin.failed = True
        self._note(plugin, hook, error, "it is out of service")

    def hurry(self) -> None:
        """Shorten the limit of all calls, including those under way: the server is stopping."""
        self._caller.hurry()
        self._handlers.hurry()

    async def observe(self, event: str, project: Project, server: Server) -> None:
        """Tell the plugins that observe projects.

        A hook that fails is not called again; the rest of its plugin carries on.
        """
        await self._observe(f"gns3_project_{event}", project=project, server=server)

    async def tell_listening(self, server: Server) -> None:
        """Tell the plugins that the server listens."""
        await self._observe("gns3_listening", server=server)

    async def _observe(self, hook: str, **arguments: Any) -> None:
        for plugin in self.plugins:
            if plugin.usable and hook in plugin.hooks:
                try:
                    with on_behalf_of(plugin.name):
                        call = partial(self._call, plugin, hook, **arguments)
                        await self._caller.observe(call)
                except Exception as error:
                    if hook == NODE_EVENT and arguments["project"].closed:
                        log.info("plugin %s: an event of a closed project: %s", plugin.name, error)
                        continue
                    plugin.hooks = tuple(name for name in plugin.hooks if name != hook)
                    self._note(plugin, hook, error, "this hook is not called any more")

    @asynccontextmanager
    async def node_events(self, server: Server) -> AsyncIterator[None]:
        """Tell the plugins that observe nodes what happens, while the context lasts.

        Nothing else waits for them.
        """
        if not any(plugin.usable and NODE_EVENT in plugin.hooks for plugin in self.plugins):
            yield
            return
        with server.bus.listen(translate=node_event) as listener:
            task = asyncio.create_task(self._tell_nodes(server, listener))
            try:
                yield
            finally:
                listener.end()
                await asyncio.wait({task})

    async def _tell_nodes(self, server: Server, listener: Listener[Event]) -> None:
        while True:
            async for event in listener:
                project = server.projects.find(event.project_id)
                if project is not None:
                    await self._observe(NODE_EVENT, project=project, event=event)
            if not listener.fell_behind:
                return
            log.warning("plugins that observe nodes are too slow: they have missed events")
            listener.begin_again()


def _plugin(point: EntryPoint, disabled: Collection[str]) -> Plugin:
    """The plugin that an entry point names, not loaded yet."""
    dist = point.dist
    name, version = (dist.name, dist.version) if dist else (None, None)
    return Plugin(point.name, name, version, disabled=point.name in disabled)


def _shipped() -> frozenset[str]:
    """The distributions that this server comes with; none if it is not installed."""
    try:
        return shipped_distributions(requires(hookspecs.PROJECT_NAME) or ())
    except PackageNotFoundError:
        return frozenset()


def node_event(event: Event) -> Event | None:
    """The translator for plugins that observe nodes."""
    return event if event.kind == "node" else None
