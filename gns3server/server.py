"""What the server offers to handlers, and to plugins' routes and lifespans."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

from gns3server.errors import warn_of_old_name
from gns3server.events import Event, EventBus, Listener, same
from gns3server.files.images import Images
from gns3server.nodes.examining import TypeExaminer
from gns3server.nodes.plugin_events import plugin_event
from gns3server.nodes.registry import Registry
from gns3server.nodes.store import Store
from gns3server.projects.manager import ProjectManager
from gns3server.running.machine import Machine
from gns3server.running.threads import SeparateThreads
from gns3server.settings.live import LiveSettings
from gns3server.settings.schema import Settings
from gns3server.storage.event_log import Translate
from gns3server.storage.rows import Owner


@dataclass(frozen=True, slots=True)
class Server:
    """The running server.

    :param live_settings: the settings, which change when files are read again.
    :param projects: all projects.
    :param registry: the node types and NIO types of all plugins.
    :param bus: where events are published, and listened to.
    :param translate: puts events into the lines of the v1 API.
    :param own: runs a change in a task that goes on when the client hangs up.
    :param plugins: a report of each plugin, as its wire object's fields.
    :param plugin_mistake: notes a plugin's mistake: the plugin's name, where it was, and the error.
    :param stopping: set it to end the server.
    :param readers: threads that read files which clients name, and which may never answer.
    :param undescribed: the plugins that are left out of the API document, which they would break.
    :param examiner: asks plugins whether their nodes can run.
    """

    live_settings: LiveSettings
    projects: ProjectManager
    registry: Registry
    bus: EventBus
    translate: Translate
    own: Callable[[Coroutine[Any, Any, Any]], asyncio.Task[Any]]
    plugins: Callable[[], list[Mapping[str, Any]]]
    plugin_mistake: Callable[[str, str, Exception], None]
    stopping: asyncio.Event
    readers: SeparateThreads
    undescribed: set[str] = field(default_factory=set)
    examiner: TypeExaminer = field(default_factory=TypeExaminer)

    @property
    def machine(self) -> Machine:
        """The machine that nodes run on, with its image files."""
        return self.projects.machine

    @property
    def settings(self) -> Settings:
        """The newest settings."""
        return self.live_settings.current

    @property
    def store(self) -> Store:
        """Durable values that the calling plugin keeps with the server."""
        return Store(self.projects.records, Owner("server", ""))

    def publish(self, name: str, values: Mapping[str, Any]) -> None:
        """Publish a plugin's own event to those who listen to all projects; it has no number.

        :param name: the plugin's name and a word of its own, joined by a dot.
        :param values: what clients are told: up to 64 KiB of JSON.
        :raises ValueError: the name does not begin with the plugin's, or JSON cannot hold values.
        :raises gns3server.errors.Conflict: the values are too long.
        """
        self.bus.publish(plugin_event(name, "", values))

    async def end(self, *, keep_nodes: bool) -> None:
        """End the server, as a signal would; the next one opens again what is open now.

        :param keep_nodes: leave everything that runs to the next server.
        """
        await self.projects.shutdown(open_again=True, keep_nodes=keep_nodes)
        self.stopping.set()

    def events(self, project_id: str | None = None) -> AbstractContextManager[Listener[Event]]:
        """Listen to what happens, from now on: ``with server.events() as events``, then
        ``async for event in events``.

        Up to 2000 events wait to be taken. A listener further behind has ``fell_behind`` set,
        and its iteration ends, as it does when the project is gone or the server stops.

        :param project_id: the project to listen to; all by default.
        :raises gns3server.errors.Conflict: the server has as many listeners as it allows.
        """
        return self.bus.listen(project_id, translate=same)

    @property
    def config(self) -> LiveSettings:
        """Deprecated, removed in 0.3; use ``live_settings``."""
        warn_of_old_name("Lab.config", "Server.live_settings")
        return self.live_settings

    @property
    def manager(self) -> ProjectManager:
        """Deprecated, removed in 0.3; use ``projects``."""
        warn_of_old_name("Lab.manager", "Server.projects")
        return self.projects

    @property
    def hub(self) -> EventBus:
        """Deprecated, removed in 0.3; use ``bus``."""
        warn_of_old_name("Lab.hub", "Server.bus")
        return self.bus

    @property
    def images(self) -> Images:
        """Deprecated, removed in 0.3; use ``machine.images``."""
        warn_of_old_name("Lab.images", "Server.machine.images")
        return self.machine.images

    @property
    def stop(self) -> asyncio.Event:
        """Deprecated, removed in 0.3; use ``stopping``."""
        warn_of_old_name("Lab.stop", "Server.stopping")
        return self.stopping
