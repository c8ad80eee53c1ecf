"""What must be true of a server, as far as its answers have told the client."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class NodeState:
    """What a client can know of a node.

    :param console: ``None`` when the server was to choose one and has not answered.
    :param wire: local UDP port of its NIO.
    """

    name: str
    console: int | None
    text: str
    wire: int | None = None
    started: bool = False

    def fits(self, seen: NodeState) -> bool:
        """Whether this is what was seen."""
        console = seen.console if self.console is None else self.console
        return seen == NodeState(self.name, console, self.text, self.wire, self.started)


@dataclass(slots=True)
class Process:
    """The main process of a started node, and the ports it has bound."""

    pid: int
    console: int
    wire: int | None


@dataclass(slots=True)
class NodeModel:
    """One node.

    :param states: what it may be: one thing, or several while a request about
        it has no answer; ``None`` stands for a node that does not exist.
    :param process: unless the server was asked to start, reload or stop it and
        has not answered.
    :param events: what must be told of it in the event log, in this order.
    :param coming: how that may go on while a request has no answer.
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
        """A request was sent that makes it the last of these; it may also become another.

        :param events: what may be told of it then; what is told if all goes well comes last.
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

    :param open: else it is closed, and its files are where they were.
    """

    name: str
    path: Path
    temporary: bool = False
    open: bool = True


@dataclass(slots=True)
class ProjectModel:
    """One project.

    :param home: where it is unless it was moved.
    :param states: what it may be; ``None`` stands for a project that does not exist.
    :param allocated: UDP ports that are allocated; their NIOs may name them.
    :param allocating: how many allocations have no answer.
    :param closed_before: since its nodes were wired, perhaps.
    """

    id: str
    home: Path
    nodes: list[NodeModel]
    states: list[ProjectState | None] = field(default_factory=lambda: [None])
    allocated: set[int] = field(default_factory=set)
    allocating: int = 0
    closed_before: bool = False

    @property
    def known(self) -> ProjectState | None:
        """What it is; to be asked only when no request about it is under way."""
        (state,) = self.states
        return state

    @property
    def is_open(self) -> bool:
        """Whether it is open; to be asked only when no request about it is under way."""
        return self.known is not None and self.known.open

    def settle(self, state: ProjectState | None) -> None:
        """It is this; what a project had that does not exist any more is gone with it."""
        self.states = [state]
        if state is None or not state.open:
            self.allocated.clear()
            self.allocating = 0
        if state is None:
            self.closed_before = False
            for node in self.nodes:
                node.states, node.process, node.events, node.coming = [None], None, [], [[]]


@dataclass(slots=True)
class Model:
    """Everything, and how it came about."""

    projects: list[ProjectModel]
    history: list[str] = field(default_factory=list)

    @property
    def nodes(self) -> list[NodeModel]:
        """The nodes of all projects, those included that do not exist."""
        return [node for project in self.projects for node in project.nodes]
