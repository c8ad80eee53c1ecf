"""The one place that wires the rooms together."""

from __future__ import annotations

import asyncio
import logging
import os
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from importlib.metadata import EntryPoint
from typing import Any

from gns3server.calls import LimitedCalls
from gns3server.consoles.service import ConsoleService
from gns3server.events import EventBus
from gns3server.files.durable import make_directory
from gns3server.files.images import Images
from gns3server.files.reasons import STATE_REMEDY, remedy
from gns3server.http.access import Authenticator
from gns3server.http.application import CORE_ROUTES, listening, make_application
from gns3server.http.curl_log import CurlLog
from gns3server.http.endless import EndlessStreams
from gns3server.http.notifications import V1Translator
from gns3server.http.routing import Route
from gns3server.http.security import Gatekeeper
from gns3server.nodes.project_base import ProjectServices
from gns3server.nodes.registry import Registry
from gns3server.plugin_host.host import CALL_SECONDS, PluginHost
from gns3server.plugin_host.modules import PluginModules
from gns3server.ports import PortPool, Ports
from gns3server.projects.manager import ProjectManager
from gns3server.projects.project import Project
from gns3server.running.gate import StartGate
from gns3server.running.local_machine import LocalMachine
from gns3server.running.machine import Machine
from gns3server.running.runtime import runtime_base
from gns3server.running.threads import SeparateThreads
from gns3server.server import Server
from gns3server.settings.errors import SettingsError
from gns3server.settings.live import LiveSettings
from gns3server.settings.paths import xdg_directory
from gns3server.settings.schema import Settings, host_names, split_list
from gns3server.storage.database import DatabaseThread
from gns3server.storage.state_lock import close_to_others, lock_state, note_address
from gns3server.storage.stores import ServerStore
from gns3server.supervision.server_runs import ServerRuns

log = logging.getLogger(__name__)

MOST_READERS = 64
"""Files and paths that clients name, and that are looked at at the same time; others wait."""

READY_READERS = 2
"""Threads for that which are there even if the server's user may start no more."""

MOST_COPIERS = 4
"""Projects whose files are copied at the same time, for a snapshot for instance; others wait."""

WATCH_SECONDS = 0.5
"""How often the configuration files are looked at; one that changes counts at the next look."""


class Tasks:
    """Changes that are under way; they outlive the requests that asked for them."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def own(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Run ``work`` to its end, whether or not somebody still waits for it."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        # Fetched, or asyncio would report an error whose client has gone as never retrieved.
        if not task.cancelled():
            task.exception()

    async def finish(self) -> None:
        """Wait for everything that is under way."""
        while self._tasks:
            await asyncio.wait(set(self._tasks))


MakeMachine = Callable[[LiveSettings, Registry], AbstractAsyncContextManager[Machine]]


@dataclass(frozen=True)
class RunningServer:
    """A server that listens."""

    server: Server
    plugins: PluginHost
    routes: Sequence[Route]
    streams: EndlessStreams
    host: str
    port: int
    encrypted: bool

    @property
    def url(self) -> str:
        """Where clients reach it."""
        scheme = "https" if self.encrypted else "http"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{scheme}://{host}:{self.port}"


def make_ports(settings: Settings, registry: Registry) -> Ports:
    """The port pools, which keep clear of the companions of all node types."""
    server = settings.server
    return Ports(
        PortPool("TCP", server.console_start_port_range, server.console_end_port_range),
        PortPool(
            "UDP", server.udp_start_port_range, server.udp_end_port_range, registry.udp_companions()
        ),
    )


@asynccontextmanager
async def serving(
    config: LiveSettings,
    *,
    found: Iterable[EntryPoint] | None = None,
    stop: asyncio.Event | None = None,
    plugin_seconds: float = CALL_SECONDS,
    modules: PluginModules | None = None,
    machine: MakeMachine | None = None,
) -> AsyncIterator[RunningServer]:
    """Run a server while the context lasts.

    Projects that were open are open again before it listens, with whatever still runs
    in them; when it ends, all nodes are stopped unless ``keep_nodes`` is set.

    :param found: the plugins to load; all that are installed by default.
    :param stop: set when a client asks the server to end.
    :param plugin_seconds: how long one call into a plugin may take.
    :param modules: is told which modules belong to which plugin.
    :param machine: makes the machine that nodes run on; this host by default.
    :raises SettingsError: HTTPS is wanted, and its certificate or key cannot be used.
    :raises OSError: the address, a directory or the record cannot be used.
    :raises gns3server.storage.state_lock.AlreadyRunning: another server uses the state directory.
    :raises gns3server.storage.file_check.DatabaseError: the server's records cannot be used.
    """
    settings = config.current
    tls = await asyncio.to_thread(make_tls, settings)
    host = PluginHost(
        settings,
        strict=settings.server.strict_plugins,
        call_seconds=plugin_seconds,
        modules=modules,
    )
    registry, streams = Registry(), EndlessStreams()
    # Off the loop: a plugin that hangs must not keep signals from being heard.
    await asyncio.to_thread(host.load, found)
    await asyncio.to_thread(host.gather, registry, CORE_ROUTES)
    async with (
        _core(
            config,
            host,
            registry,
            streams=streams,
            stop=stop or asyncio.Event(),
            limits=LimitedCalls(plugin_seconds),
            make_machine=machine or local_machine,
        ) as (server, tasks),
        _curl_log(settings) as curl_log,
        host.lifespans(server),
        host.node_events(server),
    ):
        gatekeeper = Gatekeeper(*callers(settings))
        config.on_change = partial(apply, host, server.bus, gatekeeper)
        # After the plugins' lifespans: a plugin that fails there has no routes and no nodes.
        routes = [*CORE_ROUTES, *host.routes()]
        application = make_application(
            server,
            routes,
            gatekeeper,
            Authenticator(config),
            host.failures,
            culprit=host.culprit,
            streams=streams,
            error_shapes=host.error_shapes(),
            record=curl_log,
        )
        await server.projects.open_known()
        async with (
            _watching(config),
            listening(application, settings.server.host, settings.server.port, tls) as address,
        ):
            running = RunningServer(
                server, host, routes, streams, *address, encrypted=tls is not None
            )
            await asyncio.to_thread(note_address, settings.state_path, running.url)
            server.projects.start_always_on()
            telling = tasks.own(host.tell_listening(server))
            try:
                yield running
            finally:
                telling.cancel()
                await server.projects.shutdown(open_again=True)
                server.bus.close()
                streams.close()
                await tasks.finish()


@asynccontextmanager
async def _core(
    config: LiveSettings,
    host: PluginHost,
    registry: Registry,
    *,
    streams: EndlessStreams,
    stop: asyncio.Event,
    limits: LimitedCalls,
    make_machine: MakeMachine,
) -> AsyncIterator[tuple[Server, Tasks]]:
    """Everything below HTTP, wired together."""
    settings, tasks = config.current, Tasks()
    async with (
        _records(settings) as (thread, records),
        make_machine(config, registry) as machine,
        _consoles(config, machine, records) as consoles,
    ):
        bus = EventBus(max_listeners=settings.server.max_listeners)
        translate = V1Translator(registry)
        copiers = SeparateThreads("copier", MOST_COPIERS)
        shared = ProjectServices(
            machine=machine,
            consoles=consoles,
            registry=registry,
            bus=bus,
            translate=translate,
            config=config,
            node_ids={},
            converting=asyncio.Lock(),
            own=tasks.own,
            limits=limits,
            copiers=copiers,
        )

        async def observe(event: str, project: Project) -> None:
            if event == "closed":
                streams.end_project(project.id)
            await host.observe(event, project, server)

        def hurry() -> None:
            host.hurry()
            limits.hurry()

        readers = SeparateThreads("reader", MOST_READERS, ready=READY_READERS)
        manager = ProjectManager(
            config, shared, thread, records, readers=readers, observe=observe, hurry=hurry
        )
        server = Server(
            config,
            manager,
            registry,
            bus,
            translate,
            tasks.own,
            host.reports,
            host.note,
            stop,
            readers,
        )
        try:
            yield server, tasks
        finally:
            readers.close()
            copiers.close()


@asynccontextmanager
async def _consoles(
    config: LiveSettings, machine: Machine, records: ServerStore
) -> AsyncIterator[ConsoleService]:
    """The consoles of nodes, and the console server if an earlier server has left one."""
    # Apart from the changes that are under way: it is watched until all of these are over.
    tasks = Tasks()
    consoles = ConsoleService(
        ServerRuns(machine, records, tasks.own),
        directory=machine.runtime,
        scrollback=lambda: config.current.server.console_scrollback * 1024,
        transcribe=lambda: config.current.server.console_transcripts,
    )
    await consoles.adopt(records.found.runs)
    try:
        yield consoles
    finally:
        await consoles.close()
        await tasks.finish()


def callers(settings: Settings) -> tuple[frozenset[str], frozenset[str]]:
    """The names that requests may address this server by, and the origins that may send them."""
    return host_names(settings), frozenset(split_list(settings.server.allowed_origins))


def apply(host: PluginHost, bus: EventBus, gatekeeper: Gatekeeper, new: Settings) -> None:
    """Apply new settings where they are not looked up each time.

    :raises SettingsError: a plugin's section does not fit; nothing has changed.
    """
    host.refresh(new)
    bus.max_listeners = new.server.max_listeners
    gatekeeper.admit(*callers(new))


def make_tls(settings: Settings) -> ssl.SSLContext | None:
    """The TLS context for connections, if the settings ask for one. Blocks.

    :raises SettingsError: the certificate or its key cannot be used.
    """
    server = settings.server
    if not server.ssl:
        return None
    if not server.certfile:
        raise SettingsError(
            "HTTPS needs a certificate, and none is given: --certfile FILE --certkey FILE (in PEM "
            "format)"
        )
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        certificate, key = (
            settings.expand(path) if path else "" for path in (server.certfile, server.certkey)
        )
        # A key with a passphrase fails: there may be nobody at a terminal to ask for it.
        context.load_cert_chain(certificate, key or None, password=lambda: "")
    except OSError as error:
        with_key = f" and the key {server.certkey}" if server.certkey else ""
        raise SettingsError(
            f"HTTPS is not possible with the certificate {server.certfile}{with_key}: "
            f"{error.strerror or error}. Give files in PEM format: --certfile FILE --certkey FILE"
        ) from error
    return context


@asynccontextmanager
async def _watching(config: LiveSettings) -> AsyncIterator[None]:
    """Read the configuration files again when they change (CFG-08, CFG-09)."""

    async def watch() -> None:
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            try:
                if await asyncio.to_thread(config.is_stale):
                    await asyncio.to_thread(config.reload)
                    log.info("the settings were read again")
            except SettingsError as error:
                log.warning("the settings stay as they are: %s", error)

    task = asyncio.create_task(watch())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})


@asynccontextmanager
async def _records(settings: Settings) -> AsyncIterator[tuple[DatabaseThread, ServerStore]]:
    path = settings.state_path
    try:
        await asyncio.to_thread(make_directory, path)
        await asyncio.to_thread(close_to_others, path)
        lock = await asyncio.to_thread(lock_state, path)
    except OSError as error:
        raise OSError(
            f"its records in {path} cannot be kept: {error.strerror or error}. "
            f"{remedy(error, path, STATE_REMEDY)} Or choose another directory for them: "
            "--state-path DIRECTORY"
        ) from error
    thread = DatabaseThread()
    try:
        yield thread, await ServerStore.load(thread, path)
    finally:
        await thread.close()
        os.close(lock)


@asynccontextmanager
async def _curl_log(settings: Settings) -> AsyncIterator[CurlLog | None]:
    if not settings.server.record:
        yield None
        return
    server = settings.server
    recorder = CurlLog(settings.expand(server.record), server.record_size)
    try:
        yield recorder
    finally:
        recorder.close()


@asynccontextmanager
async def local_machine(config: LiveSettings, registry: Registry) -> AsyncIterator[LocalMachine]:
    """The machine that this process is on, as the settings describe it."""
    settings = config.current
    machine = LocalMachine(
        settings.program_environment,
        search_path=settings.search_path,
        console_host=settings.console_host,
        runtime=runtime_base(
            settings.state_path, xdg_directory(settings.environ, "XDG_RUNTIME_DIR")
        ),
        ports=make_ports(settings, registry),
        gate=StartGate(settings.server.max_starting),
        images=Images(config, registry.image_kinds),
    )
    try:
        yield machine
    finally:
        await machine.close()
