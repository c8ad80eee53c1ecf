"""What must be true of a server, as far as its answers tell."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path


@dataclass(frozen=True, slots=True)
class NodeState:
    """What a client can know of a node.

    :param console: ``None`` when the server was to choose one and has not answered.
    :param wire: local UDP port of its NIO.
    :param place: where it is drawn; ``None`` while the server chooses that.
    """

    name: str
    console: int | None
    text: str
    wire: int | None = None
    started: bool = False
    place: int | None = None

    def fits(self, seen: NodeState) -> bool:
        """Whether this matches what was seen."""
        console = seen.console if self.console is None else self.console
        place = seen.place if self.place is None else self.place
        return seen == replace(self, console=console, place=place)


@dataclass(slots=True)
class Process:
    """The main process of a started node, and the ports it has bound."""

    pid: int
    console: int
    wire: int | None


@dataclass(slots=True)
class NodeModel:
    """One node.

    :param states: its possible states: one, or several while a request about
        it has no answer; ``None`` stands for a node that does not exist.
    :param process: unknown while the server was asked to start, reload or stop
        it and has not answered.
    :param events: its events that the event log must have, in this order.
    :param coming: how these may continue while a request has no answer.
    """

    id: str
    states: list[NodeState | None]
    process: Process | None = None
    events: list[str] = field(default_factory=list)
    coming: list[list[str]] = field(default_factory=lambda: [[]])

    @property
    def known(self) -> NodeState | None:
        """What it is; to be asked only when no request about it is under way."""
        (state,) = self.states
        return state

    def begin(self, *states: NodeState | None, events: Sequence[list[str]] = ()) -> None:
        """A request was sent that should lead to the last of these states, and may to others.

        :param events: the events that may be told then; those of a success come last.
        """
        self.states, self.coming = list(states), [[], *events]

    def finish(self) -> None:
        """The request was answered."""
        self.states = self.states[-1:]
        self.events += self.coming[-1]
        self.coming = [[]]


@dataclass(frozen=True, slots=True)
class ProjectState:
    """What a client can know of a project.

    :param open: otherwise it is closed, and its files are where they were.
    """

    name: str
    path: Path
    temporary: bool = False
    open: bool = True


@dataclass(frozen=True, slots=True)
class Canvas:
    """What is drawn of a project.

    :param drawings: where each one is, by its id.
    """

    zoom: int = 100
    drawings: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A project as it was.

    :param nodes: the state of each node, by its id.
    """

    nodes: Mapping[str, NodeState | None]
    canvas: Canvas


@dataclass(slots=True)
class ProjectModel:
    """One project.

    :param home: its directory unless it was moved.
    :param states: its possible states; ``None`` stands for a project that does not exist.
    :param allocated: UDP ports that are allocated; their NIOs may name them.
    :param allocating: how many allocations have no answer.
    :param given: how often each port was allocated.
    :param closed_before: whether it may have been closed since its nodes were wired.
    :param canvases: what may be drawn: one, or two while a request about it has no answer.
    :param snapshots: by name.
    :param coming: one that is made or deleted by a request without an answer.
    """

    id: str
    home: Path
    nodes: list[NodeModel]
    states: list[ProjectState | None] = field(default_factory=lambda: [None])
    allocated: set[int] = field(default_factory=set)
    allocating: int = 0
    given: Counter[int] = field(default_factory=Counter)
    closed_before: bool = False
    canvases: list[Canvas] = field(default_factory=lambda: [Canvas()])
    snapshots: dict[str, Snapshot] = field(default_factory=dict)
    coming: dict[str, Snapshot] = field(default_factory=dict)

    @property
    def known(self) -> ProjectState | None:
        """What it is; to be asked only when no request about it is under way."""
        (state,) = self.states
        return state

    @property
    def canvas(self) -> Canvas:
        """What is drawn; to be asked only when no request about it is under way."""
        (canvas,) = self.canvases
        return canvas

    @property
    def is_open(self) -> bool:
        """Whether it is open; to be asked only when no request about it is under way."""
        return self.known is not None and self.known.open

    def settle(self, state: ProjectState | None) -> None:
        """Note its state; if it does not exist any more, all that it had is gone too."""
        self.states = [state]
        if state is None or not state.open:
            self.allocated.clear()
            self.allocating = 0
        if state is None:
            self.closed_before = False
            self.canvases, self.snapshots, self.coming = [Canvas()], {}, {}
            for node in self.nodes:
                node.states, node.process, node.events, node.coming = [None], None, [], [[]]


@dataclass(slots=True)
class Model:
    """All projects, and the history of requests."""

    projects: list[ProjectModel]
    history: list[str] = field(default_factory=list)

    @property
    def nodes(self) -> list[NodeModel]:
        """The nodes of all projects, including those that do not exist."""
        return [node for project in self.projects for node in project.nodes]
