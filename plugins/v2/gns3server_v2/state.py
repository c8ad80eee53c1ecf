"""What the plugin keeps in memory: of a server, and of each open project.

It is what the stores of projects, nodes and links hold, so that lists and events need no disk.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakValueDictionary

from gns3server.plugin import Event, NodeLayout, NodeView, Project, ProjectManager, Server, Store
from gns3server_v2.usage import Usage

KEY = "v2"
"""The key of the one value that is kept with a project, a node or a link."""

DRAWING = "drawing/"
"""What the key of a drawing begins with, in the store of its project."""

MOST_HOSTS = 50
"""Names of the server for which events are worded once for all listeners."""

if TYPE_CHECKING:
    from gns3server_v2.symbols import Symbols
    from gns3server_v2.templates import Templates

T = TypeVar("T")

COLUMNS, STEP = 8, 100
"""How nodes are drawn that nobody has placed: in rows, this many pixels from each other."""


@dataclass(frozen=True, slots=True)
class Told:
    """The object of an event of this plugin.

    :param event: what clients are told.
    :param everywhere: it is for those who listen to all projects, and for nobody else.
    """

    event: Mapping[str, Any]
    everywhere: bool = False


@dataclass(frozen=True, slots=True)
class NodeTold:
    """The object of an event that tells that something of a node has changed that is kept here."""

    node_id: str


@dataclass(frozen=True, slots=True)
class LinkTold:
    """The same of a link."""

    link_id: str


@dataclass(slots=True)
class ProjectState:
    """What is kept of an open project, in the words of the wire.

    :param settings: the project's own values; ``None`` if it has never been seen by this plugin.
    :param nodes: what the core does not know of a node, by its id.
    :param links: the same of a link.
    :param drawings: by id.
    :param coming: names of nodes that are being made.
    :param turns: by the id of a link, held while it is changed; see :meth:`turn`.
    :param renewed: set once the next restoration of a snapshot has been told; then there is a new
        one.
    """

    settings: dict[str, Any] | None = None
    nodes: dict[str, dict[str, Any]] = field(default_factory=dict)
    links: dict[str, dict[str, Any]] = field(default_factory=dict)
    drawings: dict[str, dict[str, Any]] = field(default_factory=dict)
    coming: set[str] = field(default_factory=set)
    loaded: bool = False
    turns: WeakValueDictionary[str, asyncio.Lock] = field(default_factory=WeakValueDictionary)
    renewed: asyncio.Event = field(default_factory=asyncio.Event)
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    def turn(self, link_id: str) -> asyncio.Lock:
        """To be held while a link is compared with what it shall be, and changed.

        Whoever comes later waits, and so compares with what this change has made of it.
        """
        return self.turns.setdefault(link_id, asyncio.Lock())

    def place(self, project: Project, view: NodeView) -> NodeLayout:
        """Where a node is drawn: in a grid if nobody has placed it."""
        place = project.layout.get(view.id)
        if view.id in self.nodes or place != NodeLayout():
            return place
        ids = [node.id for node in project.nodes]
        return grid_place(ids.index(view.id) if view.id in ids else len(ids))


def grid_place(number: int) -> NodeLayout:
    """Where a node is drawn that nobody has placed, by its number among all nodes."""
    row, column = divmod(number, COLUMNS)
    return NodeLayout(x=STEP * (column - COLUMNS / 2), y=STEP * (row - 2.0), z=1.0)


class ServerState:
    """What is kept of a server.

    :param config: the plugin's section of the settings, always the newest.
    """

    templates: Templates
    """All templates."""
    symbols: Symbols
    """The pictures of users."""

    def __init__(self, server: Server, config: Mapping[str, Any]) -> None:
        self.server = server
        self.config = config
        self.usage = Usage()
        self.naming = asyncio.Lock()
        """Held while a name is chosen that no other project may have."""
        self.coming: dict[str, dict[str, Any]] = {}
        """Values of projects that are being made, by id."""
        self.listeners = 0
        """How many listen to all projects."""
        self.files: dict[Path, tuple[Any, Any]] = {}
        """Files of closed projects that have been read, with what tells whether they changed."""
        self._projects: dict[str, ProjectState] = {}
        self._translators: dict[str, Any] = {}

    def peek(self, project_id: str) -> ProjectState:
        """What is in memory of a project; it may not have been loaded yet."""
        return self._projects.setdefault(project_id, ProjectState())

    async def of(self, project: Project) -> ProjectState:
        """What is kept of an open project."""
        state = self.peek(project.id)
        if not state.loaded:
            async with state.lock:
                if not state.loaded:
                    await _load(state, project)
        return state

    async def renew(self, project: Project) -> ProjectState:
        """Take in anew what is kept of a project that was brought back to a snapshot."""
        own, fresh = await self.of(project), ProjectState()
        await _load(fresh, project)
        own.settings, own.nodes = fresh.settings or own.settings, fresh.nodes
        own.links, own.drawings = fresh.links, fresh.drawings
        return own

    def forget(self, project_id: str) -> None:
        """Forget a project that is closed."""
        self._projects.pop(project_id, None)

    def translator(self, host: str, make: Callable[[ServerState, str], T]) -> T:
        """What words events for clients that reach the server by a name: one for all of them.

        :param make: makes it from this state and the name.
        """
        if host not in self._translators:
            while len(self._translators) >= MOST_HOSTS:
                del self._translators[next(iter(self._translators))]
            self._translators[host] = make(self, host)
        translator: T = self._translators[host]
        return translator

    def tell(self, action: str, event: Mapping[str, Any]) -> None:
        """Tell those who listen to all projects."""
        self.server.bus.publish(Event(KEY, action, "", Told(event, everywhere=True)))

    def tell_project(self, project_id: str, action: str, event: Mapping[str, Any]) -> None:
        """Tell those who listen to a project."""
        self.server.bus.publish(Event(KEY, action, project_id, Told(event)))


async def _load(state: ProjectState, project: Project) -> None:
    kept = await project.store.items()
    state.settings = kept.get(KEY)
    state.drawings = {
        key.removeprefix(DRAWING): value for key, value in kept.items() if key.startswith(DRAWING)
    }
    nodes, links = await project.nodes.stored(KEY), await project.links.stored(KEY)
    # Of pairs of NIOs that were unplugged, something may still be kept.
    state.nodes |= {node.id: nodes[node.id] for node in project.nodes if node.id in nodes}
    state.links |= {link.id: links[link.id] for link in project.links if link.id in links}
    state.loaded = True


async def change_kept(
    project: Project,
    all_kept: dict[str, dict[str, Any]],
    owner_id: str,
    kept: dict[str, Any],
    *,
    store: Store,
    event: tuple[str, object],
) -> None:
    """Change what is kept of a node or link, and tell it.

    It is in memory at once, because the next request builds on it, and taken back if it cannot be
    stored.

    :param all_kept: where it is in memory.
    :param event: the action, and the object of the event.
    """
    old = all_kept.get(owner_id)
    all_kept[owner_id] = kept
    try:
        async with project.change() as change:
            store.save(change, KEY, kept)
            change.tell(Event(KEY, event[0], project.id, event[1]))
    except BaseException:
        if all_kept.get(owner_id) is kept:
            if old is None:
                del all_kept[owner_id]
            else:
                all_kept[owner_id] = old
        raise


_STATES: dict[ProjectManager, ServerState] = {}
"""By server: hooks and handlers are given that, and nothing else."""


def enter(server: Server, config: Mapping[str, Any]) -> ServerState:
    """Begin to keep something of a server."""
    state = _STATES[server.projects] = ServerState(server, config)
    return state


def leave(server: Server) -> None:
    """Forget a server."""
    _STATES.pop(server.projects, None)


def state_of(server: Server) -> ServerState:
    """What is kept of a running server."""
    return _STATES[server.projects]
